"""Workers on machines of their own end where one process ends, and each vessel is migrated once."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from bulkmig.generate import FleetSpec
from tests.cluster.conftest import MIGRATE, Make, places
from tests.cluster.scene import LARGE, SMALL
from tests.support.programs import program
from tests.support.servers import Databases


async def over(workers: int, spec: FleetSpec, fleet: Make, maintenance_url: str, why: str) -> list[int]:
    """Migrates over so many machines; returns how many vessels each worker did."""
    one = await fleet(spec)
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(places(workers, one.source, maintenance_url, why))
        crew = [await stack.enter_async_context(machine.worker("--once")) for machine in there]
        async with program(one.source, maintenance_url, *MIGRATE) as submitter:
            ended = await submitter.ended(1000)
        done = [await worker.ended(60) for worker in crew]
    await one.same(maintenance_url, ended)
    assert [worker.status for worker in done] == [0] * workers
    return [worker.vessels["done"] for worker in done]


async def test_two_machines_end_where_one_process_ends(
    fleet: Make, maintenance_url: str, namespaces: str
) -> None:
    """The same dump, the same figures, no vessel twice."""
    done = await over(2, SMALL, fleet, maintenance_url, namespaces)
    assert sum(done) == (await fleet(SMALL)).document["vessels"]["done"]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [2, 4])
async def test_machines_with_500_vessels_end_where_one_process_ends(
    workers: int, fleet: Make, databases: Databases, namespaces: str
) -> None:
    """The issue's size: every machine has its share, and together they did each vessel once."""
    done = await over(workers, LARGE, fleet, databases("maintenance"), namespaces)
    assert min(done) > 0
    assert sum(done) == (await fleet(LARGE)).document["vessels"]["done"]
