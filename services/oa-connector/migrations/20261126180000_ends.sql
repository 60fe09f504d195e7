-- migrate:up

-- When we saw that a process had ended (older rows go by when it began), and what was asked of the
-- OA in vain at its end: its note, then its end.
ALTER TABLE submission
    ADD COLUMN ended_at timestamptz,
    ADD COLUMN tries integer NOT NULL DEFAULT 0;

-- A ghost is ended at a person's word as an orphan is.
-- squawk-ignore require-concurrent-index-deletion -- one row per difference: small
DROP INDEX drift_to_do;
-- squawk-ignore require-concurrent-index-creation -- one row per difference: small
CREATE INDEX drift_to_do ON drift (tenant)
WHERE done_at IS NULL AND drift IN ('ghost', 'orphan');

-- migrate:down
-- Forward only: a release is rolled back by running the older code on this schema.
