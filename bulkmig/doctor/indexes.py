"""Indexes of the source: without them every vessel costs a scan of the whole fleet's table."""

from __future__ import annotations

from bulkmig.doctor.check import Check, lacking
from bulkmig.doctor.schemas import AUDIT_LOG
from bulkmig.entities import ENTITIES
from bulkmig.postgres.session import Connection

# What the portal's own schema has for those who look for changes: the large tables, and the log of deletions.
FOR_SYNC = {
    ("equipment", "updated_at"),
    ("critical_parts", "updated_at"),
    ("documents", "updated_at"),
    (AUDIT_LOG, "created_at"),
}

_INDEXED = """
SELECT c.relname AS table, a.attname AS column
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
 WHERE c.oid = ANY (SELECT to_regclass(quote_ident(t)) FROM unnest($1::text[]) t)
   AND i.indisvalid AND i.indpred IS NULL
"""
_COLUMNS = """
SELECT c.relname AS table, a.attname AS column
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.oid = ANY (SELECT to_regclass(quote_ident(t)) FROM unnest($1::text[]) t)
"""


def for_extraction() -> set[tuple[str, str]]:
    """(table, column) that rows of a vessel, or of a company, are found by."""
    wanted = set()
    for entity in ENTITIES:
        if entity.through is not None:
            wanted.add((entity.source, entity.through[1]))
        elif entity.owner != "id" and entity.name != "vessel":
            wanted.add((entity.source, entity.owner))
        wanted.add((entity.source, "id"))
    return wanted


async def look(connection: Connection) -> list[Check]:
    """Which indexes extraction and sync would use and the source lacks."""
    tables = sorted({*(entity.source for entity in ENTITIES), AUDIT_LOG})
    indexed = {(row["table"], row["column"]) for row in await connection.fetch(_INDEXED, tables)}
    there = {(row["table"], row["column"]) for row in await connection.fetch(_COLUMNS, tables)}
    checks = []
    for purpose, wanted in (("extraction", for_extraction()), ("sync", FOR_SYNC)):
        missing = sorted((wanted & there) - indexed)
        checks.append(
            lacking(
                f"source indexes for {purpose}",
                [f"{table} ({column}) has none" for table, column in missing],
                f"all that {purpose} uses are there",
                " ".join(f"CREATE INDEX CONCURRENTLY ON {t} ({c});" for t, c in missing),
                needed=False,
            )
        )
    return checks
