"""PostgreSQL as both ends use it: addresses, sessions, COPY, errors. Knows no table."""
