"""The two real databases beside the model: changes are made in both, ids are learnt from the target."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from tests.model.state import State
from tests.model.tables import THING_OF
from tests.oracle.contract import JSON_COLUMNS, KEYS, TABLES
from tests.oracle.draft import Cell, Ref, Row
from tests.oracle.ids import is_version_8
from tests.oracle.jsontext import canonical_text
from tests.oracle.plant import TYPES, connect
from tests.oracle.source import COLUMNS, SourceRow

Actual = dict[str, dict[tuple[str | None, ...], dict[str, str | None]]]


class Mirror:
    """Sessions at both ends, and which id of the target each source row has got."""

    def __init__(self, source_url: str, target_url: str) -> None:
        self.source_url, self.target_url = source_url, target_url
        self.ids: dict[Ref, str] = {}

    async def open(self) -> None:
        """Connects; reads the columns' types."""
        self.source: asyncpg.Connection = await connect(self.source_url)
        self.target: asyncpg.Connection = await connect(self.target_url)
        self.types = {
            "source": await _types(self.source, COLUMNS),
            "target": await _types(self.target, TABLES),
        }

    async def close(self) -> None:
        """Disconnects."""
        await self.source.close()
        await self.target.close()

    def real(self, cell: Cell) -> str | None:
        """A cell as the target has it."""
        return self.ids.get(cell, f"<{cell.entity} {cell.source_id}>") if isinstance(cell, Ref) else cell

    async def put_source(self, table: str, row: SourceRow) -> None:
        """Inserts a source row, or replaces the one with its id."""
        await _put(self.source, table, row, ("id",), self.types["source"])

    async def delete_source(self, table: str, id_: str, *, logged: bool) -> None:
        """Deletes a source row; normally the portal logs that."""
        await self.source.execute(f"DELETE FROM {table} WHERE id = $1::text::uuid", id_)
        if logged:
            await self.source.execute(
                "INSERT INTO audit_logs (entity_type, entity_id, action)"
                " VALUES ($1, $2::text::uuid, 'DELETE')",
                table,
                id_,
            )

    async def put_target(self, table: str, row: Row) -> None:
        """Inserts a row of the target, or replaces the one with its key."""
        real = {column: self.real(cell) for column, cell in row.items()}
        await _put(self.target, table, real, KEYS[table], self.types["target"])

    async def delete_target(self, table: str, row: Row) -> None:
        """Deletes a row of the target."""
        where = " AND ".join(f"{column} = ${n}::text::uuid" for n, column in enumerate(KEYS[table], start=1))
        await self.target.execute(
            f"DELETE FROM {table} WHERE {where}", *(self.real(row[column]) for column in KEYS[table])
        )

    async def read(self) -> Actual:
        """Every row of the target, JSON in its one spelling."""
        found: Actual = {}
        for table, columns in TABLES.items():
            selected = ", ".join(f"{column}::text" for column in columns)
            rows = await self.target.fetch(f"SELECT {selected} FROM {table}")
            found[table] = {}
            for record in rows:
                row = dict(record)
                for column, value in row.items():
                    if value is not None and (table, column) in JSON_COLUMNS:
                        row[column] = canonical_text(value)
                found[table][tuple(row[column] for column in KEYS[table])] = row
        return found

    def learn(self, state: State, actual: Actual) -> list[str]:
        """Finds the ids of rows that are new to the target: every row has its own `created_at`."""
        lines = []
        known = {*self.ids.values()}
        for thing in THING_OF.values():
            new = {
                str(row["created_at"]): str(row["id"])
                for row in actual[thing.table].values()
                if row["id"] not in known
            }
            for row in state.tables.rows(thing.table):
                ref = row["id"]
                if isinstance(ref, Ref) and ref not in self.ids and str(row["created_at"]) in new:
                    self.ids[ref] = new[str(row["created_at"])]
                    if not is_version_8(self.ids[ref]):
                        lines.append(f"{ref}: its id {self.ids[ref]} is not a UUID of version 8")
        return lines


async def _types(connection: asyncpg.Connection, tables: Mapping[str, object]) -> dict[tuple[str, str], str]:
    return {
        (table, record[0]): record[1] for table in tables for record in await connection.fetch(TYPES, table)
    }


async def _put(
    connection: asyncpg.Connection,
    table: str,
    row: Mapping[str, str | None],
    key: tuple[str, ...],
    types: dict[tuple[str, str], str],
) -> None:
    values = ", ".join(f"${n}::text::{types[table, column]}" for n, column in enumerate(row, start=1))
    changes = ", ".join(f"{column} = EXCLUDED.{column}" for column in row if column not in key)
    then = f"UPDATE SET {changes}" if changes else "NOTHING"
    await connection.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values}) ON CONFLICT ({', '.join(key)}) DO {then}",
        *row.values(),
    )
