"""Servers that go away in mid-run and come back, or don't."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from bulkmig import Report, Stop, schemas
from bulkmig.embedded import Server, best, server
from bulkmig.events import Event, Retrying, VesselDone
from tests.resilience.conftest import Migrate, figures
from tests.resilience.gate import CUT, PASS, SWALLOW, Gate
from tests.support.fleets import Origin
from tests.support.servers import EmbeddedServers


class Outage:
    """Begins with the first vessel that is done; over when the run has noticed."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.noticed = False
        self._begun = False
        self._back: asyncio.Task[None] | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, VesselDone) and not self._begun:
            self._begun = True
            self.gate.refuse()
            self.gate.cut()
        if isinstance(event, Retrying) and "connecting" in event.what and not self.noticed:
            self.noticed = True
            self._back = asyncio.ensure_future(self.gate.open())


@pytest.mark.parametrize("end", ["source", "target"])
async def test_a_server_that_refuses_for_a_while_is_waited_for(
    end: str, run: Migrate, origin: Origin, maintenance_url: str, undisturbed: Report
) -> None:
    async with Gate(origin.url if end == "source" else maintenance_url) as gate:
        outage = Outage(gate)
        report = await run(outage, **{end: gate.url}, parallel_vessels=1)
    assert outage.noticed
    assert figures(report) == figures(undisturbed)


@pytest.mark.parametrize("end", ["source", "target"])
async def test_a_network_that_swallows_everything_for_a_while_is_survived(
    end: str, run: Migrate, origin: Origin, maintenance_url: str, undisturbed: Report
) -> None:
    async with Gate(origin.url if end == "source" else maintenance_url) as gate:

        def listen(event: Event) -> None:
            if isinstance(event, VesselDone):
                gate.rule = lambda sender, data: SWALLOW
            if isinstance(event, Retrying):
                gate.rule = lambda sender, data: PASS

        report = await run(
            listen, **{end: gate.url}, parallel_vessels=2, network_timeout=0.5, connect_timeout=0.5
        )
    assert figures(report) == figures(undisturbed)


@pytest.mark.parametrize("end", ["source", "target"])
@pytest.mark.parametrize("processes", [1, 2])
async def test_a_server_that_stays_away_ends_the_run_with_a_true_report(
    end: str, processes: int, run: Migrate, origin: Origin, maintenance_url: str
) -> None:
    async with Gate(origin.url if end == "source" else maintenance_url) as gate:

        def listen(event: Event) -> None:
            if isinstance(event, VesselDone):
                gate.refuse()
                gate.cut()

        report = await run(
            listen, **{end: gate.url}, parallel_vessels=1, processes=processes, outage=0.2, memory=1024 * 1024
        )
    assert report.exit_status == 1
    assert report.status == "failed"
    assert end in report.error
    assert report.failed == 0
    assert report.remaining == report.selected - report.done
    connection = await asyncpg.connect(maintenance_url)
    try:
        committed = await connection.fetchval("SELECT count(*) FROM bulkmig.vessels WHERE state = 'migrated'")
    finally:
        await connection.close()
    assert report.done <= committed
    again = await run()
    assert again.status == "completed"
    assert again.skipped == committed


async def test_an_interrupt_during_a_back_off_ends_the_run_at_once(
    run: Migrate, maintenance_url: str
) -> None:
    stop = Stop()
    async with Gate(maintenance_url) as gate:
        back: list[asyncio.Task[None]] = []

        def listen(event: Event) -> None:
            if isinstance(event, VesselDone):
                gate.refuse()
                gate.cut()
            if isinstance(event, Retrying) and not stop.requested:
                stop.request()
                back.append(asyncio.ensure_future(gate.open()))

        report = await run(
            listen, stop, target=gate.url, parallel_vessels=1, memory=1024 * 1024, outage=3600.0
        )
    assert report.exit_status == 4
    assert report.failed == 0
    assert report.remaining > 0


async def test_no_vessel_is_started_again_after_the_window(run: Migrate, maintenance_url: str) -> None:
    stop = Stop()
    cut = 0
    committed: set[str] = set()
    async with Gate(maintenance_url) as gate:

        def cut_at_the_next_vessel(sender: str, data: bytes) -> str:
            nonlocal cut
            if sender == "program" and b"pg_advisory_xact_lock" in data and not cut:
                cut += 1
                stop.drain()  # as the end of a window does: nothing more is started
                return CUT
            return PASS

        def listen(event: Event) -> None:
            if isinstance(event, VesselDone):
                committed.add(event.vessel_id)
                gate.rule = cut_at_the_next_vessel

        report = await run(listen, stop, target=gate.url, parallel_vessels=1, memory=1024 * 1024)
    assert cut == 1
    assert report.failures == []
    assert (report.status, report.exit_status) == ("stopped", 4)
    assert report.done == len(committed)  # none after the cut
    assert report.remaining > 0


@pytest.fixture
def crashing(embedded_servers: EmbeddedServers) -> Iterator[Server]:
    """A server of its own, which flushes so late that a crash loses what was not asked to be on disk."""
    settings = {"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB", "max_connections": "30"}
    with server(install=best(), settings=settings) as own:
        yield own


async def test_vessels_that_a_crash_of_the_target_undoes_are_migrated_again(
    crashing: Server, run: Migrate, undisturbed: Report
) -> None:
    crashing.create_database("maintenance")
    crashing.execute(schemas.read("maintenance.postgres.sql"), "maintenance")
    crashed: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, VesselDone):
            crashed.append(event.vessel_id)
            if len(crashed) == 2:
                crashing.stop("immediate")
                crashing.start()

    report = await run(
        listen, target=crashing.url("maintenance"), parallel_vessels=1, memory=1024 * 1024, outage=60.0
    )
    assert len(crashed) > len(set(crashed)), "the crash has undone nothing: the test shows nothing"
    assert figures(report) == figures(undisturbed)
