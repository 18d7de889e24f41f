"""Whatever the fleet, rows in flight stay within the bound that was asked for, and the process near it."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import anyio
import pytest

from bulkmig import Selection, Settings, migrate, verify
from bulkmig.config import MEBIBYTE
from bulkmig.generate import FleetSpec
from tests.support.fleets import Fleets

BOUND, BASE = 64 * MEBIBYTE, 200 * MEBIBYTE
FIFTY = 50


async def test_the_bytes_in_flight_never_pass_the_bound(fleets: Fleets, maintenance_url: str) -> None:
    sizes = (4000, *[40] * 11)
    origin = await fleets(FleetSpec(seed=3, vessels=12, equipment=sizes, parts=1, documents=1))
    settings = Settings(
        source=origin.url, target=maintenance_url, memory=4 * MEBIBYTE, parallel_vessels=12, verify=False
    )
    report = await migrate(settings, Selection(all=True))
    assert report.done == 12
    assert 0 < report.peak_in_flight <= settings.memory
    again = await verify(settings, Selection(all=True))
    assert 0 < again.peak_in_flight <= settings.memory
    assert again.verified.difference_count == 0


async def document(source: str, target: str, *arguments: str) -> dict[str, Any]:
    """The document of a migration that ran in a process of its own."""
    command = [sys.executable, "-m", "bulkmig", "migrate", "--all", "--json", "--quiet", *arguments]
    environment = {**os.environ, "ONBOARDING_DB_URL": source, "MAINTENANCE_DB_URL": target}
    ended = await anyio.run_process(command, env=environment)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


async def check(fleets: Fleets, target: str, equipment: int, others: int) -> None:
    """Migrates and verifies one vessel with so much equipment among fifty at once."""
    sizes = (others,) * 20 + (equipment,) + (others,) * (FIFTY - 21)
    origin = await fleets(FleetSpec(seed=11, vessels=FIFTY, equipment=sizes, parts=1, documents=1))
    report = await document(origin.url, target, "--memory", "64MB", "--parallel-vessels", str(FIFTY))
    assert report["vessels"]["done"] == FIFTY
    assert report["rows"]["equipment"]["inserted"] >= equipment
    assert report["verification"]["failed"] == 0
    assert 0 < report["memory"]["peak_in_flight"] <= BOUND
    assert report["peak_memory_bytes"] <= BOUND + BASE


@pytest.mark.slow
async def test_fifty_vessels_at_once_pass_in_64_megabytes_and_a_base(
    fleets: Fleets, maintenance_url: str
) -> None:
    await check(fleets, maintenance_url, 10_000, 5)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_vessel_of_300000_equipment_among_fifty_does_too(
    fleets: Fleets, maintenance_url: str
) -> None:
    await check(fleets, maintenance_url, 300_000, 200)
