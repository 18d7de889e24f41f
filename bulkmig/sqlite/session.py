"""A session on a SQLite portal, with the interface of the PostgreSQL driver's that bulkmig uses.

Statements are translated (`translate.py`) and see the portal in PostgreSQL's shape (`portal.py`). A session
has one connection; its calls run in worker threads, one at a time. A transaction that may write takes the one
write lock of the file at its beginning and waits for it, so nothing of it can fail for another writer later.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import anyio
import asyncpg
import orjson
import polars as pl
from anyio import to_thread

from bulkmig._core.frames import from_csv, to_csv
from bulkmig._core.unit import Catalogue, TargetColumn
from bulkmig.errors import PreflightError
from bulkmig.sqlite import functions, locks, portal
from bulkmig.sqlite.address import FileAddress
from bulkmig.sqlite.errors import translated
from bulkmig.sqlite.portal import IDS, PortalTable
from bulkmig.sqlite.rows import Row
from bulkmig.sqlite.translate import VIEW, Statement, apart, split, translate
from bulkmig.sqlite.values import own_number, own_uuid, store

T = TypeVar("T")
BUSY_SECONDS = 30.0  # how long the write lock is waited for: the lock time-out of sessions on PostgreSQL
_FIRST_WAIT, _LONGEST_WAIT = 0.005, 0.1
_LOG_PAGES = 16_384  # 64 MiB of the write-ahead log
_ROWS = 20_000  # rows that are read at once
_OLDEST = (3, 39)  # FULL JOIN, IS DISTINCT FROM
_STAMP = "2024-05-01T07:30:00.123456Z"
_TIMES = frozenset(
    {"started_at", "finished_at", "created_at", "detected_at", "resolved_at", "granted_at", "since", "at"}
)
_FLAGS = frozenset({"adopted", "absent", "encrypted", "incidental", "holds"})
_LISTS = frozenset({"roots", "base", "together", "columns", "ids"})


class Session:
    """See the module. Raises the driver's errors (`errors.py`)."""

    def __init__(self, connection: sqlite3.Connection, address: FileAddress) -> None:
        self.connection, self.address, self.keys = connection, address, address.keys
        self.tables: dict[str, PortalTable] = {}
        self._names: frozenset[str] = frozenset()
        self._lock = anyio.Lock()
        self._thread = anyio.CapacityLimiter(1)
        self._closed = False
        self._version: int | None = None  # of the file, when its rows were last looked through for new ones
        self._emptied: set[str] = set()
        self._scratch = False
        self.locks = locks.Held(connection)

    # -- the driver's interface

    async def execute(self, sql: str, *values: Any) -> str:
        """One statement with parameters, or a script without; returns `VERB rows`."""
        if values:
            if await self._run(lambda: self.locks.answer(sql, values)) is not None:
                return "SELECT 1"
            for one in apart(sql):
                status = await self._run(lambda one=one: self._execute(one, values))  # type: ignore[misc]
            return status
        status = ""
        for statement in split(sql):
            word = statement.split(None, 1)[0].upper()
            if word == "BEGIN":
                await self._begin(read_only="READ ONLY" in statement)
            elif word == "COMMIT":
                await self._commit()
            elif word == "ROLLBACK":
                await self._run(self._rollback)
            elif word != "SET":
                status = await self._run(lambda one=statement: self._execute(one, ()))  # type: ignore[misc]
        return status

    async def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """The statement once for each row of parameters."""
        given = [[_bound(value) for value in row] for row in rows]

        def work() -> None:
            made = self._translated(sql)
            if made.changes or made.zipped:
                for row in given:
                    self._cursor(made, row).fetchall()
            else:
                self.connection.executemany(made.sql, given)

        if given:
            await self._run(work)

    async def fetch(self, sql: str, *values: Any) -> list[Row]:
        """All rows of a query."""
        held = await self._run(lambda: self.locks.answer(sql, values))
        return [Row((held,))] if held is not None else await self._run(lambda: self._fetch(sql, values))

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
        return await self._run(lambda: f"COPY {self._copy_in(table, list(columns), data)}")

    async def copy_from_query(
        self,
        query: str,
        *,
        output: Callable[[bytes], Coroutine[Any, Any, None]],
        format: str = "csv",
    ) -> str:
        """A query's rows as headerless CSV, whole rows at a time."""
        cursor = await self._run(lambda: self._open(query))
        count = 0
        try:
            while rows := await self._run(lambda: cursor.fetchmany(_ROWS)):
                count += len(rows)
                await output(await to_thread.run_sync(_csv, rows, limiter=self._thread))
        finally:
            with anyio.CancelScope(shield=True):
                await self._run(cursor.close)
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
        given = [[_bound(value) for value in row] for row in records]
        table = f"{schema_name}_{table_name}" if schema_name else table_name
        slots = ", ".join(f"?{n}" for n in range(1, len(columns) + 1))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({slots})"
        await self._run(lambda: self.connection.executemany(statement, given))
        return f"COPY {len(given)}"

    def is_closed(self) -> bool:
        return self._closed

    def is_in_transaction(self) -> bool:
        return not self._closed and self.connection.in_transaction

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._run(self.terminate)

    def terminate(self) -> None:
        if not self._closed:
            self._closed = True
            self.locks.end()
            self.connection.close()

    # -- what the PostgreSQL session hasn't

    async def script(self, sql: str) -> None:
        """A script in SQLite's own words, inside of the transaction that is open."""

        def work() -> None:
            self._drop_scratch()  # whose names would hide the ledger's
            statement = ""
            for line in sql.splitlines(keepends=True):
                statement += line
                if sqlite3.complete_statement(statement):
                    self.connection.execute(statement)
                    statement = ""

        await self._run(work)

    async def look(self) -> None:
        """Reads which tables there are, and shows them in PostgreSQL's shape; again where that changed."""
        await self._run(self._look)

    async def pragma(self, sql: str) -> list[tuple[Any, ...]]:
        """A query in SQLite's own words."""
        return await self._run(lambda: self.connection.execute(sql).fetchall())

    async def write(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """A statement in SQLite's own words for each row of parameters; returns how many rows it changed."""

        def work() -> int:
            before = self.connection.total_changes
            self.connection.executemany(sql, rows)
            return self.connection.total_changes - before

        return await self._run(work)

    async def upsert(self, table: str, key: Sequence[str], frame: pl.DataFrame) -> None:
        """Inserts rows of texts or, where the key is there, sets every other cell of that row."""
        columns, view = frame.columns, f"SELECT 1 FROM {table} WHERE "
        where = " AND ".join(f"{name} = ${n}" for n, name in enumerate(key, 1))
        others = [name for name in columns if name not in key]
        sets = ", ".join(f"{name} = ${n}" for n, name in enumerate(others, len(key) + 1))

        def work() -> None:
            new = []
            for row in frame.iter_rows(named=True):
                at = [row[name] for name in key]
                new.append(not self._fetch(view + where, at))
                if not new[-1] and others:
                    cells = [row[name] for name in others]
                    self._execute(f"UPDATE {table} SET {sets} WHERE {where}", [*at, *cells])
            rows = frame.filter(pl.Series(new, dtype=pl.Boolean))
            if rows.height:
                self._copy_in(table, columns, to_csv(rows))

        await self._run(work)

    async def number(self, table: str, rows: Sequence[tuple[str, str | None]]) -> None:
        """Gives new rows (UUID, source id) of a table their numbers, in their order."""
        await self._run(lambda: self._number(self.tables[table], rows, arriving=False))

    async def numbers_of(self, uuids: Sequence[str]) -> list[tuple[str, int]]:
        """(UUID, number) of those that are there."""
        listed = orjson.dumps(list(uuids)).decode()
        query = f"SELECT uuid, id FROM {IDS} WHERE uuid IN (SELECT value FROM json_each(?1))"
        return await self._run(lambda: self.connection.execute(query, (listed,)).fetchall())

    async def numbered(self, rows: Sequence[tuple[str, int]]) -> list[tuple[tuple[str, int], bool]]:
        """Whether rows, by table and number, came from the source; a detail row goes with its main row."""

        def work() -> list[tuple[tuple[str, int], bool]]:
            found = []
            for table, number in rows:
                key = self.tables[table].key[0] if table in self.tables and self.tables[table].key else None
                of = (key.parent or table) if key is not None else table
                query = f"SELECT 1 FROM {IDS} WHERE tbl = ?1 AND id = ?2 AND source_id IS NOT NULL"
                there = self.connection.execute(query, (of, number)).fetchone()
                found.append(((table, number), there is not None))
            return found

        return await self._run(work)

    async def broken(self) -> tuple[list[str], list[tuple[str, int, str, str]]]:
        """What the file's own checks find: damage, and references (table, number of the row, column, parent)
        that lead nowhere."""

        def work() -> tuple[list[str], list[tuple[str, int, str, str]]]:
            damage = [
                text for (text,) in self.connection.execute("PRAGMA main.integrity_check") if text != "ok"
            ]
            lost = []
            for table, number, parent, _ in self.connection.execute("PRAGMA main.foreign_key_check"):
                known = self.tables.get(table)
                column = next((c for c, p, _ in known.references if p == parent), "") if known else ""
                lost.append((table, number, column, parent))
            return damage, lost

        return await self._run(work)

    async def refresh(self) -> None:
        """Gives the portal's new rows their UUIDs."""
        await self._run(self._note_new)

    async def frames(self, query: str) -> AsyncIterator[pl.DataFrame]:
        """A query's rows as frames of texts."""
        cursor = await self._run(lambda: self._open(query))
        names = [column[0] for column in cursor.description]
        while rows := await self._run(lambda: cursor.fetchmany(_ROWS)):
            yield await to_thread.run_sync(_frame, rows, names, limiter=self._thread)

    async def cursor(self, sql: str) -> Callable[[int], Coroutine[Any, Any, list[tuple[Any, ...]]]]:
        """A query in SQLite's own words; what is returned fetches so many rows more."""
        found = await self._run(lambda: self.connection.execute(sql))

        async def fetch(count: int) -> list[tuple[Any, ...]]:
            return await self._run(lambda: found.fetchmany(count))

        return fetch

    async def sources(self, uuids: Sequence[str]) -> dict[str, str]:
        """UUID -> id of the source row that it was made for, where there is one."""
        listed = orjson.dumps(list(uuids)).decode()
        query = f"SELECT uuid, source_id FROM {IDS} WHERE uuid IN (SELECT value FROM json_each(?1))"
        rows = await self._run(lambda: self.connection.execute(query, (listed,)).fetchall())
        return {uuid: source_id for uuid, source_id in rows if source_id}

    def catalogue(self) -> Catalogue:
        """Table -> column -> what it is, in PostgreSQL's words; nothing has a length."""
        return {
            table.name: {column.name: TargetColumn(column.typed, column.nullable) for column in table.columns}
            for table in self.tables.values()
        }

    async def ledger(self) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        """bulkmig's own tables: name, columns, primary key."""
        rows = await self.pragma(
            "SELECT substr(m.name, 9), c.name, c.pk FROM main.sqlite_master m, pragma_table_info(m.name) c"
            " WHERE m.type = 'table' AND m.name LIKE 'bulkmig\\_%' ESCAPE '\\' ORDER BY m.name, c.cid"
        )
        names = sorted({name for name, *_ in rows})
        return [
            (
                of,
                tuple(column for name, column, _ in rows if name == of),
                tuple(c for _, c in sorted((key, c) for name, c, key in rows if name == of and key)),
            )
            for of in names
        ]

    # -- transactions

    async def _begin(self, *, read_only: bool) -> None:
        if read_only:
            await self._run(self._note_new)
            await self._run(lambda: self.connection.execute("BEGIN"))
        else:
            await self._patiently("BEGIN IMMEDIATE")

    async def _commit(self) -> None:
        if self._emptied:
            await self._run(self._empty)
        await self._patiently("COMMIT")

    async def _patiently(self, sql: str) -> None:
        """BEGIN or COMMIT, which wait for other connections of the file; at most BUSY_SECONDS."""
        until, wait = time.monotonic() + BUSY_SECONDS, _FIRST_WAIT
        while True:
            try:
                await self._run(lambda: self.connection.execute(sql))
                return
            except asyncpg.LockNotAvailableError:
                if time.monotonic() > until:
                    raise
            await anyio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _rollback(self) -> None:
        self._version = None
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _empty(self) -> None:
        for table in self._emptied:
            self.connection.execute(f"DELETE FROM temp.{table}")
        self._emptied.clear()

    # -- inside of the worker thread

    async def _run(self, work: Callable[[], T]) -> T:
        async with self._lock:
            return await to_thread.run_sync(self._guarded, work, limiter=self._thread)

    def _guarded(self, work: Callable[[], T]) -> T:
        if self._closed and work != self.terminate:
            raise asyncpg.InterfaceError("connection is closed")
        try:
            return work()
        except sqlite3.Error as error:
            raise translated(error) from None

    def _translated(self, sql: str) -> Statement:
        made = translate(sql, self._names)
        if made.tables:
            self._note_new()
        return made

    def _cursor(self, made: Statement, values: Sequence[Any]) -> sqlite3.Cursor:
        given = list(values[: made.given])
        for numbers in made.zipped:
            arrays = [orjson.loads(given[number - 1]) for number in numbers]
            given.append(orjson.dumps(list(zip(*arrays, strict=True))).decode())
        return self.connection.execute(made.sql, given)

    def _open(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._cursor(self._translated(sql), [_bound(value) for value in values])

    def _execute(self, sql: str, values: Sequence[Any]) -> str:
        made = self._translated(sql)
        cursor = self._cursor(made, [_bound(value) for value in values])
        if made.emptied is not None:
            self._emptied.add(made.emptied)
        if made.changes:
            rows = len(cursor.fetchall())
        else:
            rows = max(cursor.rowcount, 0)
            cursor.fetchall()
        return f"{sql.split(None, 1)[0].upper()} {rows}"

    def _fetch(self, sql: str, values: Sequence[Any]) -> list[Row]:
        made = self._translated(sql)
        cursor = self._cursor(made, [_bound(value) for value in values])
        names = tuple(column[0] for column in cursor.description or ())
        kind = type("Row", (Row,), {"names": names})
        spelled = [n for n, name in enumerate(names) if name in _TIMES | _FLAGS | _LISTS]
        if not spelled:
            return [kind(row) for row in cursor]
        rows = []
        for row in cursor:
            cells = list(row)
            for n in spelled:
                cells[n] = _read(names[n], cells[n])
            rows.append(kind(cells))
        return rows

    def _copy_in(self, name: str, columns: list[str], data: bytes) -> int:
        frame = from_csv(data, columns)
        table = self.tables.get(name)
        if table is None:
            slots = ", ".join(f"?{n}" for n in range(1, len(columns) + 1))
            statement = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({slots})"
            self.connection.executemany(statement, frame.iter_rows())
            return frame.height
        kinds = {column.name: column.kind for column in table.columns}
        cells = [store(kinds[column], frame[column]).to_list() for column in columns]
        if table.own is not None:
            self._unfree(table, frame[table.own.name])
        # Numbers are right as a rule: only where one is missing or taken are they looked at.
        self.connection.execute("SAVEPOINT copy")
        try:
            self._insert(table, columns, cells)
        except asyncpg.PostgresError:
            self.connection.execute("ROLLBACK TO copy")
            if table.own is None:
                raise
            self._number(table, [(uuid, None) for uuid in frame[table.own.name]], arriving=True)
            self._insert(table, columns, cells)
        self.connection.execute("RELEASE copy")
        return frame.height

    def _insert(self, table: PortalTable, columns: list[str], cells: list[list[str | None]]) -> None:
        line = 0

        def rows() -> Iterator[tuple[Any, ...]]:
            nonlocal line
            for row in zip(*cells, strict=True):
                line += 1
                yield row

        try:
            self.connection.executemany(portal.insert(table, columns), rows())
        except sqlite3.Error as error:
            refused = translated(error)
            refused.context = f"COPY {table.name}, line {line}"
            raise refused from None

    def _unfree(self, table: PortalTable, uuids: pl.Series) -> None:
        """Rows that bulkmig has deleted once come back."""
        freed = f"SELECT 1 FROM {IDS} WHERE tbl = ?1 AND freed LIMIT 1"
        if self.connection.execute(freed, (table.name,)).fetchone():
            self.connection.execute(
                f"UPDATE {IDS} SET freed = 0 WHERE freed AND tbl = ?1"
                " AND uuid IN (SELECT value FROM json_each(?2))",
                (table.name, orjson.dumps(uuids.to_list()).decode()),
            )

    def _number(self, table: PortalTable, rows: Sequence[tuple[str, str | None]], *, arriving: bool) -> None:
        """Gives rows (UUID, source id) a number, in their order, that have none yet; where they are about to
        be inserted also those whose number the portal has taken for a row of its own meanwhile."""
        if table.own is None or not rows:
            return
        listed = orjson.dumps([uuid for uuid, _ in rows]).decode()
        found = [
            (place, number)
            for place, number in self.connection.execute(portal.unnumbered(table), (listed,))
            if number is None or (arriving and own_number(table.name, rows[place][0]) is None)
        ]
        if not found:
            return
        new = [rows[place] for place, number in found if number is None]
        self._renumber(table, [(rows[place][0], number) for place, number in found if number is not None])
        (first,) = self.connection.execute(f"SELECT {portal.next_free(table)}").fetchone()
        self.connection.executemany(
            f"INSERT INTO {IDS} (tbl, id, uuid, source_id) VALUES (?1, ?2, ?3, ?4)",
            [(table.name, first + n, *row) for n, row in enumerate(new)],
        )

    def _renumber(self, table: PortalTable, taken: Sequence[tuple[str, int]]) -> None:
        """Gives rows (UUID, number) the next free numbers, and theirs to the rows that have taken them."""
        for uuid, number in taken:
            (free,) = self.connection.execute(f"SELECT {portal.next_free(table)}").fetchone()
            self.connection.execute(f"UPDATE {IDS} SET id = ?1 WHERE uuid = ?2", (free, uuid))
            self.connection.execute(
                f"INSERT INTO {IDS} (tbl, id, uuid) VALUES (?1, ?2, ?3)",
                (table.name, number, own_uuid(table.name, number)),
            )

    def _look(self) -> None:
        connection = self.connection
        for table in self.tables.values():
            if table.shaped:
                connection.execute(f'DROP VIEW IF EXISTS temp."{VIEW}{table.name}"')
        self.tables = portal.read(connection)
        self._names = frozenset(name for name, table in self.tables.items() if table.shaped)
        there = connection.execute(f"SELECT 1 FROM main.sqlite_master WHERE name = '{IDS}'").fetchone()
        self._drop_scratch()
        self._scratch = self.address.scratch or not there
        if self._scratch:
            for statement in portal.CREATE_IDS.format(schema="temp").split(";"):
                connection.execute(statement)
            if there:
                connection.execute(f"INSERT INTO temp.{IDS} SELECT * FROM main.{IDS}")
        for statement in portal.views(self.tables):
            connection.execute(statement)
        self._version = None

    def _drop_scratch(self) -> None:
        if self._scratch:
            self.connection.execute(f"DROP TABLE temp.{IDS}")
            self._scratch = False

    def _note_new(self) -> None:
        """Gives the portal's new rows their UUIDs. Costs one look at each table when another connection has
        written; not within a transaction that only reads."""
        (version,) = self.connection.execute("PRAGMA main.data_version").fetchone()
        if version == self._version or (self._version is not None and not self.connection.in_transaction):
            return
        for table in self.tables.values():
            if table.own is not None:
                taken = self.connection.execute(portal.usurped(table)).fetchall()
                self._renumber(table, [one for one in taken if own_number(table.name, one[0]) is None])
        found = [
            (table.name, number, own_uuid(table.name, number))
            for table in self.tables.values()
            if table.own is not None
            for (number,) in self.connection.execute(portal.unnoted(table))
        ]
        if found:
            self.connection.executemany(
                f"INSERT OR IGNORE INTO {IDS} (tbl, id, uuid) VALUES (?1, ?2, ?3)", found
            )
        self._version = version


def _bound(value: Any) -> Any:
    """A parameter as SQLite takes it; arrays as JSON."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return orjson.dumps([v.hex() if isinstance(v, bytes) else v for v in value]).decode()
    if isinstance(value, datetime):
        return functions.stamp(value)
    return value


def _read(name: str, value: Any) -> Any:
    """A value of the ledger's as the driver for PostgreSQL gives it, by the name of its column."""
    if name in _FLAGS:
        return bool(value) if isinstance(value, int) else value
    if not isinstance(value, str):
        return value
    if name in _LISTS:
        return orjson.loads(value)
    # The portal's columns of that name are shown as PostgreSQL prints them.
    return functions.moment(value) if value.endswith("Z") and len(value) == len(_STAMP) else value


def _frame(rows: list[tuple[Any, ...]], names: Sequence[str]) -> pl.DataFrame:
    columns = {}
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        try:
            columns[name] = pl.Series(values, dtype=pl.String, strict=True)
        except TypeError:
            columns[name] = pl.Series([None if v is None else str(v) for v in values], dtype=pl.String)
    return pl.DataFrame(columns)


def _csv(rows: list[tuple[Any, ...]]) -> bytes:
    return to_csv(_frame(rows, [str(n) for n in range(len(rows[0]))]))


def on_file(connection: object) -> Session | None:
    """The session, if it is one on a SQLite file."""
    return connection if isinstance(connection, Session) else None


async def connect(address: FileAddress, *, durable: bool) -> Session:
    """Opens a session. `durable`: its commits wait for the disk, with all that were made before. Raises
    PreflightError."""
    session = await to_thread.run_sync(_open, address, durable)
    try:
        await session.look()
    except BaseException as error:
        session.terminate()
        if isinstance(error, asyncpg.PostgresError):
            raise _unusable(address, str(error)) from None
        raise
    return session


def _open(address: FileAddress, durable: bool) -> Session:
    if sqlite3.sqlite_version_info < _OLDEST:
        raise PreflightError(
            f"this Python has SQLite {sqlite3.sqlite_version}, bulkmig needs {'.'.join(map(str, _OLDEST))}",
            "use a newer Python",
        )
    path = Path(address.path)
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise _unusable(address, error.strerror or "it can't be read") from None
    if head not in (b"", b"SQLite format 3\0"):
        raise _unusable(address, "it is no SQLite database")
    mode = "rw"
    connection = None
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=500,
        )
        functions.register(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("PRAGMA cache_size = -65536")
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        # In WAL mode a commit that doesn't wait can be lost with the power, but never breaks the file, and
        # every later one that waits saves it as well.
        relaxed = not durable and journal == "wal"
        if journal == "wal":
            # The log is copied into the file less often than after every vessel.
            connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if relaxed else 'FULL'}")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise _unusable(address, str(error)) from None
    return Session(connection, address)


def _unusable(address: FileAddress, why: str) -> PreflightError:
    return PreflightError(
        f"can't open the target {address.shown}: {why}",
        "check the path (an absolute one has four slashes) and the rights to the file and its directory",
    )
