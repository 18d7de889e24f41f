"""What the demo does to the fleet that it has made up."""

from __future__ import annotations

from bulkmig.cli.verb_demo import _CHANGES
from bulkmig.generate import FleetSpec
from tests.checkpoint.support import execute, fetchval
from tests.support.fleets import Fleets

SPEC = FleetSpec(seed=33, vessels=1, equipment=4, nasty=0.0, least=0)
LONGEST = "UPDATE equipment SET name = repeat('x', 255); UPDATE locations SET name = repeat('x', 255);"


async def test_the_changes_of_the_demo_fit_names_that_are_as_long_as_a_name_can_be(fleets: Fleets) -> None:
    origin = await fleets.changing(SPEC, LONGEST)
    await execute(origin.url, _CHANGES)
    assert await fetchval(origin.url, "SELECT count(*) FROM equipment WHERE name LIKE '%xx II'") > 0
    assert await fetchval(origin.url, "SELECT count(*) FROM locations WHERE name LIKE '%xx aft'") > 0
