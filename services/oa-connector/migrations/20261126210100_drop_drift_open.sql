-- migrate:up transaction:false

-- drift_of_process has taken its place.
DROP INDEX CONCURRENTLY drift_open;

-- migrate:down
-- Forward only: a release is rolled back by running the older code on this schema.
