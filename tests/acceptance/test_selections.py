"""Parts of a fleet, chosen in every way there is, and a fleet in several runs in whatever order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import asyncpg
import pytest

from bulkmig import Selection, Settings, UsageError, migrate, sync, verify
from bulkmig.generate import FleetSpec, generate_portal
from bulkmig.selection import resolve
from tests.oracle.compare import compare
from tests.oracle.draft import Cell, Ref
from tests.oracle.expect import Expectation, expect
from tests.oracle.target import read_target
from tests.support.fleets import Fleets, Origin
from tests.support.outcome import differences

SPEC = FleetSpec(seed=5, vessels=6, equipment=25, parts=1, documents=1, nasty=0.3, least=1, approved=0.7)
CLEAN = FleetSpec(seed=6, vessels=9, equipment=15, cross_references=60, companies=3, approved=0.8)


def settings(origin: Origin, target: str) -> Settings:
    return Settings(source=origin.url, target=target, on_error="quarantine", continue_on_error=True)


async def waiting(url: str) -> set[str]:
    """The source ids of rows that wait for other vessels."""
    connection = await asyncpg.connect(url)
    try:
        return {row[0] for row in await connection.fetch("SELECT source_id::text FROM bulkmig.pending")}
    finally:
        await connection.close()


@pytest.mark.parametrize("by", ["id", "imo", "company_code", "company_id", "unapproved"])
async def test_a_selection_brings_its_vessels_and_their_companies_and_nothing_else(
    fleets: Fleets, maintenance_url: str, by: str
) -> None:
    origin = await fleets(SPEC)
    vessels = [row for row in origin.rows.vessels if row["id"] in origin.approved]
    some = vessels[::3]
    company = next(row for row in origin.rows.companies if row["id"] == some[0]["company_id"])
    of_company = {row["id"] or "" for row in vessels if row["company_id"] == company["id"]}
    hidden = [row["id"] or "" for row in origin.rows.vessels if row["onboarding_status"] == "REJECTED"]
    with_imo = [row for row in some if row["imo_number"]]
    selection, chosen = {
        "id": (Selection(vessels=tuple(row["id"] or "" for row in some)), {row["id"] or "" for row in some}),
        "imo": (
            Selection(imo=tuple(row["imo_number"] or "" for row in with_imo)),
            {row["id"] or "" for row in with_imo},
        ),
        "company_code": (Selection(company=(company["code"] or "",)), of_company),
        "company_id": (Selection(company=((company["id"] or "").upper(),)), of_company),
        "unapproved": (Selection(vessels=tuple(hidden), allow_unapproved=True), set(hidden)),
    }[by]
    assert chosen
    expected = expect(
        origin.rows, await read_target(maintenance_url), chosen, "quarantine", all_selected=False
    )
    report = await migrate(settings(origin, maintenance_url), selection)
    assert await differences(expected, origin.rows, report, maintenance_url) == []


async def test_a_company_is_known_by_its_code_also_where_that_reads_like_an_id(
    fleets: Fleets,
) -> None:
    origin = await fleets(CLEAN, fresh=True)
    code = "0123456789ABCDEF0123456789ABCDEF"
    connection = await asyncpg.connect(origin.url)
    try:
        company = origin.rows.vessels[0]["company_id"]
        await connection.execute("UPDATE companies SET code = $1 WHERE id = $2::text::uuid", code, company)
        chosen = await resolve(connection, Selection(company=(code,)))
    finally:
        await connection.close()
    of_company = {row["id"] for row in origin.rows.vessels if row["company_id"] == company}
    assert {vessel.id for vessel in chosen} == of_company & {*origin.approved}
    assert chosen


def forget_assessors_to_come(expected: Expectation, origin: Origin, parts: Iterable[list[str]]) -> None:
    """Scores whose assessor's company comes with a later run only; synchronisation brings him in."""
    company_of = {row["id"]: row["company_id"] for row in origin.rows.vessels}
    company_of_user = {row["id"]: row["company_id"] for row in origin.rows.users}
    scores = {row["id"]: row for row in origin.rows.quality_scores}
    there: set[str | None] = set()
    late: set[Cell] = set()
    for part in parts:
        there |= {company_of[vessel] for vessel in part}
        late |= {
            Ref("quality_score", id_ or "")
            for id_, row in scores.items()
            if row["vessel_id"] in part and company_of_user.get(row["assessed_by"]) not in there
        }
    for row in expected.tables["quality_scores"]:
        if row["id"] in late:
            row["assessed_by"] = None


