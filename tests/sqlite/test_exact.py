"""Fleets full of traps, migrated into SQLite under both modes: every cell, finding and quarantined row is
what the second statement of the mapping (tests/oracle) says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_settings

from bulkmig import Selection, Settings, migrate, verify
from bulkmig.config import OnError
from bulkmig.generate import FleetSpec
from tests.oracle.expect import expect
from tests.oracle.file import read_file
from tests.support.files import portal, stored, with_rows
from tests.support.fleets import Fleets, Origin
from tests.support.outcome import differences
from tests.support.servers import Databases

NASTY = FleetSpec(vessels=5, equipment=30, nasty=0.3, least=1, unknown_enums=True)
MODES: tuple[OnError, ...] = ("fail", "quarantine")
ALL = Selection(all=True)


def settings(origin: Origin, target: str, on_error: OnError) -> Settings:
    """How these tests migrate."""
    return Settings(source=origin.url, target=target, on_error=on_error, continue_on_error=True)


async def migrated(origin: Origin, target: str, on_error: OnError) -> list[str]:
    """Migrates everything and returns what is not as it should be."""
    expected = expect(origin.rows, read_file(target), on_error=on_error)
    report = await migrate(settings(origin, target, on_error), ALL)
    return await differences(expected, origin.rows, report, target)


@pytest.mark.parametrize("on_error", MODES)
async def test_a_fleet_of_traps_becomes_what_the_mapping_says(
    fleets: Fleets, tmp_path: Path, on_error: OnError
) -> None:
    origin = await fleets(NASTY)
    assert await migrated(origin, portal(tmp_path / "portal.db"), on_error) == []


@pytest.mark.parametrize("on_error", ["quarantine", pytest.param("fail", marks=pytest.mark.long)])
async def test_a_target_that_holds_rows_already_keeps_its_own_and_gives_up_what_is_adopted(
    fleets: Fleets, tmp_path: Path, maintenance_url: str, on_error: OnError
) -> None:
    origin = await fleets(replace(NASTY, seed=1))
    target = await with_rows(tmp_path / "portal.db", maintenance_url, origin, origin.spec)
    assert await migrated(origin, target, on_error) == []


async def test_two_runs_give_the_same_tables_with_the_same_ids(fleets: Fleets, tmp_path: Path) -> None:
    origin = await fleets(NASTY)
    one, other = portal(tmp_path / "one.db"), portal(tmp_path / "other.db")
    await fleets.migrate(origin, settings(origin, one, "quarantine"))
    several = replace_settings(
        settings(origin, other, "quarantine"), parallel_vessels=8, processes=2, memory=4 * 2**20
    )
    await migrate(several, ALL)
    assert stored(one) == stored(other)


async def test_verify_finds_what_somebody_changed(fleets: Fleets, tmp_path: Path) -> None:
    origin = await fleets(NASTY)
    target = portal(tmp_path / "portal.db")
    await fleets.migrate(origin, settings(origin, target, "quarantine"))
    report = await verify(settings(origin, target, "quarantine"), ALL)
    assert (report.verified.difference_count, report.verified.drift) == (0, 0)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_over_a_dozen_seeds_nothing_differs(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    found: Counter[str] = Counter()
    for seed in range(12):
        origin = await fleets(replace(NASTY, seed=seed, least=5))
        for on_error in MODES:
            path = tmp_path / f"{seed}-{on_error}.db"
            if seed % 2:
                target = await with_rows(path, databases("maintenance"), origin, origin.spec)
            else:
                target = portal(path)
            found.update(await migrated(origin, target, on_error))
    assert found == Counter()
