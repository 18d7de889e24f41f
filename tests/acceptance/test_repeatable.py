"""One source, several fresh targets: the contract's tables are the same byte for byte, however it ran."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import msgspec
import pytest

from bulkmig import Selection, Settings, migrate
from bulkmig.config import MEBIBYTE
from bulkmig.generate import FleetSpec, generate_portal
from tests.support.dumps import apart, dump
from tests.support.fleets import Fleets
from tests.support.servers import Databases

# One vessel is large enough to stream in several batches where memory is scarce.
SPEC = FleetSpec(seed=8, vessels=5, equipment=(0, 20, 400, 60, 30), nasty=0.2, least=1)
ALL = Selection(all=True)
WAYS: tuple[dict[str, object], ...] = (
    {"parallel_vessels": 8, "memory": 256 * MEBIBYTE},
    {"parallel_vessels": 1, "memory": 4 * MEBIBYTE},
    {"parallel_vessels": 16, "memory": 8 * MEBIBYTE, "fk_check": "set"},
)


def ways(source: str, target: str, way: dict[str, object]) -> Settings:
    settings = Settings(source=source, target=target, on_error="quarantine", verify=False)
    return msgspec.structs.replace(settings, **way)


async def test_whatever_the_concurrency_the_tables_are_the_same_bytes(
    fleets: Fleets, databases: Databases
) -> None:
    origin = await fleets(SPEC)
    dumps, cuts = [], set()
    for way in WAYS:
        target = databases("maintenance")
        await generate_portal(target, origin.url, origin.spec)
        settings = ways(origin.url, target, way)
        report = await migrate(settings, ALL)
        assert report.status == "completed"
        cuts.add(settings.batch_bytes)
        dumps.append(await dump(target, schema="public"))
    assert len(cuts) == len(WAYS), "the units were cut differently"
    assert all(rows for table, rows in dumps[0].items())
    for other in dumps[1:]:
        assert apart(dumps[0], other) == []


async def test_whatever_the_order_of_the_runs_the_rows_get_the_same_ids(
    fleets: Fleets, databases: Databases
) -> None:
    origin = await fleets(replace(SPEC, nasty=0.0, equipment=20))
    dumps = []
    for order in range(2):
        target, vessels = databases("maintenance"), origin.approved
        Random(order).shuffle(vessels)
        # All companies come with the first run, so that no assessor is missing.
        companies = {row["id"]: row["company_id"] for row in origin.rows.vessels}
        first = {companies[vessel]: vessel for vessel in vessels}.values()
        for part in (tuple(first), tuple(v for v in vessels if v not in first)):
            await migrate(ways(origin.url, target, {}), Selection(vessels=part))
        dumps.append(await dump(target, schema="public"))
    assert apart(*dumps) == []


@pytest.mark.slow
async def test_several_processes_end_in_the_same_bytes_as_one(fleets: Fleets, databases: Databases) -> None:
    origin = await fleets(SPEC)
    dumps = []
    for processes in (1, 2):
        target = databases("maintenance")
        report = await migrate(ways(origin.url, target, {"processes": processes}), ALL)
        assert report.status == "completed"
        dumps.append(await dump(target, schema="public"))
    assert apart(*dumps) == []
