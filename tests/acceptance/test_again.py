"""What must change nothing: a second migration, and commands that only look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import msgspec
import pytest

from bulkmig import Report, Selection, Settings, migrate, plan, validate
from bulkmig.config import OnError
from bulkmig.generate import FleetSpec, generate_portal
from tests.support.dumps import apart, dump, objects
from tests.support.fleets import Fleets

SPEC = FleetSpec(seed=9, vessels=4, equipment=25, parts=1, documents=1, nasty=0.3, least=1)
SOUND = replace(SPEC, errors=0.0)
ALL = Selection(all=True)
MODES: tuple[OnError, ...] = ("fail", "quarantine")
LEDGER = {
    "quarantine": "entity, source_id, vessel_id, code, message, row, since",
    "pending": "*",
    "base": "*",
    "identities": "*",
    "slugs": "*",
    "qr_codes": "*",
}

Command = Callable[[Settings, Selection], Awaitable[Report]]


def settings(source: str, target: str, **others: Any) -> Settings:
    return Settings(source=source, target=target, continue_on_error=True, **others)


async def dry_run(settings: Settings, selection: Selection) -> Report:
    return await migrate(msgspec.structs.replace(settings, dry_run=True), selection)


async def ledger(url: str) -> dict[str, list[str]]:
    """What the ledger holds, but for the runs themselves."""
    connection = await asyncpg.connect(url)
    try:
        return {
            table: [
                row[0]
                for row in await connection.fetch(
                    f"SELECT t::text FROM (SELECT {columns} FROM bulkmig.{table}) t ORDER BY 1"
                )
            ]
            for table, columns in LEDGER.items()
        }
    finally:
        await connection.close()


async def test_a_second_migration_skips_every_vessel_and_changes_nothing(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SOUND)
    await generate_portal(maintenance_url, origin.url, origin.spec)
    chosen = settings(origin.url, maintenance_url, on_error="quarantine")
    first = await migrate(chosen, ALL)
    rows, recorded = await dump(maintenance_url, schema="public"), await ledger(maintenance_url)
    assert recorded["quarantine"]
    assert recorded["base"]
    second = await migrate(chosen, ALL)
    assert (second.status, second.skipped, second.done, second.failed) == ("completed", first.done, 0, 0)
    assert (+second.inserted, +second.updated) == ({}, {})
    assert apart(rows, await dump(maintenance_url, schema="public")) == []
    assert await ledger(maintenance_url) == recorded


@pytest.mark.parametrize("on_error", MODES)
async def test_vessels_that_were_kept_out_are_tried_again_with_the_same_outcome(
    fleets: Fleets, maintenance_url: str, on_error: OnError
) -> None:
    origin = await fleets(SPEC)
    chosen = settings(origin.url, maintenance_url, on_error=on_error)
    first = await migrate(chosen, ALL)
    rows, recorded = await dump(maintenance_url, schema="public"), await ledger(maintenance_url)
    second = await migrate(chosen, ALL)
    if on_error == "fail":
        assert (second.skipped, second.failed) == (first.done, first.failed)
        assert first.failed > 0
    else:
        assert second.skipped + second.done == first.done
        assert second.done > 0
    assert apart(rows, await dump(maintenance_url, schema="public")) == []
    assert await ledger(maintenance_url) == recorded


@pytest.mark.parametrize("half_done", [False, True], ids=["fresh", "half-done"])
async def test_commands_that_only_look_leave_both_databases_as_they_were(
    fleets: Fleets, maintenance_url: str, half_done: bool
) -> None:
    origin = await fleets(SPEC)
    await generate_portal(maintenance_url, origin.url, origin.spec)
    chosen = settings(origin.url, maintenance_url, on_error="quarantine")
    if half_done:
        await migrate(chosen, Selection(vessels=tuple(origin.approved[::2])))
    before = [(await dump(url), await objects(url)) for url in (origin.url, maintenance_url)]
    assert half_done == any(name.startswith("bulkmig.") for name in before[1][0])
    commands: tuple[Command, ...] = (plan, validate, dry_run)
    for command in commands:
        report = await command(chosen, ALL)
        assert report.done > 0
        after = [(await dump(url), await objects(url)) for url in (origin.url, maintenance_url)]
        for (rows, names), (rows_after, names_after) in zip(before, after, strict=True):
            assert names_after == names
            assert apart(rows, rows_after) == []


def without_references(document: dict[str, Any]) -> dict[str, Any]:
    """The figures of a report that don't depend on other vessels being there."""
    by_code = {code: n for code, n in document["findings"]["by_code"].items() if "cross_ref" not in code}
    rows = {table: n for table, n in document["rows"].items() if table != "cross_references"}
    quarantined = {table: n for table, n in document["quarantined"].items() if table != "cross_references"}
    references = (
        document["rows"]["cross_references"]["inserted"]
        + document["quarantined"].get("cross_references", 0)
        + document["pending"]["cross_references"]
    )
    return {
        "by_code": by_code,
        "rows": rows,
        "quarantined": quarantined,
        "references": references,
        **{key: document[key] for key in ("vessels", "status", "stats", "lossiness", "failures")},
    }


@pytest.mark.parametrize("on_error", MODES)
async def test_plan_and_dry_run_tell_the_figures_of_the_real_run(
    fleets: Fleets, maintenance_url: str, on_error: OnError
) -> None:
    origin = await fleets(SPEC)
    await generate_portal(maintenance_url, origin.url, origin.spec)
    chosen = settings(origin.url, maintenance_url, on_error=on_error, verify=False)
    planned, rehearsed = await plan(chosen, ALL), await dry_run(chosen, ALL)
    document = (await migrate(chosen, ALL)).document()
    real = without_references(document)
    assert real["vessels"]["done"] > 0
    assert without_references(rehearsed.document()) == real
    foretold = planned.document()
    for key in ("rows", "quarantined", "pending"):
        assert foretold[key] == document[key]
    assert foretold["findings"] == document["findings"]
    told = without_references(foretold)
    told["status"] = real["status"]  # a plan also fails for what will be quarantined
    for figures in (told, real):
        figures["failures"] = {failure["vessel_id"] for failure in figures["failures"]}
    assert told == real
