"""The source's snapshot, lost in mid-run: a new one, decisions anew, and what was done before stays done."""

from __future__ import annotations

import asyncpg
import pytest

from bulkmig import Report, Selection, Settings, verify
from bulkmig.embedded import Server
from bulkmig.events import Event, VesselDone, VesselVerified
from tests.resilience.conftest import SPEC, Migrate, figures
from tests.support.fleets import Fleets, Origin


class Restart:
    """Ends the source's sessions at the first event of a kind; the run doesn't go on meanwhile."""

    def __init__(self, pg: Server, url: str, kind: type[Event]) -> None:
        self.pg, self.kind, self.done = pg, kind, False
        self.database = url.rpartition("/")[2]

    def __call__(self, event: Event) -> None:
        if isinstance(event, self.kind) and not self.done:
            self.done = True
            self.pg.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE application_name = 'bulkmig source' AND datname = '{self.database}'"
            )


@pytest.mark.parametrize("kind", [VesselDone, VesselVerified])
@pytest.mark.parametrize("processes", [1, 2])
async def test_a_source_that_restarts_costs_nothing_but_time(
    kind: type[Event], processes: int, pg: Server, run: Migrate, origin: Origin, undisturbed: Report
) -> None:
    restart = Restart(pg, origin.url, kind)
    report = await run(restart, parallel_vessels=1, processes=processes, memory=1024 * 1024)
    assert restart.done
    assert not report.error
    assert figures(report) == figures(undisturbed)


async def test_each_vessel_is_verified_by_what_was_seen_when_it_was_read(
    pg: Server, fleets: Fleets, run: Migrate, maintenance_url: str
) -> None:
    origin = await fleets(SPEC, fresh=True)
    restart = Restart(pg, origin.url, VesselDone)

    def listen(event: Event) -> None:
        if isinstance(event, VesselDone) and not restart.done:
            pg.execute("UPDATE equipment SET name = name || ' (renamed)'", restart.database)
        restart(event)

    report = await run(listen, source=origin.url, parallel_vessels=1, memory=1024 * 1024)
    assert report.status == "completed"
    assert report.verified.difference_count == 0
    assert report.verified.stale > 0  # of the vessels that were read before
    connection = await asyncpg.connect(maintenance_url)
    try:
        seen = await connection.fetchval("SELECT count(DISTINCT source_snapshot) FROM bulkmig.vessels")
    finally:
        await connection.close()
    assert seen == 2
    later = await verify(Settings(source=origin.url, target=maintenance_url), Selection(all=True))
    assert later.verified.difference_count == 0
    assert later.verified.stale == report.verified.stale


async def test_a_verification_on_its_own_takes_a_new_snapshot_too(
    pg: Server, run: Migrate, origin: Origin, maintenance_url: str
) -> None:
    await run(verify=False)
    restart = Restart(pg, origin.url, VesselVerified)
    settings = Settings(source=origin.url, target=maintenance_url, parallel_vessels=1, memory=1024 * 1024)
    report = await verify(settings, Selection(all=True), listen=restart)
    assert restart.done
    assert (report.status, report.error, report.remaining) == ("completed", "", 0)
    assert report.verified.difference_count == 0
