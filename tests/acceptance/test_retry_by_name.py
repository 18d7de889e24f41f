"""`quarantine retry VESSEL…`: a vessel that nobody knows is said so, before anything is written."""

from __future__ import annotations

import pytest

from bulkmig import Selection, migrate
from bulkmig.errors import UsageError
from bulkmig.generate import FleetSpec
from bulkmig.retry.run import retry
from tests.checkpoint.support import fetchval, settings
from tests.support.fleets import Fleets
from tests.support.servers import Databases

SPEC = FleetSpec(seed=6, vessels=2, companies=1, equipment=3)
NOBODY = "00000000-0000-4000-8000-00000000dead"


async def test_a_vessel_that_is_in_neither_source_nor_quarantine_is_wrong_usage(
    fleets: Fleets, databases: Databases
) -> None:
    origin = await fleets(SPEC)
    config = settings(origin, databases("maintenance"))
    await migrate(config, Selection(all=True))
    known = origin.approved[0]
    report = await retry(config, [known])
    assert (report.status, report.exit_status) == ("completed", 0)
    begun = await fetchval(config.target, "SELECT count(*) FROM bulkmig.runs")
    with pytest.raises(UsageError, match=NOBODY) as refused:
        await retry(config, [known, NOBODY])
    assert known not in str(refused.value)
    assert await fetchval(config.target, "SELECT count(*) FROM bulkmig.runs") == begun
