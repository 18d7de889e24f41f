"""Lets tests that were written for a target on PostgreSQL run against one on SQLite.

They speak to the target in PostgreSQL's words, through bulkmig's own session; that its view of a file is
right is what tests/sqlite shows with the oracle's own reading.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl

import bulkmig.generate.portal as portals
import bulkmig.shown
from bulkmig import schemas
from bulkmig._core.frames import to_csv
from bulkmig.generate.frame import Frame
from bulkmig.generate.load import load as _load
from bulkmig.ledger import schema
from bulkmig.postgres.session import transaction
from bulkmig.sqlite.address import is_file, parse
from bulkmig.sqlite.literals import split
from bulkmig.sqlite.opening import connect as open_file
from bulkmig.sqlite.session import Session
from bulkmig.target.postgres import copy_in
from tests.oracle.contract import KEYS, TABLES
from tests.oracle.file import write_file
from tests.oracle.plant import TYPES

_PUT = re.compile(r"INSERT INTO (\w+) \(([^)]*)\) VALUES \([^)]*\) ON CONFLICT \(([^)]*)\) DO")
_BOOLEAN = re.compile(r"\b(is_active|causes_failure)::text")
_SHAPE = re.compile(r"(ALTER|CREATE|DROP) TABLE\b")
_ESCAPED = re.compile(r"\\(.)")
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v"}
_connect = asyncpg.connect
_fresh: list[bytes] = []  # a portal's file, once one was made


async def _no_numbers(*_: object) -> dict[str, str]:
    """These tests know rows by their UUIDs."""
    return {}


class InPostgresWords(Session):
    """A session that also understands what these tests say."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """As the driver for PostgreSQL has it."""
        async with transaction(self):  # type: ignore[arg-type]
            yield

    async def execute(self, sql: str, *values: Any) -> str:
        put = _PUT.match(sql)
        if put is None or put[1] not in self.tables:
            status = ""
            for statement in [sql] if values else split(sql):
                status = await super().execute(statement, *values)
                if _SHAPE.match(statement):
                    await self.look()
            return status
        columns = put[2].split(", ")
        given = [{"true": "t", "false": "f"}.get(value, value) for value in values]
        frame = pl.DataFrame(
            {c: pl.Series([v], dtype=pl.String) for c, v in zip(columns, given, strict=True)}
        )
        await self.upsert(put[1], put[3].split(", "), frame)
        return "INSERT 0 1"

    async def fetch(self, sql: str, *values: Any) -> Any:
        if sql == TYPES:
            return [(c.name, c.typed) for c in self.tables[values[0]].columns]
        sql = _BOOLEAN.sub(r"CASE \1 WHEN 't' THEN 'true' ELSE 'false' END AS \1", sql)
        return await super().fetch(sql, *values)


def begin(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on targets may be on SQLite."""
    put(asyncpg, "connect", connect)
    put(bulkmig.shown, "numbers", _no_numbers)
    put(portals, "load", load)


async def load(url: str, frames: Iterable[Frame]) -> None:
    """Loads made-up rows into either kind of target."""
    if not is_file(url):
        await _load(url, frames)
        return
    session = await connect(url)
    try:
        for frame in frames:
            columns = {name: [_plain(v) for v in values] for name, values in frame.columns.items()}
            if len(frame):
                rows = pl.DataFrame({n: pl.Series(v, dtype=pl.String) for n, v in columns.items()})
                await copy_in(session, frame.table, list(columns), to_csv(rows))
    finally:
        await session.close()


def _plain(field: str) -> str | None:
    """The value of a field of COPY's text format."""
    if field == "\\N":
        return None
    return _ESCAPED.sub(lambda match: _LETTERS.get(match[1], match[1]), field)


async def connect(url: str, *args: Any, **options: Any) -> Any:
    """A session at either kind of target."""
    if not is_file(url):
        return await _connect(url, *args, **options)
    found = await open_file(parse(url), durable=False)
    found.__class__ = InPostgresWords
    return found


def fresh(path: Path) -> str:
    """An empty portal with a ledger, which keeps the UUIDs that a test gives the portal's own rows."""
    if not _fresh:
        write_file(path, schemas.read("maintenance.sqlite.sql"), {})
        # A thread of its own: the caller may be inside an event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(_prepare(f"sqlite:///{path}"))).result()
        _fresh.append(path.read_bytes())
    path.write_bytes(_fresh[0])
    return f"sqlite:///{path}"


async def _prepare(url: str) -> None:
    session = await open_file(parse(url), durable=False)
    await schema.upgrade(session)  # type: ignore[arg-type]
    await session.close()


async def shown(url: str) -> dict[str, bytes]:
    """The contract's tables in PostgreSQL's shape, each in order of its key."""
    connection = await connect(url)
    found: dict[str, bytes] = {}
    try:
        for table, columns in TABLES.items():
            chunks: list[bytes] = []

            async def keep(data: bytes, chunks: list[bytes] = chunks) -> None:
                chunks.append(data)

            query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(KEYS[table])}"
            await connection.copy_from_query(query, output=keep)
            found[table] = b"".join(chunks)
    finally:
        await connection.close()
    return found
