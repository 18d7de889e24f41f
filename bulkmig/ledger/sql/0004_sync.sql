-- Sync: what both sides changed, and what stays although it should go.

CREATE TABLE bulkmig.conflicts (
    id          uuid PRIMARY KEY,
    run_id      uuid NOT NULL,
    vessel_id   uuid,                   -- NULL: companies and users
    entity      text NOT NULL,
    source_id   uuid NOT NULL,
    target_id   uuid NOT NULL,
    kind        text NOT NULL,          -- both_changed, deleted_in_source, deleted_by_portal
    status      text NOT NULL,          -- open, resolved
    strategy    text NOT NULL,          -- which decided, or left it open
    detected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at timestamptz,
    fields      text NOT NULL           -- field -> base, source, target, result
);
CREATE UNIQUE INDEX conflicts_open ON bulkmig.conflicts (entity, source_id) WHERE status = 'open';
CREATE INDEX conflicts_vessel ON bulkmig.conflicts (vessel_id);

-- Rows that the source has no more and the target keeps on purpose.
CREATE TABLE bulkmig.retained (
    entity    text NOT NULL,
    source_id uuid NOT NULL,
    vessel_id uuid,
    target_id uuid NOT NULL,
    run_id    uuid NOT NULL,
    reason    text NOT NULL,            -- maintenance_logs, rows_left, in_use, conflict, with_parent, brake
    PRIMARY KEY (entity, source_id)
);
CREATE INDEX retained_vessel ON bulkmig.retained (vessel_id);

-- What was seen of a vessel's rows in the source when it was last brought up to date. `horizon`: every row that
-- an older transaction wrote was seen; `keys`: which rows there were.
CREATE TABLE bulkmig.seen (
    vessel_id uuid PRIMARY KEY,
    horizon   bigint NOT NULL,
    keys      text NOT NULL,
    cluster   text NOT NULL             -- in which the transactions are counted
);
