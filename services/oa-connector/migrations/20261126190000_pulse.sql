-- migrate:up

-- When a process of ours last worked for this OA: long ago means that its loops stand still.
ALTER TABLE tenant ADD COLUMN pulse_at timestamptz;

-- migrate:down
-- Forward only: a release is rolled back by running the older code on this schema.
