"""Into a file one unit is written at a time, and meanwhile the next one is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg

from bulkmig import Selection, Settings, migrate
from bulkmig.config import MEBIBYTE
from bulkmig.events import Event, VesselDone, VesselReached, VesselStarted
from bulkmig.generate import FleetSpec
from tests.support.files import portal, stored
from tests.support.fleets import Fleets

# In so little memory a unit is four of these vessels.
SPEC = FleetSpec(seed=3, vessels=12, equipment=20, exact=True, companies=1, least=0)
MEMORY = 3 * MEBIBYTE
ALL = Selection(all=True)


def settings(source: str, target: str, **others: Any) -> Settings:
    return Settings(source=source, target=target, memory=MEMORY, verify=False, **others)


async def test_the_next_vessels_are_read_while_the_ones_before_are_written(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets(SPEC)
    said: list[tuple[str, str]] = []

    def listen(event: Event) -> None:
        if isinstance(event, VesselStarted):
            said.append(("read", event.vessel_id))
        elif isinstance(event, VesselReached):
            said.append((event.phase, event.vessel_id))
        elif isinstance(event, VesselDone):
            said.append(("done", event.vessel_id))

    target, plain = portal(tmp_path / "portal.db"), portal(tmp_path / "plain.db")
    report = await migrate(settings(origin.url, target), ALL, listen=listen)
    assert (report.status, report.done) == ("completed", len(origin.approved))
    units = [vessel for phase, vessel in said if phase == "read"]
    assert [vessel for phase, vessel in said if phase == "load"] == units == sorted(units)
    before = [phase for phase, _ in said[: said.index(("done", units[0]))]]
    assert before.count("read") > before.count("load")
    await migrate(settings(origin.url, plain, parallel_vessels=1), ALL)
    assert stored(target) == stored(plain)


async def test_vessels_that_were_read_while_one_failed_are_not_written(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets(SPEC, fresh=True)
    source = await asyncpg.connect(origin.url)
    try:
        await source.execute(
            "UPDATE equipment SET name = NULL WHERE vessel_id = $1::text::uuid", origin.approved[1]
        )
    finally:
        await source.close()
    begun: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, VesselStarted):
            begun.append(event.vessel_id)

    target = portal(tmp_path / "portal.db")
    report = await migrate(settings(origin.url, target), ALL, listen=listen)
    assert len(begun) > 4  # of the second unit too
    assert (report.done, report.failed) == (1, 1)
    assert report.remaining == len(origin.approved) - 2
    assert len(stored(target)["vessels"]) == 1
