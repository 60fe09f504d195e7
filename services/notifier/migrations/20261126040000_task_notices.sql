-- migrate:up

-- The task that a notice asks for, and when that task ended; NULL: it asks for none, or it has not.
ALTER TABLE notice ADD COLUMN task_id text;
ALTER TABLE notice ADD COLUMN done_at timestamptz;

-- The names of the people whom the values of a notice name: `submitter_id` and its like.
CREATE FUNCTION names_in(said jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_object_agg(v.key, e.name)
      FROM jsonb_each_text(said) AS v JOIN employee AS e ON e.employee_id = v.value
     WHERE right(v.key, 3) = '_id'
$$;

-- migrate:down
