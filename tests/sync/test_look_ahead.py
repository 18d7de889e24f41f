"""The look at all rows that begins ahead of its turn finds what the look in its turn would, in a migration
and in a sync."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bulkmig import Selection, migrate
from bulkmig.fleet import ahead
from bulkmig.fleet.ahead import Ahead
from bulkmig.generate import FleetSpec
from bulkmig.postgres.session import connect
from bulkmig.selection import Vessel
from bulkmig.source.changes import Looked
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, settings
from tests.support.fleets import Fleets
from tests.support.servers import Databases
from tests.sync.statements import Statements, counted

ALL = Selection(all=True)
SPEC = FleetSpec(seed=4, vessels=3, companies=2, equipment=5, parts=1, documents=1)
SUMS = "uuid_hash_extended"  # what only the look at all rows computes


async def _looks_of_a_migration_and_a_sync(fleets: Fleets, databases: Databases) -> list[int]:
    """How often each goes through all rows. The sync finds one that has changed."""
    origin = await fleets(SPEC, fresh=True)
    config = settings(origin, databases("maintenance"))
    with counted() as first:
        await migrate(config, ALL)
    await execute(
        origin.url,
        "UPDATE equipment SET name = 'changed' WHERE id = (SELECT min(e.id::text)::uuid FROM equipment e"
        " JOIN vessels v ON v.id = vessel_id WHERE v.onboarding_status = 'APPROVED')",
    )
    with counted() as then:
        report = await sync(config, ALL)
    assert (report.status, report.verified.differences) == ("completed", [])
    assert report.updated["equipment"] == 1
    return [_looks(first), _looks(then)]


def _looks(sent: Statements) -> int:
    return sum(SUMS in statement for statement in sent["source"])


@pytest.mark.parametrize("worth", [1, 10_000])
async def test_a_look_ahead_finds_what_the_look_in_its_turn_does_and_replaces_it(
    fleets: Fleets, databases: Databases, monkeypatch: pytest.MonkeyPatch, worth: int
) -> None:
    monkeypatch.setattr(ahead, "WORTH", worth)
    opened: list[str] = []

    async def noted(*given: Any, **named: Any) -> Any:
        opened.append(named["role"])
        return await connect(*given, **named)

    monkeypatch.setattr(ahead, "connect", noted)
    assert await _looks_of_a_migration_and_a_sync(fleets, databases) == [1, 1]
    assert opened == (["source", "source"] if worth == 1 else [])


async def test_where_the_look_ahead_fails_there_is_one_in_its_turn(
    fleets: Fleets, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WORTH", 1)

    async def refused(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(ahead, "connect", refused)
    assert await _looks_of_a_migration_and_a_sync(fleets, databases) == [1, 1]


async def test_what_was_found_counts_in_its_snapshot_and_for_the_vessels_looked_at() -> None:
    class Here:
        snapshot = "first"

    vessels = [Vessel(id_, id_, None, "company", 3) for id_ in ("one", "two")]
    begun = Ahead(Here(), vessels)  # type: ignore[arg-type]  # no more of it is looked at
    with anyio.fail_after(10):
        await begun.look()  # so little equipment isn't worth it
        assert await begun.found("first", ["one"]) is None
        begun._found = Looked("", 0, 0, [])
        assert await begun.found("first", ["one"]) is not None
        assert await begun.found("second", ["one"]) is None
        assert await begun.found("first", ["two", "three"]) is None
