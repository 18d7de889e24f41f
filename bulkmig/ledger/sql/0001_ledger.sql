-- bulkmig's own tables: what happened, what was decided, what was last written. Never touched by the portal.

CREATE TABLE bulkmig.runs (
    id          uuid PRIMARY KEY,
    command     text NOT NULL,
    status      text NOT NULL,          -- running, completed, completed_with_failures, stopped, failed
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    operator    text NOT NULL,
    host        text NOT NULL,
    version     text NOT NULL,
    source_snapshot text,               -- what the run saw of the source: pg_current_snapshot()
    selection   text NOT NULL,          -- what was asked for, in a canonical form
    report      text                    -- the JSON document of the command
);

-- Which target row a source row became, for rows that others refer to from everywhere.
CREATE TABLE bulkmig.identities (
    entity    text NOT NULL,            -- company, user, vessel
    source_id uuid NOT NULL,
    target_id uuid NOT NULL,
    adopted   boolean NOT NULL,
    run_id    uuid NOT NULL,
    PRIMARY KEY (entity, source_id),
    UNIQUE (entity, target_id)
);

-- Assigned once, never changed: slugs of every company of the source, codes that the plain rule doesn't give.
CREATE TABLE bulkmig.slugs (
    company_id uuid PRIMARY KEY,
    slug       text NOT NULL
);
CREATE TABLE bulkmig.qr_codes (
    equipment_id uuid PRIMARY KEY,
    qr_code      text NOT NULL
);

-- The mark of a vessel: written in the transaction that writes its rows.
CREATE TABLE bulkmig.vessels (
    vessel_id   uuid PRIMARY KEY,
    state       text NOT NULL,          -- migrated, quarantined, failed, gone
    run_id      uuid NOT NULL,
    name        text NOT NULL,
    phase       text NOT NULL,          -- the last phase it reached
    error       text,
    rows        bigint NOT NULL,
    seconds     double precision NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX vessels_run ON bulkmig.vessels (run_id);

CREATE TABLE bulkmig.findings (
    run_id    uuid NOT NULL,
    severity  text NOT NULL,
    code      text NOT NULL,
    vessel_id uuid,
    entity    text NOT NULL,
    source_id uuid NOT NULL,
    field     text NOT NULL,
    message   text NOT NULL
);
CREATE INDEX findings_run ON bulkmig.findings (run_id, vessel_id);

-- A row that was not loaded: why, and what the source held.
CREATE TABLE bulkmig.quarantine (
    entity    text NOT NULL,
    source_id uuid NOT NULL,
    vessel_id uuid,
    run_id    uuid NOT NULL,
    code      text NOT NULL,
    message   text NOT NULL,
    row       text NOT NULL,
    since     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (entity, source_id)
);
CREATE INDEX quarantine_vessel ON bulkmig.quarantine (vessel_id);

-- Rows that wait for rows of other vessels.
CREATE TABLE bulkmig.pending (
    entity    text NOT NULL,
    source_id uuid NOT NULL,
    vessel_id uuid NOT NULL,
    run_id    uuid NOT NULL,
    PRIMARY KEY (entity, source_id)
);
CREATE INDEX pending_vessel ON bulkmig.pending (vessel_id);

-- The base: what was last written, per vessel (or the nil UUID: companies and users) and entity, in parts.
-- `payload` is an Arrow IPC stream, compressed: source_id and one column per target cell, all text.
CREATE TABLE bulkmig.base (
    vessel_id uuid NOT NULL,
    entity    text NOT NULL,
    run_id    uuid NOT NULL,
    part      integer NOT NULL,
    rows      integer NOT NULL,
    payload   bytea NOT NULL,
    PRIMARY KEY (vessel_id, entity, run_id, part)
);
-- Already compressed: stored as it is, out of line.
ALTER TABLE bulkmig.base ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Which vessels an unfinished verification has behind it.
CREATE TABLE bulkmig.verified (
    run_id    uuid NOT NULL,
    vessel_id uuid NOT NULL,
    result    text NOT NULL,
    PRIMARY KEY (run_id, vessel_id)
);
