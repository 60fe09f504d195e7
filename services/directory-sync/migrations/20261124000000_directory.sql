-- migrate:up

-- The last whole state of every person ever known; who left stays, as left.
CREATE TABLE employee (
    employee_id text PRIMARY KEY,
    name text NOT NULL,
    email text,
    department_id text NOT NULL,
    manager_id text,
    roles text[] NOT NULL,
    language text NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'left')),
    updated_at timestamptz NOT NULL
);

CREATE TABLE department (
    department_id text PRIMARY KEY,
    name text NOT NULL,
    parent_id text,
    head_id text,
    status text NOT NULL CHECK (status IN ('active', 'closed')),
    updated_at timestamptz NOT NULL
);

-- Every attempt to apply, also the refused ones: who, when, from what, with what result.
CREATE TABLE sync_run (
    run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_at timestamptz NOT NULL,
    run_by text NOT NULL,
    source text NOT NULL,
    source_digest text NOT NULL,
    plan_digest text,
    forced boolean NOT NULL DEFAULT false,
    result text NOT NULL CHECK (result IN ('applied', 'unchanged', 'refused')),
    reason text,
    counts jsonb NOT NULL,
    problems jsonb NOT NULL
);

-- migrate:down
