-- migrate:up

-- One row per fact, append-only; read by the relay's snapshot cursor, dropped by partition.
CREATE TABLE outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    -- The top-level transaction, also under a savepoint: what the snapshot cursor compares.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    event_id uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    headers jsonb NOT NULL,
    -- A record over the broker's limit would stop its partition for good: refuse it here.
    payload bytea NOT NULL CONSTRAINT outbox_payload_size CHECK (octet_length(payload) < 900000),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) PARTITION BY RANGE (created_at);
-- Opens a window of the snapshot cursor; the second index then pages through it in order.
CREATE INDEX outbox_window ON outbox (xid, seq);
CREATE INDEX outbox_order ON outbox (seq);
-- Takes what no dated partition takes, so that a missed upkeep never refuses a claim.
CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;
CREATE UNIQUE INDEX outbox_default_version ON outbox_default (topic, key, version);

-- Numbers the facts of one key from 1 without a gap, and holds the row lock that orders them.
CREATE TABLE outbox_head (
    topic text NOT NULL,
    key text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (topic, key)
) WITH (fillfactor = 70);

-- How far the relay has published: the closed snapshot, the open one, and the page inside it.
CREATE TABLE outbox_cursor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    closed text NOT NULL DEFAULT '1:1:',
    open text,
    page bigint NOT NULL DEFAULT 0,
    moved_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO outbox_cursor DEFAULT VALUES;

-- A row the broker refused: kept for a person, never in the way of the others.
CREATE TABLE outbox_parked (
    seq bigint PRIMARY KEY,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    reason text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now()
);

-- One row per event that has taken effect or was parked: a second delivery does nothing.
CREATE TABLE inbox (
    event_id uuid NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id)
);
-- Rows come in the order of their time, so a block range index costs the hot path nothing.
CREATE INDEX inbox_age ON inbox USING brin (received_at) WITH (autosummarize = on);

-- The last version of each key that took effect: protects after the inbox row has gone.
CREATE TABLE inbox_position (
    topic text NOT NULL,
    key text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (topic, key)
) WITH (fillfactor = 70);

-- Events of a parked key, in order, until a person redrives or discards them.
CREATE TABLE inbox_parked (
    topic text NOT NULL,
    key text NOT NULL,
    version bigint NOT NULL, -- 0: the record does not say
    event_id uuid NOT NULL,
    type text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    record_at timestamptz NOT NULL,
    headers jsonb NOT NULL,
    payload bytea,
    error text NOT NULL, -- the class; the reason is its sentence
    reason text NOT NULL,
    attempts integer NOT NULL,
    failed_at timestamptz NOT NULL, -- the first time
    parked_at timestamptz NOT NULL DEFAULT now(),
    discarded_at timestamptz, -- a person said: skip it when its turn comes
    copied_at timestamptz, -- to the topic of dead letters
    PRIMARY KEY (topic, key, event_id)
);
CREATE INDEX inbox_parked_to_copy ON inbox_parked (parked_at) WHERE copied_at IS NULL;

-- Idempotency-Key: what was answered to which request, stored with its effect.
CREATE TABLE idempotency (
    principal text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status integer NOT NULL,
    response bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, route, key)
);
CREATE INDEX idempotency_age ON idempotency (created_at);

-- migrate:down
-- Forward only: a release is rolled back by running the older code on this schema.
