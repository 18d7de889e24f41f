"""What the board says is so: at the instant when it says that a vessel is done, others see it in the ledger,
and in the end it has the report's figures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest

from bulkmig import Selection, Settings, migrate, sync
from bulkmig.embedded import Server
from bulkmig.events import Event, VesselDone, VesselReached, VesselStarted
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.monitor.board import Board
from bulkmig.monitor.view import of_board

ALL = Selection(all=True)
SPEC = FleetSpec(seed=6, vessels=12, equipment=(60, 1, 2, 3, 40, 5, 6, 7, 1, 2, 3, 4), nasty=0.05, least=0)
_MARKED = """
SELECT vessel_id::text FROM bulkmig.vessels
 WHERE run_id = (SELECT id FROM bulkmig.runs ORDER BY started_at DESC LIMIT 1) AND state <> 'failed'
"""
_CHANGE = """
UPDATE equipment SET notes = coalesce(notes, '') || ' 2', updated_at = now()
 WHERE vessel_id IN (SELECT id FROM vessels WHERE onboarding_status = 'APPROVED' ORDER BY id LIMIT 2)
"""


class Witness:
    """Hears a run as the board does, and looks up each vessel that is said to be done."""

    def __init__(self, target: str) -> None:
        self.target, self.board = target, Board()
        self.early: list[str] = []  # said to be done before others could see it
        self.events: list[Event] = []

    def hear(self, event: Event) -> None:
        self.board.hear(event)
        self.events.append(event)
        if isinstance(event, VesselDone):
            with ThreadPoolExecutor(1) as pool:  # the run's own loop stands still meanwhile
                marked = pool.submit(lambda: asyncio.run(self._marked())).result()
            if event.vessel_id not in marked:
                self.early.append(event.vessel_id)

    async def _marked(self) -> set[str]:
        connection = await asyncpg.connect(self.target)
        try:
            return {row[0] for row in await connection.fetch(_MARKED)}
        finally:
            await connection.close()

    def of(self, kind: type[Event]) -> set[str]:
        return {event.vessel_id for event in self.events if isinstance(event, kind)}  # type: ignore[attr-defined]


Ends = tuple[Settings, Callable[[str], None]]


@pytest.fixture
async def ends(pg: Server, onboarding_url: str, maintenance_url: str) -> Ends:
    await generate_fleet(onboarding_url, SPEC)
    settings = Settings(
        source=onboarding_url, target=maintenance_url, on_error="quarantine", continue_on_error=True
    )
    return settings, lambda sql: pg.execute(sql, onboarding_url.rpartition("/")[2])


async def test_a_vessel_that_a_migration_calls_done_is_committed(ends: Ends) -> None:
    settings, _ = ends
    witness = Witness(settings.target)
    report = await migrate(settings, ALL, listen=witness.hear)
    assert report.done > 8
    assert witness.early == []
    run = of_board(witness.board)["run"]
    assert (run["done"], run["failed"], run["share"]) == (report.done, report.failed, 1.0)
    assert run["quarantined"] <= report.quarantined.total()


async def test_a_sync_shows_the_vessels_that_it_changes_and_those_that_are_up_to_date(ends: Ends) -> None:
    settings, change = ends
    first = await migrate(settings, ALL)
    change(_CHANGE)
    witness = Witness(settings.target)
    report = await sync(settings, ALL, listen=witness.hear)
    assert witness.early == []
    changed = witness.of(VesselDone)
    assert 2 <= len(changed) < first.done
    assert witness.of(VesselStarted) == changed <= witness.of(VesselReached)
    run = of_board(witness.board)["run"]
    assert (run["done"], run["failed"], run["share"]) == (report.done, report.failed, 1.0)
    assert witness.board.counts["unchanged"] == report.done - len(changed)
    assert witness.board.counts["waiting"] == 0
