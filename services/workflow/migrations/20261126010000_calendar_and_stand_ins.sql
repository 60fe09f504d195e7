-- migrate:up

-- What a company has imported over the published calendar: `hours`, or the notice of a year.
CREATE TABLE calendar_part (
    part text PRIMARY KEY,
    document jsonb NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL
);

-- Windows of time in which one person's tasks go to another; kept when they are over or called off.
CREATE TABLE stand_in (
    id text PRIMARY KEY,
    person_id text NOT NULL,
    stand_in_id text NOT NULL CHECK (stand_in_id <> person_id),
    kinds text[] CHECK (cardinality(kinds) > 0), -- of document; null: all, those to come too
    begins_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL CHECK (ends_at > begins_at), -- exclusive
    reason text NOT NULL CHECK (reason IN ('leave', 'delegation', 'other')),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    cancelled_by text,
    cancelled_at timestamptz,
    move_at timestamptz -- when to look next for tasks that its person is asked; null: never again
);
-- Who stands in for these people now.
CREATE INDEX stand_in_person ON stand_in (person_id, ends_at) WHERE cancelled_at IS NULL;
CREATE INDEX stand_in_stand_in ON stand_in (stand_in_id, ends_at) WHERE cancelled_at IS NULL;
-- Windows whose person may be asked something.
CREATE INDEX stand_in_move ON stand_in (move_at)
    WHERE move_at IS NOT NULL AND cancelled_at IS NULL;

-- migrate:down
