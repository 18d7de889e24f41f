"""The Maintenance Portal as it is: the rows of its tables as text, and what its columns can hold."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg

from tests.oracle.contract import JSON_COLUMNS, TABLES
from tests.oracle.jsontext import canonical_text
from tests.oracle.source import SourceRow, read_table, reading

TargetRow = dict[str, str | None]


@dataclass(frozen=True)
class Column:
    """What PostgreSQL's catalogue says of one column."""

    type: str = "text"
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    nullable: bool = True


@dataclass
class Target:
    """The state of a target at one time."""

    tables: dict[str, list[TargetRow]] = field(default_factory=lambda: {table: [] for table in TABLES})
    columns: dict[tuple[str, str], Column] = field(default_factory=dict)


CATALOGUE = """
SELECT table_name::text, column_name::text, data_type::text, character_maximum_length::int,
       numeric_precision::int, numeric_scale::int, is_nullable = 'YES' AS nullable
FROM information_schema.columns
WHERE table_schema = current_schema()
"""


def with_canonical_json(table: str, row: SourceRow) -> TargetRow:
    """The row with every JSON cell in the one spelling that `jsontext` gives it."""
    return {
        column: canonical_text(value) if value is not None and (table, column) in JSON_COLUMNS else value
        for column, value in row.items()
    }


async def _rows(connection: asyncpg.Connection) -> dict[str, list[TargetRow]]:
    return {
        table: [with_canonical_json(table, row) for row in await read_table(connection, table, columns)]
        for table, columns in TABLES.items()
    }


async def read_rows(url: str) -> dict[str, list[TargetRow]]:
    """Reads the tables of the Maintenance Portal."""
    async with reading(url) as connection:
        return await _rows(connection)


async def read_target(url: str) -> Target:
    """Reads the tables of the Maintenance Portal, and its catalogue."""
    async with reading(url) as connection:
        found = Target(await _rows(connection))
        for record in await connection.fetch(CATALOGUE):
            if record["table_name"] in TABLES:
                found.columns[record["table_name"], record["column_name"]] = Column(
                    type=record["data_type"],
                    length=record["character_maximum_length"],
                    precision=record["numeric_precision"] if record["data_type"] == "numeric" else None,
                    scale=record["numeric_scale"] if record["data_type"] == "numeric" else None,
                    nullable=record["nullable"],
                )
        return found