@pytest.mark.parametrize("portal", [False, True], ids=["empty", "with-rows"])
@pytest.mark.parametrize("order", [0, pytest.param(1, marks=pytest.mark.long)])
async def test_several_runs_in_any_order_end_as_one_run_over_all_of_it(
    fleets: Fleets, maintenance_url: str, order: int, portal: bool
) -> None:
    origin = await fleets(replace(SPEC, approved=1.0))
    if portal:
        await generate_portal(maintenance_url, origin.url, origin.spec)
    expected = expect(origin.rows, await read_target(maintenance_url), on_error="quarantine")
    vessels = origin.approved
    Random(order).shuffle(vessels)
    third = len(vessels) // 3
    parts = vessels[:third], vessels[third : 2 * third], vessels[2 * third :]
    for part in parts:
        report = await migrate(settings(origin, maintenance_url), Selection(vessels=tuple(part)))
        assert report.verified.differences == []
    forget_assessors_to_come(expected, origin, parts)
    assert await compare(expected, maintenance_url) == []
    assert await waiting(maintenance_url) == expected.pending


@pytest.mark.parametrize("order", ["up", pytest.param("down", marks=pytest.mark.long), "apart"])
async def test_references_between_vessels_arrive_with_the_later_of_their_ends(
    fleets: Fleets, maintenance_url: str, order: str
) -> None:
    origin = await fleets(CLEAN)
    vessels = origin.approved
    machines = {row["id"]: row["vessel_id"] for row in origin.rows.equipment}
    references = {row["id"]: row for row in origin.rows.cross_references if row["vessel_id"] in vessels}
    between = {
        id_: {machines[row["source_equipment_id"]], machines[row["target_equipment_id"]]}
        for id_, row in references.items()
    }
    steps = {"up": vessels, "down": vessels[::-1], "apart": vessels[::2] + vessels[1::2]}[order]
    expected = expect(origin.rows, await read_target(maintenance_url), on_error="quarantine")
    waited = 0
    for number, vessel in enumerate(steps):
        report = await migrate(settings(origin, maintenance_url), Selection(vessels=(vessel,)))
        there = set(steps[: number + 1])
        due = {i for i, row in references.items() if row["vessel_id"] in there and not between[i] <= there}
        assert await waiting(maintenance_url) == due
        assert (report.status, report.pending) == ("completed", len(due))
        waited = max(waited, len(due))
    assert waited > 0
    assert await compare(expected, maintenance_url) == []


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(vessels=("00000000-0000-4000-8000-000000000000",)), "no vessel 00000000"),
        (Selection(imo=("0000000",)), "no vessel 0000000"),
        (Selection(company=("NOBODY",)), "no company NOBODY"),
    ],
)
async def test_a_name_that_names_nothing_is_refused(
    fleets: Fleets, maintenance_url: str, selection: Selection, message: str
) -> None:
    origin = await fleets(CLEAN)
    with pytest.raises(UsageError, match=message):
        await migrate(settings(origin, maintenance_url), selection)


async def test_a_vessel_that_is_named_but_not_approved_is_refused(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(CLEAN)
    hidden = next(row for row in origin.rows.vessels if row["onboarding_status"] != "APPROVED")
    with pytest.raises(UsageError, match=f"not APPROVED: {hidden['id']}"):
        await migrate(settings(origin, maintenance_url), Selection(vessels=(hidden["id"] or "",)))


@pytest.mark.files_too
async def test_a_fleet_of_no_vessel_is_migrated_synchronised_and_verified(
    onboarding_url: str, maintenance_url: str
) -> None:
    config = Settings(source=onboarding_url, target=maintenance_url)
    for command in (migrate, sync, verify):
        report = await command(config, Selection(all=True))
        assert (report.status, report.selected, report.verified.difference_count) == ("completed", 0, 0)
