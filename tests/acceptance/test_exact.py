"""Fleets full of traps, migrated under both modes: every cell, finding, quarantined row and loss is what the
second statement of the mapping (tests/oracle) says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from bulkmig import Selection, Settings, migrate
from bulkmig.config import OnError
from bulkmig.generate import ONCE_TRAPS, PORTAL_TRAPS, TRAPS, FleetSpec, generate_portal
from tests.oracle.expect import expect
from tests.oracle.target import read_target
from tests.support.fleets import Fleets, Origin
from tests.support.outcome import differences
from tests.support.servers import Databases

NASTY = FleetSpec(vessels=5, equipment=30, nasty=0.3, least=2, unknown_enums=True)
SMALL = replace(NASTY, vessels=3, equipment=20, least=1)
MODES: tuple[OnError, ...] = ("fail", "quarantine")
SEEDS, HITS = 12, 50


async def migrated(origin: Origin, target: str, on_error: OnError) -> list[str]:
    """Migrates everything and returns what is not as it should be."""
    expected = expect(origin.rows, await read_target(target), on_error=on_error)
    settings = Settings(source=origin.url, target=target, on_error=on_error, continue_on_error=True)
    report = await migrate(settings, Selection(all=True))
    return await differences(expected, origin.rows, report, target)


@pytest.mark.parametrize("on_error", MODES)
async def test_a_fleet_of_traps_becomes_what_the_mapping_says(
    fleets: Fleets, maintenance_url: str, on_error: OnError
) -> None:
    origin = await fleets(NASTY)
    assert await migrated(origin, maintenance_url, on_error) == []


@pytest.mark.parametrize("on_error", ["quarantine", pytest.param("fail", marks=pytest.mark.long)])
async def test_a_target_that_holds_rows_already_keeps_its_own_and_gives_up_what_is_adopted(
    fleets: Fleets, maintenance_url: str, on_error: OnError
) -> None:
    origin = await fleets(replace(NASTY, seed=1))
    planted = await generate_portal(maintenance_url, origin.url, origin.spec)
    assert set(planted.traps) == set(PORTAL_TRAPS)
    assert await migrated(origin, maintenance_url, on_error) == []


@pytest.mark.all_versions
async def test_it_does_so_on_every_version_of_the_server(
    fleets: Fleets, pg_major: int, maintenance_url: str
) -> None:
    origin = await fleets(replace(SMALL, seed=3), major=pg_major)
    await generate_portal(maintenance_url, origin.url, origin.spec)
    assert await migrated(origin, maintenance_url, "quarantine") == []


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_over_a_dozen_seeds_every_trap_is_hit_fifty_times_and_nothing_differs(
    fleets: Fleets, databases: Databases
) -> None:
    hits: Counter[str] = Counter()
    for seed in range(SEEDS):
        origin = await fleets(replace(NASTY, seed=seed, least=5))
        hits.update(origin.traps)
        for on_error in MODES:
            target = databases("maintenance")
            planted = await generate_portal(target, origin.url, origin.spec) if seed % 2 else None
            hits.update(planted.traps if planted is not None else {})
            assert await migrated(origin, target, on_error) == [], (seed, on_error)
    missed = {name: hits[name] for name in {*TRAPS, *PORTAL_TRAPS} - {*ONCE_TRAPS} if hits[name] < HITS}
    assert missed == {"portal_imo_empty": SEEDS}  # of these, too, a target can hold but one
    assert {hits[name] for name in ONCE_TRAPS} == {SEEDS}
