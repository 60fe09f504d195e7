-- migrate:up transaction:false

-- What an administrator is asked, and what a leaver is still asked since no one could take it.
CREATE INDEX CONCURRENTLY task_in_trouble ON task (assigned_at, task_id)
    WHERE status = 'open' AND (is_stranded OR rule LIKE 'administrator (%');

-- migrate:down
