"""`bulkmig lift`: a whole Maintenance Portal from SQLite to PostgreSQL, in one transaction."""
