-- Checkpoints: what a vessel (or the companies and users of a run) was in the target before a run changed it.

CREATE TABLE bulkmig.checkpoints (
    id         uuid PRIMARY KEY,
    seq        bigint GENERATED ALWAYS AS IDENTITY,   -- the order of changes
    run_id     uuid NOT NULL,
    vessel_id  uuid,                    -- NULL: companies and users
    roots      uuid[] NOT NULL,         -- target ids of the vessel, or of the companies
    absent     boolean NOT NULL,        -- nothing of it was there
    base       bigint[] NOT NULL,       -- the parts of the base that held then
    together   uuid[] NOT NULL,         -- checkpoints of vessels that changed in the same commit
    incidental boolean NOT NULL,        -- the run was about other vessels, whose arrival let rows of this one in
    restored   uuid,                    -- the change was a rollback: to which checkpoint
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    parts      integer NOT NULL,
    rows       bigint NOT NULL,
    bytes      bigint NOT NULL,
    encrypted  boolean NOT NULL
);
CREATE UNIQUE INDEX checkpoints_once ON bulkmig.checkpoints
    (run_id, coalesce(vessel_id, '00000000-0000-0000-0000-000000000000'));
CREATE INDEX checkpoints_vessel ON bulkmig.checkpoints (vessel_id, seq);

-- Rows as COPY's CSV, compressed. Each part can be read alone; `digest` is SHA-256 over what is stored.
CREATE TABLE bulkmig.checkpoint_parts (
    checkpoint_id uuid NOT NULL REFERENCES bulkmig.checkpoints ON DELETE CASCADE
                  DEFERRABLE INITIALLY DEFERRED,
    part          integer NOT NULL,
    role          text NOT NULL,        -- state, context (what its rows refer to), hanging (rows of others), ledger
    table_name    text NOT NULL,
    columns       text[] NOT NULL,
    payload       bytea NOT NULL,
    digest        bytea NOT NULL,
    PRIMARY KEY (checkpoint_id, part)
);
ALTER TABLE bulkmig.checkpoint_parts ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Parts of the base are never changed. Which of them hold is what a rollback sets back; `checkpoint_id` is
-- the change that wrote a part. `kind`: rows (what was written), forgotten (source ids that are no longer
-- bulkmig's), and for rollbacks alone: standing (rows where something else than the base stands in the
-- target), removed (target rows that went), stayed (rows of companies that did, since others use them).
ALTER TABLE bulkmig.base
    ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN kind text NOT NULL DEFAULT 'rows',
    ADD COLUMN checkpoint_id uuid,
    ADD COLUMN holds boolean NOT NULL DEFAULT true,
    DROP CONSTRAINT base_pkey,
    DROP COLUMN part,
    ADD PRIMARY KEY (id);
CREATE INDEX base_vessel ON bulkmig.base (vessel_id, entity, id);
CREATE INDEX base_checkpoint ON bulkmig.base (checkpoint_id);

-- Who did what, when: only ever added to.
CREATE TABLE bulkmig.audit (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id    uuid,
    vessel_id uuid,
    action    text NOT NULL,            -- started, completed, failed, rolled back, forced, refused, pruned
    operator  text NOT NULL,
    host      text NOT NULL,
    summary   text NOT NULL
);
CREATE INDEX audit_run ON bulkmig.audit (run_id);

CREATE FUNCTION bulkmig.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'bulkmig.audit is only ever added to';
END
$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bulkmig.audit
    FOR EACH STATEMENT EXECUTE FUNCTION bulkmig.refuse_change();
