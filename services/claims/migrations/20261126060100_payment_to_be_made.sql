-- migrate:up transaction:false

-- A claim has at most one payment that is still to be made or was made: a stopped one is neither.
CREATE UNIQUE INDEX CONCURRENTLY payment_standing ON payment (claim_id)
    WHERE status NOT IN ('failed', 'stopped');

-- migrate:down
