-- bulkmig's own tables where the portal is on SQLite; ../sql/ says what each is for. UUIDs are text, moments are
-- text in their order, arrays are JSON. Ids of the portal's rows are UUIDs here too (bulkmig_ids has the
-- numbers), so that the ledger moves to PostgreSQL as it is.

-- The number of every row of the portal, its UUID, and the source row that it came from: bulkmig's rows only.
CREATE TABLE bulkmig_ids (
    tbl       TEXT NOT NULL,
    id        INTEGER NOT NULL,
    uuid      TEXT NOT NULL,
    source_id TEXT,
    freed     INTEGER NOT NULL DEFAULT 0,   -- bulkmig has deleted the row: who has the number now is another
    born      TEXT,                         -- its created_at: a row with another one is another
    PRIMARY KEY (tbl, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX bulkmig_ids_uuid ON bulkmig_ids (uuid);
CREATE INDEX bulkmig_ids_freed ON bulkmig_ids (tbl) WHERE freed;

-- Which process is at work: what advisory locks are on PostgreSQL.
CREATE TABLE bulkmig_locks (
    key     INTEGER PRIMARY KEY,
    process TEXT NOT NULL,
    session TEXT NOT NULL
);

CREATE TABLE bulkmig_runs (
    id          TEXT PRIMARY KEY,
    command     TEXT NOT NULL,
    status      TEXT NOT NULL,
    started_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    finished_at TEXT,
    operator    TEXT NOT NULL,
    host        TEXT NOT NULL,
    version     TEXT NOT NULL,
    source_snapshot TEXT,
    selection   TEXT NOT NULL,
    report      TEXT
);
CREATE TABLE bulkmig_identities (
    entity    TEXT NOT NULL,
    source_id TEXT NOT NULL,
    target_id TEXT NOT NULL,
    adopted   INTEGER NOT NULL,
    run_id    TEXT NOT NULL,
    PRIMARY KEY (entity, source_id),
    UNIQUE (entity, target_id)
);
CREATE TABLE bulkmig_slugs (
    company_id TEXT PRIMARY KEY,
    slug       TEXT NOT NULL
);
CREATE TABLE bulkmig_qr_codes (
    equipment_id TEXT PRIMARY KEY,
    qr_code      TEXT NOT NULL
);
CREATE TABLE bulkmig_vessels (
    vessel_id   TEXT PRIMARY KEY,
    state       TEXT NOT NULL,
    run_id      TEXT NOT NULL,
    name        TEXT NOT NULL,
    phase       TEXT NOT NULL,
    error       TEXT,
    rows        INTEGER NOT NULL,
    seconds     REAL NOT NULL,
    finished_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    source_snapshot TEXT
);
CREATE INDEX bulkmig_vessels_run ON bulkmig_vessels (run_id);
CREATE TABLE bulkmig_findings (
    run_id    TEXT NOT NULL,
    severity  TEXT NOT NULL,
    code      TEXT NOT NULL,
    vessel_id TEXT,
    entity    TEXT NOT NULL,
    source_id TEXT NOT NULL,
    field     TEXT NOT NULL,
    message   TEXT NOT NULL
);
CREATE INDEX bulkmig_findings_run ON bulkmig_findings (run_id, vessel_id);
CREATE TABLE bulkmig_quarantine (
    entity    TEXT NOT NULL,
    source_id TEXT NOT NULL,
    vessel_id TEXT,
    run_id    TEXT NOT NULL,
    code      TEXT NOT NULL,
    message   TEXT NOT NULL,
    row       TEXT NOT NULL,
    since     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    PRIMARY KEY (entity, source_id)
);
CREATE INDEX bulkmig_quarantine_vessel ON bulkmig_quarantine (vessel_id);
CREATE TABLE bulkmig_pending (
    entity    TEXT NOT NULL,
    source_id TEXT NOT NULL,
    vessel_id TEXT NOT NULL,
    run_id    TEXT NOT NULL,
    PRIMARY KEY (entity, source_id)
);
CREATE INDEX bulkmig_pending_vessel ON bulkmig_pending (vessel_id);
CREATE TABLE bulkmig_base (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    vessel_id     TEXT NOT NULL,
    entity        TEXT NOT NULL,
    run_id        TEXT NOT NULL,
    rows          INTEGER NOT NULL,
    payload       BLOB NOT NULL,
    kind          TEXT NOT NULL DEFAULT 'rows',
    checkpoint_id TEXT,
    holds         INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX bulkmig_base_vessel ON bulkmig_base (vessel_id, entity, id);
CREATE INDEX bulkmig_base_checkpoint ON bulkmig_base (checkpoint_id);
CREATE TABLE bulkmig_verified (
    run_id    TEXT NOT NULL,
    vessel_id TEXT NOT NULL,
    result    TEXT NOT NULL,
    PRIMARY KEY (run_id, vessel_id)
);
CREATE TABLE bulkmig_checkpoints (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    run_id     TEXT NOT NULL,
    vessel_id  TEXT,
    roots      TEXT NOT NULL,
    absent     INTEGER NOT NULL,
    base       TEXT NOT NULL,
    together   TEXT NOT NULL,
    incidental INTEGER NOT NULL,
    restored   TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    parts      INTEGER NOT NULL,
    rows       INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    encrypted  INTEGER NOT NULL
);
CREATE UNIQUE INDEX bulkmig_checkpoints_once ON bulkmig_checkpoints
    (run_id, coalesce(vessel_id, '00000000-0000-0000-0000-000000000000'));
CREATE INDEX bulkmig_checkpoints_vessel ON bulkmig_checkpoints (vessel_id, seq);
CREATE TABLE bulkmig_checkpoint_parts (
    checkpoint_id TEXT NOT NULL REFERENCES bulkmig_checkpoints (id) ON DELETE CASCADE
                  DEFERRABLE INITIALLY DEFERRED,
    part          INTEGER NOT NULL,
    role          TEXT NOT NULL,
    table_name    TEXT NOT NULL,
    columns       TEXT NOT NULL,
    payload       BLOB NOT NULL,
    digest        BLOB NOT NULL,
    PRIMARY KEY (checkpoint_id, part)
);
CREATE TABLE bulkmig_audit (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    run_id    TEXT,
    vessel_id TEXT,
    action    TEXT NOT NULL,
    operator  TEXT NOT NULL,
    host      TEXT NOT NULL,
    summary   TEXT NOT NULL,
    mac       BLOB
);
CREATE INDEX bulkmig_audit_run ON bulkmig_audit (run_id);
CREATE TRIGGER bulkmig_audit_kept BEFORE UPDATE ON bulkmig_audit
BEGIN SELECT RAISE(ABORT, 'bulkmig_audit is only ever added to'); END;
CREATE TRIGGER bulkmig_audit_stays BEFORE DELETE ON bulkmig_audit
BEGIN SELECT RAISE(ABORT, 'bulkmig_audit is only ever added to'); END;
CREATE TABLE bulkmig_conflicts (
    id          TEXT PRIMARY KEY,
    run_id      TEXT NOT NULL,
    vessel_id   TEXT,
    entity      TEXT NOT NULL,
    source_id   TEXT NOT NULL,
    target_id   TEXT NOT NULL,
    kind        TEXT NOT NULL,
    status      TEXT NOT NULL,
    strategy    TEXT NOT NULL,
    detected_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    resolved_at TEXT,
    fields      TEXT NOT NULL
);
CREATE UNIQUE INDEX bulkmig_conflicts_open ON bulkmig_conflicts (entity, source_id) WHERE status = 'open';
CREATE INDEX bulkmig_conflicts_vessel ON bulkmig_conflicts (vessel_id);
CREATE TABLE bulkmig_retained (
    entity    TEXT NOT NULL,
    source_id TEXT NOT NULL,
    vessel_id TEXT,
    target_id TEXT NOT NULL,
    run_id    TEXT NOT NULL,
    reason    TEXT NOT NULL,
    PRIMARY KEY (entity, source_id)
);
CREATE INDEX bulkmig_retained_vessel ON bulkmig_retained (vessel_id);
CREATE TABLE bulkmig_seen (
    vessel_id TEXT PRIMARY KEY,
    horizon   INTEGER NOT NULL,
    keys      TEXT NOT NULL,
    cluster   TEXT NOT NULL
);
CREATE TABLE bulkmig_keys (
    id    BLOB PRIMARY KEY,
    since TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))
);
CREATE TABLE bulkmig_audit_chain (
    seq      INTEGER PRIMARY KEY,
    audit_id INTEGER NOT NULL UNIQUE,
    digest   BLOB NOT NULL,
    hash     BLOB NOT NULL
);
CREATE TRIGGER bulkmig_audit_chain_kept BEFORE UPDATE ON bulkmig_audit_chain
BEGIN SELECT RAISE(ABORT, 'bulkmig_audit_chain is only ever added to'); END;
CREATE TRIGGER bulkmig_audit_chain_stays BEFORE DELETE ON bulkmig_audit_chain
BEGIN SELECT RAISE(ABORT, 'bulkmig_audit_chain is only ever added to'); END;
CREATE TABLE bulkmig_audit_head (
    one     INTEGER PRIMARY KEY DEFAULT 1 CHECK (one),
    entries INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    mac     BLOB,
    since   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    after   INTEGER NOT NULL
);
INSERT INTO bulkmig_audit_head (entries, hash, after) VALUES (0, zeroblob(32), 0);
