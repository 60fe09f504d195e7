-- migrate:up

-- Approval definitions, each version kept for ever: a running approval keeps the one it began with.
CREATE TABLE definition (
    id text NOT NULL,
    version integer NOT NULL,
    document jsonb NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, version)
);

-- Our own copy of the directory, whole states by event. Those who left stay known.
CREATE TABLE employee (
    employee_id text PRIMARY KEY,
    department_id text NOT NULL,
    manager_id text,
    roles text[] NOT NULL,
    is_active boolean NOT NULL
);
CREATE INDEX employee_roles ON employee USING gin (roles);
CREATE TABLE department (
    department_id text PRIMARY KEY,
    parent_id text,
    head_id text
);

-- One row per revision of a document that was handed in.
CREATE TABLE approval (
    document_id text NOT NULL,
    revision integer NOT NULL,
    kind text NOT NULL,
    definition text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('native', 'delegated')),
    tenant text,
    submitter_id text NOT NULL,
    title text NOT NULL,
    amount numeric NOT NULL, -- with the decimals it was handed in with
    currency text NOT NULL CHECK (length(currency) = 3),
    content_hash text NOT NULL,
    route jsonb NOT NULL,
    status text NOT NULL CHECK (status IN ('open', 'approved', 'rejected', 'returned', 'cancelled')),
    requested_at timestamptz NOT NULL,
    PRIMARY KEY (document_id, revision)
);
-- At most one revision of a document is being approved.
CREATE UNIQUE INDEX approval_open ON approval (document_id) WHERE status = 'open';

CREATE TABLE task (
    task_id text PRIMARY KEY,
    document_id text NOT NULL,
    revision integer NOT NULL,
    step integer NOT NULL,
    name text NOT NULL,
    assignee_id text NOT NULL,
    native boolean NOT NULL,
    status text NOT NULL CHECK (status IN ('open', 'decided', 'cancelled')),
    decision text,
    decided_by text,
    via text,
    opinion text,
    assigned_at timestamptz NOT NULL,
    decided_at timestamptz,
    FOREIGN KEY (document_id, revision) REFERENCES approval (document_id, revision)
);
CREATE INDEX task_document ON task (document_id, revision);
-- A person's inbox, oldest first.
CREATE INDEX task_inbox ON task (assignee_id, assigned_at, task_id) WHERE status = 'open';

-- migrate:down
