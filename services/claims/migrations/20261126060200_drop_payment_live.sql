-- migrate:up transaction:false

-- payment_standing has taken its place, and holds for the release before too.
DROP INDEX CONCURRENTLY payment_live;

-- migrate:down
