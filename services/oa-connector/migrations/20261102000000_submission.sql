-- migrate:up

-- One revision of one document on its way through an OA; a row is due when its state says so.
CREATE TABLE submission (
    document_id text NOT NULL,
    revision integer NOT NULL CHECK (revision > 0),
    tenant text NOT NULL,
    state text NOT NULL CHECK (state IN (
        'NEW', 'SUBMITTING', 'UNKNOWN', 'RESOLVING', 'SUBMITTED', 'WITHDRAWING', 'NEEDS_HUMAN',
        'CLOSED'
    )),
    content_hash text NOT NULL,
    form jsonb NOT NULL,
    attempt integer NOT NULL,
    lookups integer NOT NULL,
    failures integer NOT NULL,
    hints integer NOT NULL,
    steps_seen integer NOT NULL,
    instance_id text,
    drift text,
    withdraw_reason text,
    opened_at timestamptz,
    last_error text,
    next_at timestamptz,
    -- Whoever took the row holds it until then; the value is also the proof of holding it.
    lease_until timestamptz,
    correlation_id text,
    causation_id uuid,
    traceparent text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (document_id, revision)
);
CREATE INDEX submission_due ON submission (tenant, next_at) WHERE next_at IS NOT NULL;
CREATE UNIQUE INDEX submission_instance ON submission (tenant, instance_id)
WHERE instance_id IS NOT NULL;
CREATE INDEX submission_state ON submission (state, updated_at);

-- Each callback that was proven to be the OA's own, kept as it came; it is only a hint.
CREATE TABLE callback (
    tenant text NOT NULL,
    delivery_id text NOT NULL,
    signature text NOT NULL,
    instance_id text NOT NULL,
    body bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, delivery_id),
    -- The delivery id is not signed: a copy under another id must not pass either.
    UNIQUE (tenant, signature)
);
CREATE INDEX callback_age ON callback (received_at);

-- What each OA said about itself when it was last asked.
CREATE TABLE tenant (
    tenant text PRIMARY KEY,
    version text,
    error text,
    checked_at timestamptz NOT NULL
);

-- migrate:down
-- Forward only: a release is rolled back by running the older code on this schema.
