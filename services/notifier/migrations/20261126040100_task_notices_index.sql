-- migrate:up transaction:false

-- Ending a task asks for its notices that still ask somebody.
CREATE INDEX CONCURRENTLY notice_of_open_task ON notice (document_id, task_id)
    WHERE task_id IS NOT NULL AND done_at IS NULL;

-- migrate:down
