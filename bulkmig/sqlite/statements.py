"""What a session does inside of its worker thread: statements, translated (`translate.py`), on the portal in
PostgreSQL's shape (`portal.py`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl

from bulkmig.sqlite import bulk, portal, tables
from bulkmig.sqlite.ids import Ids
from bulkmig.sqlite.literals import apart
from bulkmig.sqlite.rows import Row, bound, rows_of
from bulkmig.sqlite.tables import PortalTable
from bulkmig.sqlite.translate import VIEW, Statement, translate


class Statements:
    """Of one connection. `tables`: the portal's, as they were last looked at."""

    def __init__(self, connection: sqlite3.Connection, *, scratch: bool) -> None:
        self.connection, self._scratch = connection, scratch
        self.ids = Ids(connection)
        self.tables: dict[str, PortalTable] = {}
        self._shaped: frozenset[str] = frozenset()  # of which there are views
        self.emptied: set[str] = set()  # temporary tables, by a commit

    def look(self) -> None:
        """Reads which tables there are, and shows them in PostgreSQL's shape."""
        for table in self.tables.values():
            if table.shaped:
                self.connection.execute(f'DROP VIEW IF EXISTS temp."{VIEW}{table.name}"')
        self.tables = tables.read(self.connection)
        self._shaped = frozenset(name for name, table in self.tables.items() if table.shaped)
        self.ids.begin(self.tables, scratch=self._scratch)
        for statement in portal.views(self.tables):
            self.connection.execute(statement)

    def execute(self, sql: str, values: Sequence[Any]) -> str:
        """One statement; returns `VERB rows`."""
        made = self._translated(sql)
        cursor = self._cursor(made, [bound(value) for value in values])
        if made.emptied is not None:
            self.emptied.add(made.emptied)
        if made.changes:
            rows = len(cursor.fetchall())
        else:
            rows = max(cursor.rowcount, 0)
            cursor.fetchall()
        return f"{sql.split(None, 1)[0].upper()} {rows}"

    def executemany(self, sql: str, given: Sequence[Sequence[Any]]) -> None:
        """The statement once for each row of parameters."""
        steps = apart(sql)
        if len(steps) > 1:
            for row in given:
                for step in steps:
                    self.execute(step, row)
            return
        made = self._translated(sql)
        if made.changes or made.zipped:
            for row in given:
                self._cursor(made, row).fetchall()
        else:
            self.connection.executemany(made.sql, given)

    def fetch(self, sql: str, values: Sequence[Any]) -> list[Row]:
        """All rows of a query."""
        cursor = self.open(sql, values)
        return rows_of(tuple(column[0] for column in cursor.description or ()), cursor)

    def open(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """A query whose rows are still to be fetched."""
        return self._cursor(self._translated(sql), [bound(value) for value in values])

    def copy_in(self, name: str, frame: pl.DataFrame, *, respelled: bool = False) -> int:
        """Inserts rows of texts, as PostgreSQL prints them or (`respelled`) as they are stored."""
        table = self.tables.get(name)
        if table is None:
            bulk.copy_plain(self.connection, name, frame)
        else:
            texts = frame if respelled else bulk.respelled(table, frame)
            bulk.copy_in(self.connection, self.ids, table, texts)
        return frame.height

    def upsert(self, table: str, key: Sequence[str], frame: pl.DataFrame) -> None:
        """Inserts rows of texts or, where the key is there, sets every other cell of that row."""
        where = " AND ".join(f"{name} = ${n}" for n, name in enumerate(key, 1))
        others = [name for name in frame.columns if name not in key]
        sets = ", ".join(f"{name} = ${n}" for n, name in enumerate(others, len(key) + 1))
        new = []
        for row in frame.iter_rows(named=True):
            at = [row[name] for name in key]
            new.append(not self.fetch(f"SELECT 1 FROM {table} WHERE {where}", at))
            if not new[-1] and others:
                cells = [row[name] for name in others]
                self.execute(f"UPDATE {table} SET {sets} WHERE {where}", [*at, *cells])
        rows = frame.filter(pl.Series(new, dtype=pl.Boolean))
        if rows.height:
            self.copy_in(table, rows)

    def script(self, sql: str) -> None:
        """A script in SQLite's own words, inside of the transaction that is open."""
        self.ids.drop_scratch()  # whose names would hide the ledger's
        statement = ""
        for line in sql.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self.connection.execute(statement)
                statement = ""

    def touch(self) -> None:
        """Writes what is there already."""
        (version,) = self.connection.execute("PRAGMA main.user_version").fetchone()
        self.connection.execute(f"PRAGMA main.user_version = {version}")

    def rollback(self) -> None:
        """Ends a transaction, if one is open."""
        self.ids.forget()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def empty(self) -> None:
        """Empties the temporary tables of which a commit does so."""
        for table in self.emptied:
            self.connection.execute(f"DELETE FROM temp.{table}")
        self.emptied.clear()

    def _translated(self, sql: str) -> Statement:
        made = translate(sql, self._shaped)
        if made.tables:
            self.ids.note_new()
        return made

    def _cursor(self, made: Statement, values: Sequence[Any]) -> sqlite3.Cursor:
        given = list(values[: made.given])
        for numbers in made.zipped:
            arrays = [orjson.loads(given[number - 1]) for number in numbers]
            given.append(orjson.dumps(list(zip(*arrays, strict=True))).decode())
        if made.changes:
            self.ids.doubt()
        return self.connection.execute(made.sql, given)
