"""What a sync without changes costs doesn't depend on how many vessels there are."""

from __future__ import annotations

from bulkmig import Selection, migrate
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import settings
from tests.support.fleets import Fleets
from tests.support.servers import Databases
from tests.sync.statements import Statements, counted

MOST = {"source": 20, "target": 80}  # statements of one sync, with those that look at both ends before it
ALL = Selection(all=True)


async def _statements(fleets: Fleets, databases: Databases, vessels: int) -> Statements:
    spec = FleetSpec(seed=3, vessels=vessels, companies=2, equipment=4, parts=1, documents=1)
    origin = await fleets(spec)
    config = settings(origin, databases("maintenance"))
    await migrate(config, ALL)
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
