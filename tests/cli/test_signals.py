"""A signal ends a command in good order wherever it is: also before it has begun, between two looks, and
where it is no run."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from bulkmig.embedded import Server
from bulkmig.generate import FleetSpec
from tests.support.aftermath import until
from tests.support.fleets import Fleets
from tests.support.programs import LIMIT, Ended, Program, program, run

SPEC = FleetSpec(seed=3, vessels=2, equipment=5, nasty=0.0)
SIGNALS = [signal.SIGINT, signal.SIGTERM]
_BENCHES = "SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE 'bulkmig_bench_%')"
_WAITS = """
SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
 WHERE NOT l.granted AND d.datname = current_database()
"""


@asynccontextmanager
async def held(url: str, table: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Nobody can read the table meanwhile."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table}")
            yield connection
    finally:
        await connection.close()


async def signal_once(
    connection: asyncpg.Connection[asyncpg.Record], holds: str, started: Program, number: int
) -> Ended:
    """Sends the program a signal when the query says so, and waits for its end."""

    async def happened() -> bool:
        return not started.is_running or bool(await connection.fetchval(holds))

    assert await until(happened, LIMIT)
    started.send(number)
    return await started.ended()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", ["validate", "migrate", "sync"])
async def test_a_run_that_has_not_begun_yet_ends_with_the_first_signal(
    fleets: Fleets, maintenance_url: str, command: str, number: int
) -> None:
    """It waits for what somebody holds in the source, and went on to wait."""
    origin = await fleets.changing(SPEC)
    async with (
        held(origin.url, "companies") as holder,
        program(origin.url, maintenance_url, command, "--all") as started,
    ):
        ended = await signal_once(holder, _WAITS, started, number)
    assert (ended.status, ended.document["status"]) == (4, "stopped"), ended.said
    assert ended.document["command"] == command


async def test_a_command_that_is_no_run_ends_with_the_first_signal(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    assert (await run(origin.url, maintenance_url, "init")).status == 0
    async with (
        held(maintenance_url, "bulkmig.conflicts") as holder,
        program(origin.url, maintenance_url, "conflicts", "list") as started,
    ):
        ended = await signal_once(holder, _WAITS, started, signal.SIGTERM)
    assert (ended.status, ended.document["status"]) == (4, "stopped"), ended.said


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_between_two_looks_ends_the_watching(
    fleets: Fleets, maintenance_url: str, number: int
) -> None:
    origin = await fleets(SPEC)
    assert (await run(origin.url, maintenance_url, "init")).status == 0
    async with program(origin.url, maintenance_url, "status", "--watch") as started:
        await started.until(lambda: started.printed.endswith("}\n"))
        started.send(number)
        ended = await started.ended()
    assert (ended.status, ended.document["runs"]) == (4, [])  # and no document of a run that was stopped


async def test_a_benchmark_that_is_stopped_leaves_no_database_behind(pg: Server) -> None:
    connection = await asyncpg.connect(pg.url())
    words = ("--source", pg.url(), "--target", pg.url(), "--yes", "--sizes", "3", "--repeat", "1000")
    try:
        async with program(pg.url(), pg.url(), "bench", *words) as started:
            ended = await signal_once(connection, f"{_BENCHES} = 2", started, signal.SIGTERM)
        assert (ended.status, ended.document["status"]) == (4, "stopped"), ended.said
        assert await connection.fetchval(_BENCHES) == 0
    finally:
        await connection.close()
