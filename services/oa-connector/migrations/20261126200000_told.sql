-- migrate:up

-- The steps whose decisions were told, by the OA's own ids: their places in its list may change.
-- Of rows begun before, the first `steps_seen` count as told.
ALTER TABLE submission ADD COLUMN told text [] NOT NULL DEFAULT '{}';

-- migrate:down
-- Forward only: a release is rolled back by running the older code on this schema.
