-- Who may do what, where access control is on: as 0012_operators.sql for PostgreSQL.
CREATE TABLE bulkmig_access (
    one     INTEGER PRIMARY KEY DEFAULT 1 CHECK (one),
    enabled INTEGER NOT NULL
);
INSERT INTO bulkmig_access (enabled) VALUES (0);
CREATE TABLE bulkmig_permissions (
    operator   TEXT NOT NULL,
    permission TEXT NOT NULL,
    scope      TEXT NOT NULL CHECK (scope IN ('all', 'company', 'vessel')),
    scope_id   TEXT NOT NULL,
    granted_by TEXT NOT NULL,
    granted_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    PRIMARY KEY (operator, permission, scope, scope_id)
);
