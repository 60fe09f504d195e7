-- migrate:up

-- Of several ghosts or orphans of one key each waits for a person by itself. The table came with this
-- release: no code before it knows the index, and there are no rows to speak of.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX drift_open;
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX drift_open ON drift (business_key, drift, coalesce(instance_id, ''))
WHERE resolved_at IS NULL;

-- Whose decision each told step was, and when; '' of those that were told before.
ALTER TABLE submission ADD COLUMN deciders text [] NOT NULL DEFAULT '{}';

-- migrate:down
-- Forward only: a release is rolled back by running the older code on this schema.
