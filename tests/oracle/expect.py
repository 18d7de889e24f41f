"""What a migration into a PostgreSQL target ends in: a second, row-by-row statement of the mapping rules.

It shares no code with the package, and is slow on purpose: one dict for a row, one branch for a rule.

    source.py, target.py   what is read: every source column as text; the target before, and its catalogue
    jsontext.py            JSON with exact numbers    moments.py   dates and times    text.py   white space
    rules.py               every finding's code, severity and field; what quarantines, what counts as a loss
    draft.py               one source row on its way into the target's columns
    company.py, …          one entity each; location.py gives paths, qr.py the QR codes
    expect.py, fate.py     which rows arrive
    contract.py            the target's tables
    compare.py, units.py, matching.py, ids.py, tie.py   the expectation against a target

It states one run over a source that doesn't change, into a target to which bulkmig has not written before.
Several runs, one after the other, end in the tables that one run over all their vessels ends in.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from tests.oracle import company, cross_reference, document, equipment, location, quality_score, user, vessel
from tests.oracle import critical_part as part
from tests.oracle.contract import KEYS
from tests.oracle.draft import Cell, Draft, Row, World
from tests.oracle.fate import Fleet, OnError, Vessel
from tests.oracle.qr import qr_codes
from tests.oracle.rules import FIELDS, LOSSY, Finding
from tests.oracle.source import Source, SourceRow, identity, required
from tests.oracle.target import Target

__all__ = ["ALL", "FIELDS", "LOSSY", "Expectation", "approved", "expect"]

ALL: Literal["ALL"] = "ALL"


@dataclass
class Expectation:
    """What a run leaves behind.

    Ids of new rows are `Ref`s; rows that were adopted, and the portal's own, have their real ids.
    """

    tables: dict[str, list[Row]]
    findings: set[Finding]
    quarantined: dict[tuple[str, str], set[str]]
    pending: set[str]
    done_vessels: set[str]
    failed_vessels: set[str]
    quarantined_vessels: set[str]
    lossiness: Counter[str]
    stats: dict[str, int]

    def by_code(self) -> Counter[str]:
        """How often each code was found."""
        return Counter(finding.code for finding in self.findings)


def approved(source: Source) -> set[str]:
    """The vessels of --all."""
    return {identity(row) for row in source.vessels if row["onboarding_status"] == "APPROVED"}


def expect(
    source: Source,
    target_before: Target,
    selection: Collection[str] | Literal["ALL"] = ALL,
    on_error: OnError = "fail",
    *,
    all_selected: bool | None = None,
    year: int | None = None,
) -> Expectation:
    """The outcome of a migration of these vessels, the rest of the fleet going on after a failure.

    `all_selected` says that the selection was given as --all; `year` is the current one in UTC.
    """
    if year is None:
        year = datetime.datetime.now(datetime.UTC).year
    everything = all_selected if all_selected is not None else selection == ALL
    chosen = approved(source) if isinstance(selection, str) else set(selection)
    fleet = Fleet(World(source, target_before, year), on_error)
    _companies_and_users(fleet, chosen)
    _vessels(fleet, chosen)
    if everything:
        _parts_of_nothing(fleet)
    fleet.decide()
    findings = fleet.world.findings.all()
    return Expectation(
        tables=_tables(target_before, fleet.arriving()),
        findings=findings,
        quarantined=fleet.quarantined,
        pending=fleet.pending,
        done_vessels=fleet.with_fate("done"),
        failed_vessels=fleet.with_fate("failed"),
        quarantined_vessels=fleet.with_fate("quarantined"),
        lossiness=Counter(finding.code for finding in findings if finding.code in LOSSY),
        stats=_stats(source, chosen),
    )


def _companies_and_users(fleet: Fleet, chosen: Collection[str]) -> None:
    """The companies of all selected vessels and all their users."""
    world = fleet.world
    company_ids = {required(row, "company_id") for row in world.source.vessels if identity(row) in chosen}
    slugs = company.slugs(world)
    for row in world.source.companies:
        if identity(row) in company_ids:
            fleet.companies.append(company.draft(world, row, slugs[identity(row)]))
    winner_of = user.winners(world)
    for row in world.source.users:
        company_id = required(row, "company_id")
        if company_id in company_ids:
            made = user.draft(world, row)
            user.settle(made, winner_of, company_is_written=fleet.company_is_sound(company_id))
            fleet.users.append(made)


def _vessels(fleet: Fleet, chosen: Collection[str]) -> None:
    """The selected vessels and everything that belongs to them."""
    world, source = fleet.world, fleet.world.source
    locations = location.index(world)
    codes = qr_codes(world)
    for row in source.vessels:
        if identity(row) in chosen:
            made = Vessel(vessel.draft(world, row))
            fleet.vessels[identity(row)] = made
            location.find(world, locations, identity(row))
            for machine in _of_vessel(source.equipment, row):
                made.equipment.append(equipment.draft(world, machine, locations, codes[identity(machine)]))
            equipment.find_duplicates(world, identity(row))
    for row in source.vessels:
        if identity(row) in chosen:
            _what_hangs_on_it(fleet, fleet.vessels[identity(row)])


def _what_hangs_on_it(fleet: Fleet, made: Vessel) -> None:
    """Parts, documents, scores and references of one vessel."""
    world, source, row, users = fleet.world, fleet.world.source, made.own.source, fleet.users_written()
    for part_row in source.critical_parts:
        if fleet.vessel_of_equipment.get(required(part_row, "equipment_id")) == identity(row):
            made.parts.append(part.draft(world, part_row))
            if fleet.is_lost(required(part_row, "equipment_id")):
                made.parts[-1].note("part.orphaned")
    for document_row in _of_vessel(source.documents, row):
        has_equipment = _has_equipment(fleet, document_row)
        made.documents.append(document.draft(world, document_row, has_equipment=has_equipment))
    for score_row in _of_vessel(source.quality_scores, row):
        has_equipment = _has_equipment(fleet, score_row)
        has_assessor = score_row["assessed_by"] in users
        made.scores.append(
            quality_score.draft(world, score_row, has_equipment=has_equipment, has_assessor=has_assessor)
        )
    for reference_row in _of_vessel(source.cross_references, row):
        made.references.append(cross_reference.draft(world, reference_row))


def _of_vessel(rows: list[SourceRow], vessel_row: SourceRow) -> list[SourceRow]:
    return [row for row in rows if row["vessel_id"] == vessel_row["id"]]


def _has_equipment(fleet: Fleet, row: SourceRow) -> bool:
    """Whether the equipment that the row names exists, on the row's vessel, and isn't quarantined."""
    equipment_id = row["equipment_id"]
    if equipment_id is None or fleet.is_lost(equipment_id):
        return False
    return fleet.vessel_of_equipment.get(equipment_id) == row["vessel_id"]


def _parts_of_nothing(fleet: Fleet) -> None:
    """Parts whose equipment doesn't exist belong to no vessel; --all finds them."""
    for row in fleet.world.source.critical_parts:
        if required(row, "equipment_id") not in fleet.vessel_of_equipment:
            fleet.world.findings.note("part.orphaned", "critical_part", identity(row))
            fleet.quarantined["critical_part", identity(row)] = {"part.orphaned"}


def _tables(before: Target, arriving: list[Draft]) -> dict[str, list[Row]]:
    """The rows before, with those that arrive added, or put in the place of those that they adopt."""
    tables: dict[str, dict[tuple[Cell, ...], Row]] = {}
    for table, rows in before.tables.items():
        tables[table] = {tuple(row[column] for column in KEYS[table]): dict(row) for row in rows}
    for made in arriving:
        for table, new in made.rows.items():
            tables[table][tuple(new[column] for column in KEYS[table])] = new
    return {table: list(rows.values()) for table, rows in tables.items()}


def _stats(source: Source, chosen: Collection[str]) -> dict[str, int]:
    machines = [row for row in source.equipment if row["vessel_id"] in chosen]
    return {
        "total_equipment": len(machines),
        "equipment_without_location": sum(row["location_id"] is None for row in machines),
        "critical_equipment": sum(row["criticality"] == "CRITICAL" for row in machines),
    }
