-- migrate:up

-- A mirrored task is a process of its own, so the key is what the OA knows it by. Code of the
-- release before inserts by the old key and waits, with its event, until it is replaced.
ALTER TABLE submission
    ADD COLUMN task_id text,
    ADD COLUMN template text NOT NULL DEFAULT 'claim',
    ADD COLUMN status text,
    ADD COLUMN version bigint [] NOT NULL DEFAULT '{}',
    ADD COLUMN rereads integer NOT NULL DEFAULT 0,
    ADD COLUMN missed text,
    ADD COLUMN farewell jsonb,
    ADD COLUMN is_annotated boolean NOT NULL DEFAULT false,
    ADD COLUMN read_at timestamptz,
    -- squawk-ignore adding-field-with-default -- one row per document on its way: small
    ADD COLUMN business_key text GENERATED ALWAYS AS (
        coalesce(task_id, document_id || '@' || revision::text)
    ) STORED;
UPDATE submission SET farewell = jsonb_build_object('reason', withdraw_reason)
WHERE withdraw_reason IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation -- one row per document on its way: small
CREATE UNIQUE INDEX submission_key ON submission (business_key);
-- squawk-ignore ban-drop-constraint -- what it guaranteed, the new key does for whole documents
ALTER TABLE submission DROP CONSTRAINT submission_pkey;
ALTER TABLE submission ADD CONSTRAINT submission_pkey PRIMARY KEY USING INDEX submission_key;
-- squawk-ignore require-concurrent-index-creation -- likewise
CREATE INDEX submission_document ON submission (document_id, revision);
-- squawk-ignore require-concurrent-index-creation -- likewise
CREATE INDEX submission_open ON submission (tenant, business_key) WHERE state = 'SUBMITTED';

-- A mirrored approval as each of its tasks is shown in the OA, until it has ended.
CREATE TABLE request (
    document_id text NOT NULL,
    revision integer NOT NULL,
    tenant text NOT NULL,
    template text NOT NULL,
    content_hash text NOT NULL,
    form jsonb NOT NULL,
    PRIMARY KEY (document_id, revision)
);

-- A difference that waits for a person, both sides as they were when it was found.
CREATE TABLE drift (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    business_key text NOT NULL,
    document_id text NOT NULL,
    revision integer NOT NULL,
    task_id text,
    instance_id text,
    drift text NOT NULL,
    detail text NOT NULL,
    ours jsonb NOT NULL,
    theirs jsonb NOT NULL,
    detected_at timestamptz NOT NULL,
    repair text,
    note text,
    resolved_by text,
    resolved_at timestamptz,
    done_at timestamptz -- when the OA shows it
);
CREATE UNIQUE INDEX drift_open ON drift (business_key, drift) WHERE resolved_at IS NULL;
CREATE INDEX drift_age ON drift (detected_at);
CREATE INDEX drift_to_do ON drift (tenant) WHERE repair = 'withdraw' AND done_at IS NULL;

-- What an OA can do and how it fares. The marks are how far its lists were read, in its own time.
ALTER TABLE tenant
    ADD COLUMN profile text,
    ADD COLUMN is_degraded boolean NOT NULL DEFAULT false,
    ADD COLUMN detail text NOT NULL DEFAULT '',
    ADD COLUMN capabilities jsonb,
    ADD COLUMN breaker text NOT NULL DEFAULT 'closed',
    ADD COLUMN clock_offset interval NOT NULL DEFAULT '0',
    ADD COLUMN created_until timestamptz,
    ADD COLUMN changed_until timestamptz,
    ADD COLUMN reconciled_at timestamptz;

-- A form of an OA by its fingerprint; paused: nothing new is sent by it until a person has looked.
CREATE TABLE template (
    tenant text NOT NULL,
    name text NOT NULL,
    fingerprint text,
    paused_at timestamptz,
    why text,
    PRIMARY KEY (tenant, name)
);

-- migrate:down
