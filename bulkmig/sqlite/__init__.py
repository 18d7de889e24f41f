"""The Maintenance Portal on SQLite: sessions that take bulkmig's PostgreSQL statements, and the portal seen
in PostgreSQL's shape (docs/decisions/0015-sqlite.md)."""
