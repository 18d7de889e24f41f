"""A fleet in which every second vessel fails: the others are there, each failure is told with its cause, and
memory stays flat."""

from __future__ import annotations

import pytest

from bulkmig.generate import FleetSpec, generate_fleet
from tests.support.aftermath import left_behind, marks
from tests.support.programs import LIMIT, Ended, program, sentences
from tests.support.servers import Databases
from tests.support.workloads import execute

# A rule of the target's own that the first equipment of each of these vessels breaks; and in the source,
# equipment without a name.
REFUSED = "ALTER TABLE vessels ADD CONSTRAINT house_rule CHECK (name NOT LIKE 'refused %')"
NAMED = "UPDATE vessels SET name = 'refused ' || name WHERE id IN (SELECT id FROM chosen WHERE n % 4 = 2)"
NAMELESS = """
UPDATE equipment SET name = '' WHERE id IN (
    SELECT DISTINCT ON (vessel_id) id FROM equipment
     WHERE vessel_id IN (SELECT id FROM chosen WHERE n % 4 = 0) ORDER BY vessel_id, id)
"""
CHOSEN = "CREATE TABLE chosen AS SELECT id, row_number() OVER (ORDER BY id) AS n FROM vessels"
# The peak of a run with failures over one without: what a failure leaves is its line in the report.
RATIO = 1.25


async def migrated(source: str, target: str, limit: float) -> Ended:
    async with program(source, target, "migrate", "--all", "--continue-on-error", "--quiet") as started:
        return await started.ended(limit)


@pytest.mark.parametrize(
    "vessels", [80, pytest.param(2000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])]
)
async def test_when_every_second_vessel_fails_the_others_are_there_in_the_same_memory(
    databases: Databases, vessels: int
) -> None:
    """Half of the failures are found in the source, half are the target's."""
    source, sound, broken = databases("onboarding"), databases("maintenance"), databases("maintenance")
    await generate_fleet(
        source, FleetSpec(seed=8, vessels=vessels, equipment=3, exact=True, parts=1, documents=1)
    )
    without = await migrated(source, sound, LIMIT * 5)
    assert without.status == 0, sentences([without])
    assert without.vessels["done"] == vessels

    for statement in (CHOSEN, NAMED, NAMELESS):
        await execute(source, statement)
    await execute(broken, REFUSED)
    ended = await migrated(source, broken, LIMIT * 5)
    assert ended.status == 1, sentences([ended])
    half = vessels // 2
    assert ended.vessels == {
        "selected": vessels, "done": half, "skipped": 0, "failed": half, "remaining": 0,
    }  # fmt: skip
    failures = ended.document["failures"]
    causes = {failure["vessel_id"]: failure["error"] for failure in failures}
    assert len(causes) == len(failures) == half
    assert sum("house_rule" in cause for cause in causes.values()) == half // 2
    assert sum("equipment.name_required" in cause for cause in causes.values()) == half // 2

    found = await marks(broken)
    assert {v for v, (state, _) in found.of.items() if state == "failed"} == causes.keys()
    assert len(found.of_run(ended.document["run_id"], "migrated")) == half
    assert ended.document["verification"]["difference_count"] == 0
    assert await left_behind(source, broken) == []
    assert ended.document["peak_memory_bytes"] < without.document["peak_memory_bytes"] * RATIO
