"""Puts rows into a database as text: a source made by hand, or an expectation, as if it had been migrated."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import asyncpg

from tests.oracle.contract import TABLES, THINGS
from tests.oracle.draft import Cell, Ref
from tests.oracle.expect import Expectation
from tests.oracle.ids import vessel_of
from tests.oracle.units import resolve

TYPES = """
SELECT column_name::text, udt_name::text FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = $1
"""


async def connect(url: str) -> asyncpg.Connection:
    """A session in UTC with ISO dates."""
    connection: asyncpg.Connection = await asyncpg.connect(
        url, server_settings={"TimeZone": "UTC", "DateStyle": "ISO, YMD"}
    )
    return connection


async def fill(url: str, tables: Mapping[str, Sequence[Mapping[str, str | None]]]) -> None:
    """Inserts the rows, each value through its text."""
    connection = await connect(url)
    try:
        for table, rows in tables.items():
            types = {record[0]: record[1] for record in await connection.fetch(TYPES, table)}
            for row in rows:
                values = ", ".join(
                    f"${number}::text::{types[column]}" for number, column in enumerate(row, start=1)
                )
                statement = f'INSERT INTO "{table}" ({", ".join(row)}) VALUES ({values})'
                await connection.execute(statement, *row.values())
    finally:
        await connection.close()


def give_ids(expectation: Expectation) -> dict[Ref, str]:
    """Ids as the mapping wants them: version 8, those of one vessel side by side."""
    owner = vessel_of(expectation.tables)
    prefixes: dict[Cell, int] = {}
    numbers = itertools.count(1)
    ids: dict[Ref, str] = {}
    for thing in THINGS:
        for row in expectation.tables[thing.table]:
            ref = row["id"]
            if isinstance(ref, Ref):
                prefix = prefixes.setdefault(owner.get(ref, ref), len(prefixes))
                ids[ref] = f"{prefix:08x}-0000-8000-8000-{next(numbers):012x}"
    return ids


async def plant(expectation: Expectation, url: str) -> dict[Ref, str]:
    """Makes an empty target hold what is expected; returns the ids given."""
    ids = give_ids(expectation)
    tables = {
        table: [
            {column: resolve(cell, ids) for column, cell in row.items()} for row in expectation.tables[table]
        ]
        for table in TABLES
    }
    await fill(url, {**{thing.table: tables[thing.table] for thing in THINGS}, **_details(tables)})
    return ids


def _details(
    tables: Mapping[str, Sequence[Mapping[str, str | None]]],
) -> dict[str, Sequence[Mapping[str, str | None]]]:
    main = {thing.table for thing in THINGS}
    return {table: rows for table, rows in tables.items() if table not in main}
