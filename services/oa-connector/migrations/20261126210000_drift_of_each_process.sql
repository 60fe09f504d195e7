-- migrate:up transaction:false

-- Of several ghosts or orphans of one key each waits for a person by itself.
CREATE UNIQUE INDEX CONCURRENTLY drift_of_process
ON drift (business_key, drift, coalesce(instance_id, '')) WHERE resolved_at IS NULL;

-- migrate:down
-- Forward only: a release is rolled back by running the older code on this schema.
