"""Whatever the fleet, the rows in flight stay within the bound that was asked for."""

from __future__ import annotations

import json
import os
import sys

import anyio
import pytest

from bulkmig import Selection, Settings, migrate, verify
from bulkmig.generate import FleetSpec, generate_fleet

MEGABYTE = 1024 * 1024


async def test_the_bytes_in_flight_never_pass_the_bound(onboarding_url: str, maintenance_url: str) -> None:
    await generate_fleet(
        onboarding_url, FleetSpec(seed=3, vessels=12, equipment=[4000, *[40] * 11], parts=1, documents=1)
    )
    settings = Settings(
        source=onboarding_url, target=maintenance_url, memory=4 * MEGABYTE, parallel_vessels=12
    )
    report = await migrate(settings, Selection(all=True))
    assert report.done == 12
    assert 0 < report.peak_in_flight <= settings.memory
    again = await verify(settings, Selection(all=True))
    assert 0 < again.peak_in_flight <= settings.memory
    assert again.verified.difference_count == 0


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_vessel_of_300000_equipment_among_fifty_passes_in_64_megabytes(
    onboarding_url: str, maintenance_url: str
) -> None:
    await generate_fleet(
        onboarding_url,
        FleetSpec(seed=1, vessels=50, equipment=[300_000, *[200] * 49], parts=1, documents=1),
    )
    command = [sys.executable, "-m", "bulkmig", "migrate", "--all", "--json", "--quiet", "--no-verify"]
    ended = await anyio.run_process(
        [*command, "--memory", "64MB", "--parallel-vessels", "50"],
        env={**os.environ, "ONBOARDING_DB_URL": onboarding_url, "MAINTENANCE_DB_URL": maintenance_url},
    )
    report = json.loads(ended.stdout)
    assert report["vessels"]["done"] == 50
    assert report["memory"]["peak_in_flight"] <= 64 * MEGABYTE
    assert report["peak_memory_bytes"] <= (64 + 200) * MEGABYTE
