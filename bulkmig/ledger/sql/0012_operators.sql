-- Who may do what, where access control is on.
CREATE TABLE bulkmig.access (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    enabled boolean NOT NULL
);
INSERT INTO bulkmig.access (enabled) VALUES (false);

CREATE TABLE bulkmig.permissions (
    operator   text NOT NULL,           -- lower case
    permission text NOT NULL,           -- migrate_vessel, sync, rollback, resolve_conflicts, administer
    scope      text NOT NULL CHECK (scope IN ('all', 'company', 'vessel')),
    scope_id   uuid NOT NULL,           -- of the source; the nil UUID: all
    granted_by text NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operator, permission, scope, scope_id)
);
