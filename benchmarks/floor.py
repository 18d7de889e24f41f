"""The target alone: the very rows of a finished migration, from memory, vessel by vessel, by COPY.

    python -m benchmarks.floor FINISHED_URL TARGET_URL [--connections N] [--fk-off]

Reads all rows first, so that nothing but the target works while the clock runs; prints the seconds as JSON.
What this takes, no migration with the same keys, indexes and connections can beat.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

# In the order of the foreign keys: tables that go before any vessel, and a vessel's own with their key.
_FIRST = ("companies", "company_settings", "users", "user_metadata")
_OWN = {
    "vessels": "id",
    "vessel_details": "vessel_id",
    "equipment": "id",
    "equipment_metadata": "equipment_id",
    "critical_parts": "id",
    "part_details": "part_id",
    "equipment_documents": "id",
    "vessel_documents": "document_id",
    "document_details": "document_id",
    "quality_scores": "id",
}
_LAST = ("cross_references",)  # between vessels

Rows = list[tuple[str, bytes]]


async def _read(connection: Connection, query: str) -> bytes:
    chunks: list[bytes] = []

    async def keep(data: bytes) -> None:
        chunks.append(data)

    await connection.copy_from_query(query, output=keep, format="csv")
    return b"".join(chunks)


async def _whole(connection: Connection, tables: tuple[str, ...]) -> Rows:
    return [(table, await _read(connection, f"SELECT * FROM {table} ORDER BY 1")) for table in tables]


async def read(url: str) -> tuple[Rows, list[Rows], Rows]:
    """What goes before the vessels, each vessel's rows, and what goes after them."""
    connection = await asyncpg.connect(url)
    prefixes = [row[0] for row in await connection.fetch("SELECT left(id::text, 13) FROM vessels ORDER BY 1")]
    vessels: list[Rows] = []
    for prefix in prefixes:  # a vessel's ids share their first 12 digits
        low, high = f"{prefix}-0000-0000-000000000000", f"{prefix}-ffff-ffff-ffffffffffff"
        queries = {
            table: f"SELECT * FROM {table} WHERE {key} BETWEEN '{low}' AND '{high}' ORDER BY {key}"
            for table, key in _OWN.items()
        }
        vessels.append([(table, await _read(connection, query)) for table, query in queries.items()])
    before, after = await _whole(connection, _FIRST), await _whole(connection, _LAST)
    await connection.close()
    return before, vessels, after


async def _write(connection: Connection, rows: Rows) -> None:
    async with connection.transaction():
        for table, data in rows:
            if data:
                await connection.copy_to_table(table, source=_once(data), format="csv")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def load(url: str, rows: tuple[Rows, list[Rows], Rows], connections: int, *, fk_off: bool) -> float:
    """Writes the rows over so many connections; returns the seconds."""
    before, vessels, after = rows
    settings = {"synchronous_commit": "off", "session_replication_role": "replica" if fk_off else "origin"}
    open_ = [await asyncpg.connect(url, server_settings=settings) for _ in range(connections)]
    waiting = deque(vessels)

    async def worker(connection: Connection) -> None:
        while waiting:
            await _write(connection, waiting.popleft())

    started = time.perf_counter()
    await _write(open_[0], before)
    await asyncio.gather(*map(worker, open_))
    await _write(open_[0], after)
    await open_[0].execute("SET synchronous_commit = on")
    await open_[0].execute("SELECT pg_logical_emit_message(true, 'benchmark', 'all of it is on disk')")
    seconds = time.perf_counter() - started
    for connection in open_:
        await connection.close()
    return seconds


async def _main(arguments: argparse.Namespace) -> float:
    rows = await read(arguments.finished)
    return await load(arguments.target, rows, arguments.connections, fk_off=arguments.fk_off)


def main() -> int:
    parser = argparse.ArgumentParser(description="the target alone, fed from memory")
    parser.add_argument("finished", help="a target that holds the rows already")
    parser.add_argument("target", help="an empty target")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--fk-off", action="store_true", help="without the foreign keys' triggers")
    print(json.dumps({"seconds": asyncio.run(_main(parser.parse_args()))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
