"""Silence of a server: told apart from work by asking, and ended where it is none."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import asyncpg
import pytest

from bulkmig.embedded import Server
from bulkmig.postgres import dsn, watch
from bulkmig.postgres.session import TARGET, Connection, close, connect
from bulkmig.postgres.transient import lost
from tests.resilience.gate import HANG, PASS, SWALLOW, Gate


def address(url: str) -> dsn.Address:
    return dataclasses.replace(dsn.parse(url), network_timeout=0.4)


async def swallowing(gate: Gate, text: bytes) -> Connection:
    """A session of which everything is swallowed from the moment when the program says `text`."""
    connection = await connect(address(gate.url), TARGET, role="target")
    gate.rule = lambda sender, data: SWALLOW if text in data or sender == "server" else PASS
    return connection


async def test_a_statement_that_is_swallowed_ends_as_a_lost_session(pg: Server) -> None:
    async with Gate(pg.url()) as gate:
        connection = await swallowing(gate, b"SELECT 42")
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as caught:
            await connection.fetchval("SELECT 42")
        assert lost(caught.value)
        assert connection.is_closed()


async def test_so_does_a_copy_that_waits_for_a_full_socket(pg: Server) -> None:
    async with Gate(pg.url()) as gate:
        connection = await connect(address(gate.url), TARGET, role="target")
        await connection.execute("CREATE TEMP TABLE t (x text)")
        gate.rule = lambda sender, data: HANG

        async def rows() -> AsyncIterator[bytes]:
            for _ in range(64):
                yield b"x" * (1024 * 1024) + b"\n"

        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as caught:
            await connection.copy_to_table("t", source=rows(), format="text")
        assert lost(caught.value)


async def test_a_server_at_work_is_waited_for(pg: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()
    ask = watch.works

    async def works(*arguments: object) -> bool:
        found = await ask(*arguments)  # type: ignore[arg-type]
        asked.set()
        return found

    monkeypatch.setattr(watch, "works", works)
    holder = await asyncpg.connect(pg.url())
    connection = await connect(address(pg.url()), TARGET, role="target")
    try:
        await holder.execute("SELECT pg_advisory_lock(4711)")
        waiting = asyncio.ensure_future(connection.execute("SELECT pg_advisory_lock(4711)"))
        await asked.wait()
        asked.clear()
        await asked.wait()  # twice: it is looked at again and again, and left alone
        assert not waiting.done()
        await holder.execute("SELECT pg_advisory_unlock(4711)")
        assert await waiting == "SELECT 1"
    finally:
        await close(connection)
        await holder.close()


async def test_rows_that_are_held_back_here_are_no_silence(
    pg: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = False

    async def works(*_: object) -> bool:
        nonlocal asked
        asked = True
        return False

    monkeypatch.setattr(watch, "works", works)
    connection = await connect(address(pg.url()), TARGET, role="target")
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def hold(data: bytes) -> None:
        if not held.is_set():
            loop.call_later(1.0, held.set)  # longer than network_timeout
            await held.wait()

    try:
        query = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
        await connection.copy_from_query(query, output=hold)
    finally:
        await close(connection)
    assert not asked


async def test_what_is_left_of_a_lost_session_is_ended(pg: Server) -> None:
    async with Gate(pg.url()) as gate:
        connection = await swallowing(gate, b"COMMIT")
        gate.rule = lambda sender, data: PASS
        await connection.execute("BEGIN")
        await connection.execute("SELECT pg_advisory_xact_lock(815)")
        gate.rule = lambda sender, data: SWALLOW
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.execute("COMMIT")
        other = await connect(address(pg.url()), TARGET, role="target")
        try:
            await watch.dismiss(other, connection)
            assert await other.fetchval("SELECT pg_try_advisory_lock(815)")
        finally:
            await close(other)
