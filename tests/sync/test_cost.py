"""What a sync without changes costs doesn't depend on how many vessels there are."""

from __future__ import annotations

from bulkmig import Selection, migrate
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, settings
from tests.support.fleets import Fleets
from tests.support.servers import Databases
from tests.sync.statements import Statements, counted

MOST = {"source": 15, "target": 55}  # statements of one sync, with those that look at both ends before it
ALL = Selection(all=True)


CHANGE = "UPDATE equipment SET model = 'changed', updated_at = now()"


async def _statements(fleets: Fleets, databases: Databases, vessels: int, change: str = "") -> Statements:
    spec = FleetSpec(seed=3, vessels=vessels, companies=2, equipment=4, parts=1, documents=1)
    origin = await fleets(spec, fresh=bool(change))
    config = settings(origin, databases("maintenance"), verify=not change)
    await migrate(config, ALL)
    if change:
        await execute(origin.url, change)
    with counted() as sent:
        report = await sync(config, ALL)
    assert (report.status, report.done) == ("completed", len(origin.approved))
    return sent


async def test_a_sync_without_changes_sends_the_same_statements_for_any_number_of_vessels(
    fleets: Fleets, databases: Databases
) -> None:
    few, many = await _statements(fleets, databases, 5), await _statements(fleets, databases, 40)
    for end, most in MOST.items():
        assert sorted(few[end]) == sorted(many[end])
        assert len(many[end]) <= most


async def test_small_vessels_that_change_are_taken_together_so_that_more_of_them_send_no_more_statements(
    fleets: Fleets, databases: Databases
) -> None:
    few = await _statements(fleets, databases, 3, CHANGE)
    many = await _statements(fleets, databases, 12, CHANGE)
    for end in MOST:
        assert len(few[end]) == len(many[end])
