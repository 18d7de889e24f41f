"""Many rows at once: CSV as the transform made it, past the views and straight into the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter, length_hint

import asyncpg
import polars as pl

from bulkmig.sqlite.errors import translated
from bulkmig.sqlite.ids import Ids
from bulkmig.sqlite.portal import NOWHERE
from bulkmig.sqlite.tables import BORN, PortalColumn, PortalTable
from bulkmig.sqlite.values import store

_row_number = itemgetter(0)


def respelled(table: PortalTable, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows as `copy_in` takes them, of a portal's table."""
    kinds = {column.name: column.kind for column in table.columns}
    return frame.select(store(kinds[name], name) for name in frame.columns)


def copy_in(connection: sqlite3.Connection, ids: Ids, table: PortalTable, texts: pl.DataFrame) -> None:
    """Inserts rows of a portal's table as they are stored, but that ids and references are UUIDs. Raises the
    driver's errors, which name the row as COPY does."""
    by_name = {column.name: column for column in table.columns}
    columns = [by_name[name] for name in texts.columns]
    if table.own is None:
        _insert(connection, table, columns, _cells(ids, table, columns, texts))
        return
    uuids = texts[table.own.name].to_list()
    ids.come_back(table, uuids)
    ids.arrive(table, uuids, texts[BORN].to_list() if BORN in texts.columns else ())
    # Numbers are free as a rule: only where one is taken are they looked at.
    connection.execute("SAVEPOINT copy")
    try:
        _insert(connection, table, columns, _cells(ids, table, columns, texts))
    except asyncpg.PostgresError:
        connection.execute("ROLLBACK TO copy")
        ids.number_arriving(table, uuids)
        _insert(connection, table, columns, _cells(ids, table, columns, texts))
    connection.execute("RELEASE copy")


def copy_plain(connection: sqlite3.Connection, table: str, frame: pl.DataFrame) -> None:
    """Inserts rows of a table that is as it is on PostgreSQL."""
    slots = ", ".join(repeat("?", frame.width))
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in frame.columns)
    statement = f"INSERT INTO {table} ({names}) VALUES ({slots})"
    connection.executemany(statement, frame.iter_rows())


def _cells(
    ids: Ids, table: PortalTable, columns: Sequence[PortalColumn], texts: pl.DataFrame
) -> list[Sequence[object]]:
    """The rows as they are stored, column by column. `texts`: still with UUIDs."""
    made: list[Sequence[object]] = []
    for column in columns:
        values = texts[column.name].to_list()
        of = table.name if column is table.own else column.parent
        if of is None:
            made.append(values)
        else:
            numbers = ids.numbers(of, values)
            if None in numbers:
                pairs = zip(numbers, values, strict=True)
                numbers = [NOWHERE if n is None and v is not None else n for n, v in pairs]
            made.append(numbers)
    return made


def _insert(
    connection: sqlite3.Connection,
    table: PortalTable,
    columns: Sequence[PortalColumn],
    cells: Sequence[Sequence[object]],
) -> None:
    rows = list(zip(*cells, strict=True))
    if columns[0] is table.own or columns[0].parent is not None:
        rows.sort(key=_row_number)  # so that the table grows at its end
    names = ", ".join(column.quoted for column in columns)
    slots = ", ".join(repeat("?", len(columns)))
    left = iter(rows)
    try:
        connection.executemany(f'INSERT INTO main."{table.name}" ({names}) VALUES ({slots})', left)
    except sqlite3.Error as error:
        refused = translated(error)
        row = rows[len(rows) - length_hint(left) - 1]
        refused.context = f"COPY {table.name}, line {cells[0].index(row[0]) + 1}"
        raise refused from None
