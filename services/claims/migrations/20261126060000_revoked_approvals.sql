-- migrate:up

-- What bears the cost (null: the department) and whom the employee chose for a step that lets them.
-- `revoked`: an approval was taken back before payment; `recovering`: after it.
ALTER TABLE claim
    ADD COLUMN cost_centre text CHECK (char_length(cost_centre) BETWEEN 1 AND 64),
    ADD COLUMN chosen_approvers jsonb NOT NULL DEFAULT '[]',
    -- squawk-ignore ban-drop-constraint -- the one that takes its place allows more
    DROP CONSTRAINT claim_status_check,
    ADD CONSTRAINT claim_status_known CHECK (status IN (
        'draft', 'submitted', 'withdrawn', 'returned', 'rejected', 'approved',
        'paying', 'paid', 'failed', 'revoked', 'recovering'
    )) NOT VALID;

ALTER TABLE payment
    ADD COLUMN stop_reason text,
    ADD CONSTRAINT payment_stopped_why
        CHECK ((status = 'stopped') = (stop_reason IS NOT NULL)) NOT VALID,
    -- squawk-ignore ban-drop-constraint -- the one that takes its place allows more
    DROP CONSTRAINT payment_status_check,
    ADD CONSTRAINT payment_status_known
        CHECK (status IN ('requested', 'settled', 'failed', 'stopped')) NOT VALID;

-- migrate:down
