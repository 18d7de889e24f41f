"""Indexes of the source: without them every vessel costs a scan of the whole fleet's table."""

from __future__ import annotations

from bulkmig.doctor.check import Check, lacking
from bulkmig.doctor.schemas import AUDIT_LOG
from bulkmig.entities import ENTITIES
from bulkmig.postgres.session import Connection

# A smaller table is read as quickly without an index.
LARGE = 10_000

_INDEXED = """
SELECT c.relname AS table, a.attname AS column
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
 WHERE c.oid = ANY (SELECT to_regclass(quote_ident(t)) FROM unnest($1::text[]) t)
   AND i.indisvalid AND i.indpred IS NULL
"""
_ROWS = """
SELECT c.relname AS table, greatest(c.reltuples, pg_relation_size(c.oid) / 200)::bigint AS rows,
       array_agg(a.attname::text) AS columns
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.oid = ANY (SELECT to_regclass(quote_ident(t)) FROM unnest($1::text[]) t)
 GROUP BY c.oid
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
    found = {row["table"]: row for row in await connection.fetch(_ROWS, tables)}
    for_sync = {
        (table, "created_at" if table == AUDIT_LOG else "updated_at")
        for table, row in found.items()
        if row["rows"] >= LARGE
    }
    checks = []
    for purpose, wanted in (("extraction", for_extraction()), ("sync", for_sync)):
        missing = sorted(
            (table, column)
            for table, column in wanted - indexed
            if table in found and column in found[table]["columns"]
        )
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
