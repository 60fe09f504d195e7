-- migrate:up

-- Checked and locked for every row that one function writes right after the approval: ADR 0016.
-- squawk-ignore ban-drop-constraint -- old and new code write the same rows with or without it
ALTER TABLE task DROP CONSTRAINT task_document_id_revision_fkey;

-- migrate:down
