-- migrate:up

-- What an approver was shown, so that another content can be named; why the route is as it is.
ALTER TABLE approval
    ADD COLUMN details jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN reasons jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN automatic text, -- the rule by which no person was asked
    ADD COLUMN back jsonb, -- where the route goes on after an earlier step was asked anew
    -- squawk-ignore ban-drop-constraint -- the one that takes its place allows more
    DROP CONSTRAINT approval_mode_check,
    ADD CONSTRAINT approval_mode_known
        CHECK (mode IN ('native', 'mirrored', 'delegated')) NOT VALID,
    -- squawk-ignore ban-drop-constraint -- the one that takes its place allows more
    DROP CONSTRAINT approval_status_check,
    ADD CONSTRAINT approval_status_known CHECK (
        status IN ('open', 'approved', 'rejected', 'returned', 'cancelled', 'revoked')
    ) NOT VALID;

-- A step asked once is a round; a seat is one vote in it; `part` says what a task is for.
ALTER TABLE task
    ADD COLUMN round integer NOT NULL DEFAULT 1,
    ADD COLUMN seat integer NOT NULL DEFAULT 1,
    ADD COLUMN part text NOT NULL DEFAULT 'own'
        CHECK (part IN ('own', 'before', 'after', 'opinion')),
    ADD COLUMN rule text NOT NULL DEFAULT '',
    ADD COLUMN verb text,
    ADD COLUMN acting_for text,
    ADD COLUMN added_by text,
    ADD COLUMN due_at timestamptz,
    ADD COLUMN is_stranded boolean NOT NULL DEFAULT false,
    ADD COLUMN closing text,
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN content_hash text,
    ADD COLUMN automatic text,
    -- squawk-ignore ban-drop-constraint -- the one that takes its place allows more
    DROP CONSTRAINT task_status_check,
    ADD CONSTRAINT task_status_known
        CHECK (status IN ('waiting', 'open', 'decided', 'cancelled')) NOT VALID;

-- What was done besides deciding, for ever.
CREATE TABLE act (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id text NOT NULL,
    revision integer NOT NULL,
    task_id text,
    verb text NOT NULL,
    acted_by text, -- null: a rule
    via text NOT NULL,
    targets text[] NOT NULL,
    to_step integer,
    text text,
    acted_at timestamptz NOT NULL,
    FOREIGN KEY (document_id, revision) REFERENCES approval (document_id, revision)
);
CREATE INDEX act_document ON act (document_id, revision);

-- What is to be done about a task that is still open then; a row is deleted by whoever acts on it.
CREATE TABLE deadline (
    task_id text NOT NULL REFERENCES task (task_id),
    at timestamptz NOT NULL,
    action text NOT NULL CHECK (action IN ('remind', 'escalate', 'decide')),
    decision text,
    PRIMARY KEY (task_id, at, action)
);
CREATE INDEX deadline_at ON deadline (at);

-- migrate:down
