-- migrate:up

-- One row per expense claim. `revision` counts the hand-ins, `version` every change.
CREATE TABLE claim (
    id text COLLATE "C" PRIMARY KEY,
    employee_id text NOT NULL,
    title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 120),
    status text NOT NULL CHECK (status IN (
        'draft', 'submitted', 'withdrawn', 'returned', 'rejected', 'approved',
        'paying', 'paid', 'failed'
    )),
    revision integer NOT NULL CHECK (revision >= 0),
    version integer NOT NULL CHECK (version >= 1),
    total numeric(18, 4) NOT NULL CHECK (total > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    content_hash text CHECK (content_hash ~ '^[0-9a-f]{64}$'),
    -- What policy found when the claim was last handed in, each finding with its trace.
    findings jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    submitted_at timestamptz,
    -- Approval is bound to a content: whoever has one was handed in.
    CHECK (status = 'draft' OR (content_hash IS NOT NULL AND revision >= 1))
);
CREATE INDEX claim_of_employee ON claim (employee_id, id DESC);

CREATE TABLE expense_line (
    claim_id text COLLATE "C" NOT NULL REFERENCES claim (id),
    line_no integer NOT NULL CHECK (line_no BETWEEN 1 AND 200),
    category text NOT NULL,
    spent_on date NOT NULL,
    city text,
    amount numeric(18, 4) NOT NULL CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    reason text,
    PRIMARY KEY (claim_id, line_no)
);

-- Policy as data: imported from a file at start, read at every hand-in.
CREATE TABLE limit_rule (
    id text NOT NULL,
    category text NOT NULL,
    city text,
    amount numeric(18, 4) NOT NULL CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    severity text NOT NULL CHECK (severity IN ('warn', 'block')),
    effective_from date NOT NULL,
    effective_to date CHECK (effective_to > effective_from),
    PRIMARY KEY (id, effective_from)
);
CREATE INDEX limit_rule_category ON limit_rule (category);

-- One row per attempt to pay a claim. No sum of live attempts can exceed what was approved:
-- an attempt is at most the approved amount, and a claim has at most one that has not failed.
CREATE TABLE payment (
    id text COLLATE "C" PRIMARY KEY,
    claim_id text COLLATE "C" NOT NULL REFERENCES claim (id),
    revision integer NOT NULL,
    attempt integer NOT NULL CHECK (attempt >= 1),
    payee_id text NOT NULL,
    amount numeric(18, 4) NOT NULL CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    approved_amount numeric(18, 4) NOT NULL,
    status text NOT NULL CHECK (status IN ('requested', 'settled', 'failed')),
    receipt text,
    failure text,
    requested_at timestamptz NOT NULL,
    closed_at timestamptz,
    closed_by text,
    UNIQUE (claim_id, attempt),
    CONSTRAINT payment_within_approval CHECK (amount <= approved_amount),
    CHECK ((status = 'settled') = (receipt IS NOT NULL)),
    CHECK ((status = 'failed') = (failure IS NOT NULL)),
    CHECK ((status = 'requested') = (closed_at IS NULL AND closed_by IS NULL))
);
CREATE UNIQUE INDEX payment_live ON payment (claim_id) WHERE status <> 'failed';
CREATE INDEX payment_queue ON payment (status, requested_at, id);

-- Every event of a document's road with its place on its topic.
CREATE TABLE timeline_entry (
    event_id uuid PRIMARY KEY,
    document_id text COLLATE "C" NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    type text NOT NULL,
    occurred_at timestamptz NOT NULL,
    actor text,
    system text NOT NULL,
    facts jsonb NOT NULL
);
CREATE INDEX timeline_of_document ON timeline_entry (document_id, occurred_at, event_id);

-- migrate:down
