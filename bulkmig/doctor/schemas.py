"""Whether tables and columns are there as bulkmig reads and writes them."""

from __future__ import annotations

from bulkmig.doctor.check import Check, lacking
from bulkmig.entities import ENTITIES
from bulkmig.postgres.catalogue import read_catalogue
from bulkmig.postgres.session import Connection

AUDIT_LOG = "audit_logs"


def read_columns() -> dict[str, list[str]]:
    """Source table -> the columns that are read."""
    return {entity.source: [c.name for c in entity.columns if not c.sql] for entity in ENTITIES}


def written_columns() -> dict[str, list[str]]:
    """Target table -> the columns that are written."""
    return {table.name: list(table.cells) for entity in ENTITIES for table in entity.tables}


async def source(connection: Connection) -> list[Check]:
    """The source's schema, and the log that deletions come from."""
    problems = await _missing(connection, read_columns())
    there = await connection.fetchval("SELECT to_regclass($1)", AUDIT_LOG) is not None
    return [
        lacking(
            "source schema",
            problems,
            "every table and column that is read is there",
            "check the address, and the schema at the front of the search_path",
        ),
        Check(
            "source audit log",
            there,
            f"{AUDIT_LOG} {'is there' if there else 'is missing'}",
            "sync then finds deletions by comparing keys alone",
            needed=False,
        ),
    ]


async def target(connection: Connection) -> list[Check]:
    """The target's schema."""
    return [
        lacking(
            "target schema",
            await _missing(connection, written_columns()),
            "every table and column that is written is there",
            "check the address, and the schema at the front of the search_path",
        )
    ]


async def _missing(connection: Connection, wanted: dict[str, list[str]]) -> list[str]:
    found, _ = await read_catalogue(connection, sorted(wanted))
    problems = []
    for table, columns in wanted.items():
        if table not in found:
            problems.append(f"table {table} is missing")
        else:
            problems += [f"column {table}.{c} is missing" for c in columns if c not in found[table]]
    return problems
