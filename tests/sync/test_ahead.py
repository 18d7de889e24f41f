"""The look at all vessels' rows that begins ahead of its turn: it finds what the look in its turn would."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bulkmig import Report, Selection, migrate
from bulkmig.generate import FleetSpec
from bulkmig.postgres.session import connect
from bulkmig.sync import ahead
from bulkmig.sync.ahead import Ahead
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, settings
from tests.support.fleets import Fleets
from tests.support.servers import Databases
from tests.sync.statements import Statements, counted

ALL = Selection(all=True)
SPEC = FleetSpec(seed=4, vessels=3, companies=2, equipment=5, parts=1, documents=1)
SUMS = "uuid_hash_extended"  # what only the look at all rows computes


async def _synced(fleets: Fleets, databases: Databases) -> tuple[Report, Statements]:
    """A sync after one row has changed, and what was sent."""
    origin = await fleets(SPEC, fresh=True)
    config = settings(origin, databases("maintenance"))
    await migrate(config, ALL)
    await execute(
        origin.url,
        "UPDATE equipment SET name = 'changed' WHERE id = (SELECT min(e.id::text)::uuid FROM equipment e"
        " JOIN vessels v ON v.id = vessel_id WHERE v.onboarding_status = 'APPROVED')",
    )
    with counted() as sent:
        report = await sync(config, ALL)
    assert (report.status, report.verified.differences) == ("completed", [])
    return report, sent


def _looks(sent: Statements) -> int:
    return sum(SUMS in statement for statement in sent["source"])


@pytest.mark.parametrize("ahead_from", [1, 100])
async def test_a_look_ahead_finds_what_the_look_in_its_turn_does_and_replaces_it(
    fleets: Fleets, databases: Databases, monkeypatch: pytest.MonkeyPatch, ahead_from: int
) -> None:
    monkeypatch.setattr(ahead, "WORTH", ahead_from)
    opened: list[str] = []

    async def noted(*given: Any, **named: Any) -> Any:
        opened.append(named["role"])
        return await connect(*given, **named)

    monkeypatch.setattr(ahead, "connect", noted)
    report, sent = await _synced(fleets, databases)
    assert report.updated["equipment"] == 1
    assert _looks(sent) == 1
    assert opened == (["source"] if ahead_from == 1 else [])


async def test_where_the_look_ahead_fails_there_is_one_in_its_turn(
    fleets: Fleets, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WORTH", 1)

    async def refused(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(ahead, "connect", refused)
    report, sent = await _synced(fleets, databases)
    assert report.updated["equipment"] == 1
    assert _looks(sent) == 1


async def test_what_was_found_in_one_snapshot_is_not_taken_for_that_of_another() -> None:
    class Here:
        snapshot = "of the first session"

    begun = Ahead(Here(), ["vessel"])  # type: ignore[arg-type]  # no more of it is looked at
    with anyio.fail_after(10):
        await begun.look()  # one vessel: it isn't worth it
        assert await begun.found("of the first session") is None
        begun._found = object()  # type: ignore[assignment]
        assert await begun.found("of the first session") is not None
        assert await begun.found("of another") is None
