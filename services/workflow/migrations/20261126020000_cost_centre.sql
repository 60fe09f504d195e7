-- migrate:up

-- Who answers for what bears a cost; kept by the administrators.
CREATE TABLE cost_centre (
    id text PRIMARY KEY,
    owner_id text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL
);

-- Who brought a version; null: it stood in the folder at start.
ALTER TABLE definition ADD COLUMN imported_by text;

-- Which of the documents that need no approver a person looks at all the same is drawn with this
-- secret, so that no submitter can foresee it. One row, for ever.
CREATE TABLE audit_secret (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    secret text NOT NULL DEFAULT gen_random_uuid()::text || gen_random_uuid()::text
);
INSERT INTO audit_secret DEFAULT VALUES;

-- migrate:down
