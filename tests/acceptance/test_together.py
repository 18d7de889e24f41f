"""Vessels that are read together are written in one transaction; where the target refuses it, each in one of
its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from bulkmig import Report, Selection, Settings, migrate
from bulkmig._core.ids import id_range, prefix
from bulkmig.generate import FleetSpec
from tests.support.fleets import Fleets, Origin

SPEC = FleetSpec(seed=8, vessels=6, equipment=6, exact=True, companies=1)
_COMMITS = "SELECT count(DISTINCT xmin::text) FROM bulkmig.vessels WHERE state = 'migrated'"


@pytest.fixture
async def origin(fleets: Fleets) -> Origin:
    return await fleets(SPEC)


@pytest.fixture
async def target(maintenance_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(maintenance_url)
    yield connection
    await connection.close()


async def migrated(origin: Origin, target: str, *, rate: int | None = None) -> Report:
    settings = Settings(
        source=origin.url,
        target=target,
        parallel_vessels=1,
        continue_on_error=True,
        max_rows_per_second=rate,
    )
    return await migrate(settings, Selection(all=True))


@pytest.mark.parametrize(("rate", "commits"), [(None, 1), (10_000_000, 6)])
async def test_small_vessels_commit_together_but_at_a_limited_rate(
    origin: Origin,
    maintenance_url: str,
    target: asyncpg.Connection[asyncpg.Record],
    rate: int | None,
    commits: int,
) -> None:
    report = await migrated(origin, maintenance_url, rate=rate)
    assert (report.done, report.failed, report.verified.difference_count) == (6, 0, 0)
    assert await target.fetchval(_COMMITS) == commits
    # Each has a checkpoint of its own, which knows of no other.
    assert await target.fetchval(
        "SELECT count(*) FROM bulkmig.checkpoints WHERE vessel_id IS NOT NULL AND absent AND together = '{}'"
    ) == len(origin.approved)


async def test_a_row_that_the_target_refuses_fails_its_vessel_alone(
    origin: Origin, maintenance_url: str, target: asyncpg.Connection[asyncpg.Record]
) -> None:
    wrong = sorted(origin.approved, key=id_range)[2]
    of_it = f"vessel_id::text LIKE '{prefix(wrong)}%'"
    await target.execute(f"ALTER TABLE equipment ADD CONSTRAINT house_rule CHECK (NOT {of_it})")
    report = await migrated(origin, maintenance_url)
    assert [(failure.vessel_id, failure.phase) for failure in report.failures] == [(wrong, "load")]
    assert (report.done, report.failed, report.verified.difference_count) == (5, 1, 0)
    assert await target.fetchval("SELECT count(*) FROM equipment") == 30
    assert await target.fetchval(_COMMITS) == 5
