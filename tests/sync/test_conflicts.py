"""What becomes of rows that both sides changed, under each strategy and for each kind of field.

The table in docs/conflicts.md says it for people; this reads that table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from bulkmig import Selection, Settings, UsageError, migrate, rollback, verify
from bulkmig.generate import FleetSpec
from bulkmig.sync.resolve import listed, resolve
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, settings, table
from tests.support.fleets import Fleets

SPEC = FleetSpec(seed=9, vessels=1, companies=1, users_per_company=2, equipment=16)
ALL = Selection(all=True)
PAGE = Path(__file__).parents[2] / "docs" / "conflicts.md"
STRATEGIES = ("source_wins", "target_wins", "merge", "manual")


class Pair:
    """One equipment of both sides."""

    def __init__(self, config: Settings, source_id: str, target_id: str) -> None:
        self.config, self.source_id, self.target_id = config, source_id, target_id

    async def source(self, change: str) -> None:
        await execute(
            self.config.source,
            f"UPDATE equipment SET {change}, updated_at = '2031-01-01' WHERE id = '{self.source_id}'",
        )

    async def portal(self, change: str) -> None:
        await execute(
            self.config.target,
            f"UPDATE equipment SET {change}, updated_at = '2030-01-01' WHERE id = '{self.target_id}'",
        )

    async def value(self, column: str) -> Any:
        return await fetchval(
            self.config.target,
            f"SELECT e.{column}::text FROM equipment e WHERE id = '{self.target_id}'",
        )

    async def sync(self, strategy: str) -> Any:
        """Syncs under a strategy, and sees that all is as it should be."""
        config = msgspec.structs.replace(self.config, conflict=strategy, allow_deletions=True)
        report = await sync(config, ALL)
        assert report.failures == [], report.failures
        assert report.verified.differences == []
        assert report.status == "completed"
        assert (await verify(config, ALL)).verified.difference_count == 0
        return report


def expected() -> list[tuple[str, str, str, dict[str, str]]]:
    """(field, source, portal, strategy -> result) of each line of the page's table."""
    lines = re.findall(r"^\| `(\w+)` \|(.+)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    found = []
    for field, rest in lines:
        source, portal, *results = (cell.strip().strip("`") for cell in rest.split("|"))
        found.append((field, source, portal, dict(zip(STRATEGIES, results, strict=True))))
    return found


def literal(value: str) -> str:
    return "NULL" if value == "NULL" else f"'{value}'"


# The page tells the target's values; these are the source's.
_SOURCE = {
    ("status", "operational"): "ACTIVE", ("status", "maintenance"): "DRAFT",
    ("status", "decommissioned"): "REMOVED",
}  # fmt: skip


@pytest.fixture
async def pairs(fleets: Fleets, maintenance_url: str) -> list[Pair]:
    """Equipment as the page's base has it, one for each line of its table, on both sides."""
    origin = await fleets.changing(
        SPEC,
        "UPDATE equipment SET name = 'base', status = 'ACTIVE', installation_date = '2020-01-01',"
        " manufacturer = 'base', model = NULL",
    )
    config = settings(origin, maintenance_url)
    await fleets.migrate(origin, config)
    both = "SELECT original_id::text, equipment_id::text FROM equipment_metadata ORDER BY original_id"
    found = await table(maintenance_url, both)
    assert len(found) >= len(expected())
    return [Pair(config, *ids) for ids in found]


@pytest.fixture
async def pair(pairs: list[Pair]) -> Pair:
    return pairs[0]


@pytest.mark.files_too
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_the_page_s_table_is_what_happens(pairs: list[Pair], strategy: str) -> None:
    lines = expected()
    assert len(lines) >= 10
    for one, (field, source, portal, _) in zip(pairs, lines, strict=False):
        told = _SOURCE.get((field, source), source)
        await one.source("notes = 'other'" if source == "unchanged" else f"{field} = {literal(told)}")
        mine = f"{field} = {literal(portal)}"
        await one.portal("equipment_type = 'other'" if portal == "unchanged" else mine)
    report = await pairs[0].sync(strategy)
    for one, (field, source, portal, results) in zip(pairs, lines, strict=False):
        wanted = None if results[strategy] == "NULL" else results[strategy]
        assert await one.value(field) == wanted, (field, source, portal)
    assert report.conflicts["open" if strategy == "manual" else strategy] == len(lines)


@pytest.mark.files_too
async def test_a_manual_conflict_stays_open_across_syncs_until_it_is_resolved(pair: Pair) -> None:
    await pair.source("name = 'of the source', manufacturer = 'of the source'")
    await pair.portal("name = 'of the portal', location = 'of the portal'")
    for strategy in ("manual", "source_wins"):
        await pair.sync(strategy)
        assert await pair.value("name") == "of the portal"
    (conflict,) = await listed(pair.config, "open")
    assert conflict["kind"] == "both_changed"
    assert conflict["fields"]["name"] == {
        "base": "base", "source": "of the source", "target": "of the portal", "result": None,
    }  # fmt: skip
    await resolve(pair.config, [conflict["id"]], take="merge", fields={"name": "target"})
    assert await pair.value("name") == "of the portal"
    assert await pair.value("manufacturer") == "of the source"
    assert await pair.value("location") == "of the portal"
    assert await listed(pair.config, "open") == []
    again = await pair.sync("source_wins")
    assert (again.inserted + again.updated + again.deleted).total() == 0


async def test_what_the_source_does_while_a_conflict_is_open_comes_after_the_decision(pair: Pair) -> None:
    await pair.source("name = 'first'")
    await pair.portal("name = 'mine'")
    await pair.sync("manual")
    await pair.source("name = 'second'")
    assert (await pair.sync("manual")).conflicts["open"] == 1
    (conflict,) = await listed(pair.config, "open")
    await resolve(pair.config, [conflict["id"]], take="source")
    await pair.sync("source_wins")
    assert await pair.value("name") == "second"


@pytest.mark.files_too
async def test_every_run_tells_how_many_conflicts_are_open_when_it_ends(pairs: list[Pair]) -> None:
    config = pairs[0].config
    for one in pairs[:2]:
        await one.source("name = 'source'")
        await one.portal("name = 'portal'")
    assert (await pairs[0].sync("manual")).conflicts["open"] == 2
    assert (await verify(config, ALL)).conflicts["open"] == 2
    first, _ = await listed(config, "open")
    assert (await resolve(config, [first["id"]], take="source")).conflicts == {"source_wins": 1, "open": 1}
    assert (await migrate(config, ALL)).conflicts["open"] == 1
    back = await rollback(config, vessel=first["vessel_id"])
    assert (back.exit_status, back.conflicts["open"]) == (0, 2)


async def test_a_decision_that_is_interrupted_is_none_and_its_run_was_stopped(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.source("name = 'source'")
    await pair.portal("name = 'portal'")
    await pair.sync("manual")
    (conflict,) = await listed(pair.config, "open")

    async def interrupted(*_: object) -> None:
        scope.cancel()
        await anyio.lowlevel.checkpoint()

    monkeypatch.setitem(resolve.__globals__, "_carry_out", interrupted)
    with anyio.CancelScope() as scope:
        await resolve(pair.config, [conflict["id"]], take="source")
    assert scope.cancelled_caught
    assert len(await listed(pair.config, "open")) == 1
    assert await pair.value("name") == "portal"
    last = "SELECT status FROM bulkmig.runs WHERE command = 'conflicts resolve'"
    assert await fetchval(pair.config.target, last) == "stopped"


@pytest.mark.parametrize("ids", [["x"], ["00000000-0000-4000-8000-000000000000"]])
async def test_what_is_no_open_conflict_can_t_be_resolved(pair: Pair, ids: list[str]) -> None:
    with pytest.raises(UsageError, match="not open"):
        await resolve(pair.config, ids, take="source")


async def test_a_field_that_there_is_not_is_wrong_usage_and_begins_no_run(pair: Pair) -> None:
    await pair.source("name = 'source'")
    await pair.portal("name = 'portal'")
    await pair.sync("manual")
    (conflict,) = await listed(pair.config, "open")
    with pytest.raises(UsageError, match="no field nope"):
        await resolve(pair.config, [conflict["id"]], fields={"nope": "source"})
    runs = "SELECT count(*) FROM bulkmig.runs WHERE command = 'conflicts resolve'"
    assert await fetchval(pair.config.target, runs) == 0


async def test_what_names_no_side_decides_nothing(pair: Pair) -> None:
    await pair.source("name = 'source'")
    await pair.portal("name = 'portal'")
    await pair.sync("manual")
    (conflict,) = await listed(pair.config, "open")
    wrong: tuple[dict[str, Any], ...] = ({}, {"take": "both"}, {"fields": {"name": "portal"}})
    for decision in wrong:
        with pytest.raises(UsageError, match=r"nothing is decided|is no side"):
            await resolve(pair.config, [conflict["id"]], **decision)
    assert [one["id"] for one in await listed(pair.config, "open")] == [conflict["id"]]


async def test_a_status_that_no_conflict_has_is_not_an_empty_list(pair: Pair) -> None:
    status: Any = "nonsense"
    with pytest.raises(UsageError, match="'nonsense' is no status"):
        await listed(pair.config, status)


@pytest.mark.parametrize("way", ["merge", "field"])
async def test_a_document_that_both_sides_put_elsewhere_is_in_one_place(pairs: list[Pair], way: str) -> None:
    """A value beats NULL: where it has equipment, it is not listed for the vessel as well."""
    config, other = pairs[0].config, pairs[1].target_id
    kept = "(SELECT min(id::text)::uuid FROM documents WHERE equipment_id IS NOT NULL)"
    await execute(config.source, f"DELETE FROM documents WHERE id <> {kept}")
    await pairs[0].sync("source_wins")
    await execute(config.source, "UPDATE documents SET equipment_id = NULL")
    await execute(config.target, f"UPDATE equipment_documents SET equipment_id = '{other}'")
    await pairs[0].sync("merge" if way == "merge" else "manual")
    for conflict in await listed(config, "open"):
        await resolve(config, [conflict["id"]], take="source", fields={"equipment_id": "target"})
    assert str(await fetchval(config.target, "SELECT equipment_id FROM equipment_documents")) == other
    assert await fetchval(config.target, "SELECT count(*) FROM vessel_documents") == 0


async def test_a_decision_that_is_rolled_back_leaves_the_conflict_as_it_was(pair: Pair) -> None:
    await pair.source("name = 'source', manufacturer = 'source'")
    await pair.portal("name = 'target', location = 'target'")
    await pair.sync("manual")
    before = await listed(pair.config)
    report = await resolve(pair.config, [before[0]["id"]], take="source")
    assert await listed(pair.config, "open") == []
    assert (await rollback(pair.config, run=report.run_id)).status == "completed"
    assert await listed(pair.config) == before


@pytest.mark.parametrize("take", ["source", "target"])
async def test_a_resolution_takes_a_whole_side(pair: Pair, take: Any) -> None:
    await pair.source("name = 'source', manufacturer = 'source'")
    await pair.portal("name = 'target', location = 'target'")
    await pair.sync("manual")
    (conflict,) = await listed(pair.config, "open")
    await resolve(pair.config, [conflict["id"]], take=take)
    assert await pair.value("name") == take
    assert (await pair.value("manufacturer") == "source") == (take == "source")
    assert (await pair.sync("source_wins")).updated.total() == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_deleted_in_the_source_and_changed_by_the_portal(pair: Pair, strategy: str) -> None:
    await execute(
        pair.config.source,
        f"DELETE FROM quality_scores WHERE equipment_id = '{pair.source_id}';"
        f"DELETE FROM critical_parts WHERE equipment_id = '{pair.source_id}';"
        "DELETE FROM cross_references"
        f" WHERE '{pair.source_id}' IN (source_equipment_id, target_equipment_id);"
        f"DELETE FROM documents WHERE equipment_id = '{pair.source_id}';"
        f"DELETE FROM equipment WHERE id = '{pair.source_id}'",
    )
    await pair.portal("name = 'of the portal'")
    report = await pair.sync(strategy)
    kept = strategy in ("target_wins", "manual")
    assert await pair.value("name") == ("of the portal" if kept else None)
    assert report.conflicts["open"] == (strategy == "manual")
    assert (await pair.sync("source_wins")).deleted["equipment"] == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_deleted_by_the_portal_and_changed_in_the_source(pair: Pair, strategy: str) -> None:
    await execute(pair.config.target, f"DELETE FROM equipment WHERE id = '{pair.target_id}'")
    await pair.source("name = 'anew'")
    await pair.sync(strategy)
    anew = strategy in ("source_wins", "merge")
    assert await pair.value("name") == ("anew" if anew else None)


async def test_deleted_by_the_portal_and_unchanged_in_the_source_stays_deleted(pair: Pair) -> None:
    await execute(pair.config.target, f"DELETE FROM equipment WHERE id = '{pair.target_id}'")
    await execute(pair.config.source, f"UPDATE equipment SET notes = 'x' WHERE id <> '{pair.source_id}'")
    await pair.sync("source_wins")
    assert await pair.value("name") is None


async def test_a_row_that_only_the_portal_changed_is_not_touched(pair: Pair) -> None:
    await pair.portal("name = 'of the portal'")
    await execute(pair.config.source, f"UPDATE equipment SET notes = 'x' WHERE id <> '{pair.source_id}'")
    report = await pair.sync("source_wins")
    assert await pair.value("name") == "of the portal"
    assert report.conflicts.total() == 0


async def test_a_part_of_equipment_that_the_portal_has_deleted_says_what_is_missing_and_what_to_do(
    pair: Pair,
) -> None:
    """Decided together, both are there again."""
    part = await fetchval(
        pair.config.source,
        "UPDATE critical_parts SET name = 'source', updated_at = '2031-01-01' WHERE id ="
        " (SELECT min(id::text)::uuid FROM critical_parts WHERE equipment_id = $1::text::uuid)"
        " RETURNING id::text",
        pair.source_id,
    )
    await pair.source("name = 'source'")
    await execute(pair.config.target, f"DELETE FROM equipment WHERE id = '{pair.target_id}'")
    await pair.sync("manual")
    found = await listed(pair.config, "open")
    (of_part,) = [one for one in found if one["source_id"] == part]
    report = await resolve(pair.config, [of_part["id"]], take="source")
    assert (report.exit_status, report.done, report.remaining) == (1, 0, 1)
    (failure,) = report.failures
    (of_equipment,) = [one for one in found if one["entity"] == "equipment"]
    assert failure.error.startswith(
        f"vessel {of_part['vessel_id']}: critical_part {part}: equipment_id names an equipment that isn't in"
    )
    assert of_equipment["id"] in failure.error
    both = await resolve(pair.config, [of_part["id"], of_equipment["id"]], take="source")
    assert (both.exit_status, both.done) == (0, 2)
    assert await pair.value("name") == "source"


async def test_a_unique_value_that_another_row_has_by_now_is_named(pair: Pair) -> None:
    vessel = await fetchval(pair.config.source, "SELECT id::text FROM vessels")
    await execute(
        pair.config.source, "UPDATE vessels SET imo_number = 'IMO 9074729', updated_at = '2031-01-01'"
    )
    await execute(pair.config.target, "UPDATE vessels SET name = 'portal', updated_at = '2030-01-01'")
    await pair.sync("manual")
    other = await fetchval(
        pair.config.target,
        "INSERT INTO vessels (id, company_id, name, imo_number)"
        " SELECT gen_random_uuid(), company_id, 'other', 'IMO 9074729' FROM vessels RETURNING id::text",
    )
    (conflict,) = await listed(pair.config, "open")
    report = await resolve(pair.config, [conflict["id"]], take="source")
    assert report.exit_status == 1
    (failure,) = report.failures
    assert f"vessel {vessel}: vessel {vessel}: imo_number is unique" in failure.error
    assert other in failure.error
    assert "9074729" not in failure.error
    done = await resolve(pair.config, [conflict["id"]], take="source", fields={"imo_number": "target"})
    assert (done.exit_status, done.failures) == (0, [])
