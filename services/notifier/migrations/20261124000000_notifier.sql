-- migrate:up

-- Our own copy of the directory. Names and addresses stay in this table.
CREATE TABLE employee (
    employee_id text PRIMARY KEY,
    name text NOT NULL,
    email text,
    language text NOT NULL,
    roles text[] NOT NULL,
    is_active boolean NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX employee_roles ON employee USING gin (roles) WHERE is_active;

-- What a notice says about its document.
CREATE TABLE document (
    document_id text PRIMARY KEY,
    revision integer NOT NULL,
    employee_id text NOT NULL,
    title text NOT NULL,
    amount numeric(18, 4) NOT NULL,
    currency text NOT NULL CHECK (length(currency) = 3)
);

-- One row per cause, recipient and channel: a second delivery of the cause changes nothing.
CREATE TABLE notice (
    notice_id uuid PRIMARY KEY,
    cause_id uuid NOT NULL,
    recipient_id text NOT NULL,
    document_id text NOT NULL,
    template text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('in_app', 'email', 'webhook')),
    "values" jsonb NOT NULL,
    state text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sent', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    -- When it may be taken; taking it moves this to the end of the lease.
    next_at timestamptz NOT NULL,
    -- Why the last attempt failed; NULL after an attempt: it is on its way, or was cut off.
    reason text,
    correlation_id text,
    traceparent text,
    created_at timestamptz NOT NULL,
    settled_at timestamptz,
    read_at timestamptz,
    UNIQUE (cause_id, recipient_id, channel)
);
CREATE INDEX notice_due ON notice (channel, next_at) WHERE state = 'due';
CREATE INDEX notice_mine ON notice (recipient_id, notice_id)
    WHERE channel = 'in_app' AND state = 'sent';

-- What the stages of the pipeline are made of, one row per event, kept by the ordinary consumer.
CREATE TABLE pipeline_fact (
    claim_id text NOT NULL,
    side text NOT NULL CHECK (side IN ('claim', 'approval')),
    sequence bigint NOT NULL,
    stage text NOT NULL,
    revision integer,
    at timestamptz NOT NULL,
    PRIMARY KEY (claim_id, side, sequence)
);

-- The Faust view: thrown away and folded again under the next generation.
CREATE TABLE pipeline_view (
    generation integer NOT NULL,
    claim_id text NOT NULL,
    claim_sequence bigint NOT NULL DEFAULT 0,
    approval_sequence bigint NOT NULL DEFAULT 0,
    stage text,
    since timestamptz,
    revision integer NOT NULL DEFAULT 0,
    approving_revision integer NOT NULL DEFAULT 0,
    approving_since timestamptz,
    PRIMARY KEY (generation, claim_id)
);

-- Where each claim is: `approving` once somebody was asked about the revision handed in last.
CREATE VIEW pipeline_position AS
SELECT generation, claim_id,
       CASE WHEN stage = 'submitted' AND approving_revision >= revision
            THEN 'approving' ELSE stage END AS stage,
       CASE WHEN stage = 'submitted' AND approving_revision >= revision
            THEN approving_since ELSE since END AS since
  FROM pipeline_view WHERE stage IS NOT NULL;

-- migrate:down
