"""A session on a SQLite portal, with the interface of the PostgreSQL driver's that bulkmig uses.

A session has one connection; its calls (`statements.py`) run in worker threads, one at a time. A transaction
that may write takes the one write lock of the file at its beginning and waits for it, so nothing of it can
fail for another writer later.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio
import asyncpg
import polars as pl
from anyio import to_thread

from bulkmig._core.frames import from_csv
from bulkmig._core.unit import Catalogue, TargetColumn
from bulkmig.sqlite import locks, portal
from bulkmig.sqlite.address import FileAddress
from bulkmig.sqlite.errors import translated
from bulkmig.sqlite.ids import Ids
from bulkmig.sqlite.literals import apart, split
from bulkmig.sqlite.rows import Row, bound, csv_of, frame_of
from bulkmig.sqlite.statements import Statements
from bulkmig.sqlite.tables import PortalTable
from bulkmig.sqlite.values import show, text

T = TypeVar("T")
BUSY_SECONDS = 30.0  # how long the write lock is waited for: the lock time-out of sessions on PostgreSQL
_FIRST_WAIT, _LONGEST_WAIT = 0.005, 0.1
_ROWS = 20_000  # rows that are read at once


class Session:
    """See the module. Raises the driver's errors (`errors.py`)."""

    def __init__(self, connection: sqlite3.Connection, address: FileAddress) -> None:
        self.connection, self.address, self.keys = connection, address, address.keys
        self._statements = Statements(connection, scratch=address.scratch)
        self._lock = anyio.Lock()
        self._thread = anyio.CapacityLimiter(1)
        self._closed = False
        self.locks = locks.Held(connection)

    @property
    def tables(self) -> dict[str, PortalTable]:
        """The portal's, as they were last looked at."""
        return self._statements.tables

    @property
    def ids(self) -> Ids:
        """The numbers of its rows."""
        return self._statements.ids

    # -- the driver's interface

    async def execute(self, sql: str, *values: Any) -> str:
        """One statement with parameters, or a script without; returns `VERB rows`."""
        if values:
            if await self.work(lambda: self.locks.answer(sql, values)) is not None:
                return "SELECT 1"
            for one in apart(sql):
                status = await self.work(partial(self._statements.execute, one, values))
            return status
        status = ""
        for statement in split(sql):
            word = statement.split(None, 1)[0].upper()
            if word == "BEGIN":
                await self._begin(read_only="READ ONLY" in statement)
            elif word == "COMMIT":
                await self._commit()
            elif word == "ROLLBACK":
                await self.work(self._statements.rollback)
            elif word != "SET":
                status = await self.work(partial(self._statements.execute, statement, ()))
        return status

    async def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """The statement once for each row of parameters."""
        given = [[bound(value) for value in row] for row in rows]
        if given:
            await self.work(partial(self._statements.executemany, sql, given))

    async def fetch(self, sql: str, *values: Any) -> list[Row]:
        """All rows of a query."""
        held = await self.work(lambda: self.locks.answer(sql, values))
        if held is not None:
            return [Row((held,))]
        return await self.work(partial(self._statements.fetch, sql, values))

    async def fetchrow(self, sql: str, *values: Any) -> Row | None:
        """The first row of a query."""
        rows = await self.fetch(sql, *values)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *values: Any) -> Any:
        """The first value of the first row."""
        rows = await self.fetch(sql, *values)
        return next(iter(rows[0])) if rows else None

    async def copy_to_table(
        self,
        name: str,
        *,
        source: AsyncIterator[bytes],
        columns: Sequence[str],
        schema_name: str | None = None,
        format: str = "csv",
    ) -> str:
        """Inserts headerless CSV."""
        data = b"".join([chunk async for chunk in source])
        table = f"{schema_name}_{name}" if schema_name else name
        return await self.work(lambda: f"COPY {self._statements.copy_in(table, from_csv(data, columns))}")

    async def copy_from_query(
        self,
        query: str,
        *,
        output: Callable[[bytes], Coroutine[Any, Any, None]],
        format: str = "csv",
    ) -> str:
        """A query's rows as headerless CSV, whole rows at a time."""
        cursor = await self.work(lambda: self._statements.open(query))
        count = 0
        try:
            while rows := await self.work(lambda: cursor.fetchmany(_ROWS)):
                count += len(rows)
                await output(await to_thread.run_sync(csv_of, rows, limiter=self._thread))
        finally:
            with anyio.CancelScope(shield=True):
                await self.work(cursor.close)
        return f"COPY {count}"

    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[Sequence[Any]],
        columns: Sequence[str],
        schema_name: str | None = None,
    ) -> str:
        """Inserts rows of values."""
        given = [[bound(value) for value in row] for row in records]
        table = f"{schema_name}_{table_name}" if schema_name else table_name
        slots = ", ".join(f"?{n}" for n in range(1, len(columns) + 1))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({slots})"
        await self.work(lambda: self.connection.executemany(statement, given))
        return f"COPY {len(given)}"

    def is_closed(self) -> bool:
        return self._closed

    def is_in_transaction(self) -> bool:
        return not self._closed and self.connection.in_transaction

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self.work(self.terminate)

    def terminate(self) -> None:
        if not self._closed:
            self._closed = True
            self.locks.end()
            self.connection.close()

    # -- what the PostgreSQL session hasn't

    async def work(self, work: Callable[[], T]) -> T:
        """Does something with the connection, in its worker thread."""
        async with self._lock:
            return await to_thread.run_sync(self._guarded, work, limiter=self._thread)

    async def script(self, sql: str) -> None:
        """A script in SQLite's own words, inside of the transaction that is open."""
        await self.work(partial(self._statements.script, sql))

    async def look(self) -> None:
        """Reads which tables there are, and shows them in PostgreSQL's shape; again where that changed."""
        await self.work(self._statements.look)

    async def ledger_is_there(self) -> None:
        """Goes over to the ledger's numbers, where it has come since this session last looked: another
        process may have made it."""
        if self.ids.temporary and not self.address.scratch:
            await self.look()

    async def pragma(self, sql: str) -> list[tuple[Any, ...]]:
        """A query in SQLite's own words."""
        return await self.work(lambda: self.connection.execute(sql).fetchall())

    async def touch(self) -> None:
        """Writes what is there already. Where the file may only be read a transaction begins all the same."""
        await self.work(self._statements.touch)

    async def upsert(self, table: str, key: Sequence[str], frame: pl.DataFrame) -> None:
        """Inserts rows of texts or, where the key is there, sets every other cell of that row."""
        await self.work(partial(self._statements.upsert, table, key, frame))

    async def insert(self, table: str, frame: pl.DataFrame) -> int:
        """Inserts rows as they are stored, but that ids and references are UUIDs."""
        return await self.work(lambda: self._statements.copy_in(table, frame, respelled=True))

    async def refresh(self) -> None:
        """Gives the portal's new rows their UUIDs."""
        await self.work(self.ids.note_new)

    async def frames(
        self, table: PortalTable, columns: Sequence[str], order: str, where: str = "TRUE"
    ) -> AsyncIterator[pl.DataFrame]:
        """A table's rows as PostgreSQL prints them, as frames of texts; a text that is no UTF-8 as bytes."""
        listed = ", ".join(f'"{column}"' for column in columns)
        query = f"SELECT {listed} FROM ({portal.select(table, times=False)}) WHERE {where} ORDER BY {order}"
        times = [show(c.name) for c in table.columns if c.name in columns and c.kind == "timestamptz"]

        def made(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
            return frame_of(rows, columns).with_columns(times)

        fetch, read = await self.cursor(query), 0
        try:
            while True:
                try:
                    rows = await fetch(_ROWS)
                except asyncpg.CharacterNotInRepertoireError:
                    # Once more from here; everything is faster as long as there is none.
                    self.connection.text_factory = text
                    fetch = await self.cursor(f"{query} LIMIT -1 OFFSET {read}")
                    continue
                if not rows:
                    return
                read += len(rows)
                yield await to_thread.run_sync(made, rows)
        finally:
            self.connection.text_factory = str

    async def cursor(self, sql: str) -> Callable[[int], Coroutine[Any, Any, list[tuple[Any, ...]]]]:
        """A query in SQLite's own words; what is returned fetches so many rows more."""
        found = await self.work(lambda: self.connection.execute(sql))

        async def fetch(count: int) -> list[tuple[Any, ...]]:
            return await self.work(lambda: found.fetchmany(count))

        return fetch

    def catalogue(self) -> Catalogue:
        """Table -> column -> what it is, in PostgreSQL's words; nothing has a length."""
        return {
            table.name: {column.name: TargetColumn(column.typed, column.nullable) for column in table.columns}
            for table in self.tables.values()
        }

    # -- transactions

    async def _begin(self, *, read_only: bool) -> None:
        if read_only:
            await self.work(self.ids.note_new)
            await self.work(lambda: self.connection.execute("BEGIN"))
        else:
            await patiently(partial(self._at_once, "BEGIN IMMEDIATE"))
            self.ids.doubt()

    async def _commit(self) -> None:
        if self._statements.emptied:
            await self.work(self._statements.empty)
        await patiently(partial(self._at_once, "COMMIT"))

    async def _at_once(self, sql: str) -> None:
        await self.work(lambda: self._without_waiting(sql))

    # -- inside of the worker thread

    def _without_waiting(self, sql: str) -> None:
        self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            self.connection.execute(sql)
        finally:
            self.connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")

    def _guarded(self, work: Callable[[], T]) -> T:
        if self._closed and work != self.terminate:
            raise asyncpg.InterfaceError("connection is closed")
        try:
            return work()
        except sqlite3.Error as error:
            raise translated(error) from None


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """Calls `attempt`, which fails at once where another connection of the file is in the way, until none is,
    at most for BUSY_SECONDS: who waits here and not in the thread can be stopped."""
    until, wait = time.monotonic() + BUSY_SECONDS, _FIRST_WAIT
    while True:
        try:
            return await attempt()
        except asyncpg.LockNotAvailableError:
            if time.monotonic() > until:
                raise
        await anyio.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


def on_file(connection: object) -> Session | None:
    """The session, if it is one on a SQLite file."""
    return connection if isinstance(connection, Session) else None
