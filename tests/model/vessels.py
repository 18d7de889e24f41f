"""Vessels and what belongs to them as they are due."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from tests.model.onboarding import Onboarding
from tests.model.run import Due, Run
from tests.model.tables import Unit
from tests.model.three_way import result_of
from tests.oracle import critical_part as part
from tests.oracle import cross_reference, document, equipment, location, quality_score, vessel
from tests.oracle.draft import Cell, Draft, Ref
from tests.oracle.qr import QrCode, qr_codes
from tests.oracle.source import SourceRow, identity, required

HANGING = ("critical_part", "document", "quality_score", "cross_reference")


@dataclass
class Fleet:
    """The vessels of a run: what is due of each, and which fail or are put aside whole. `failed`: those that
    the source has no more among them."""

    due: dict[str, dict[Ref, Due]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    aside: dict[str, frozenset[str]] = field(default_factory=dict)

    def rows(self, entity: str) -> Iterable[Due]:
        """The rows of one entity that may be written."""
        for vessel_id, rows in sorted(self.due.items()):
            if vessel_id not in self.failed and vessel_id not in self.aside:
                yield from (due for ref, due in rows.items() if ref.entity == entity)


def codes(run: Run) -> dict[str, QrCode]:
    """QR codes: those assigned once, and new ones for all others."""
    state = run.state
    run.world.target.tables["equipment"] = [
        {**dict.fromkeys(row, None), "qr_code": str(row["qr_code"])} for row in state.tables.rows("equipment")
    ]
    everything = run.source.equipment
    run.source.equipment = [row for row in everything if identity(row) not in state.qr_codes]
    found = qr_codes(run.world)
    run.source.equipment = everything
    run.world.target.tables["equipment"] = []
    return {**found, **{id_: QrCode(text, collided=False) for id_, text in state.qr_codes.items()}}


def look(run: Run, vessels: Collection[str], sound: Collection[str], there: Collection[str]) -> Fleet:
    """The vessels as they are due. `sound`: companies that are written; `there`: users in the target."""
    fleet, locations, qr = Fleet(), location.index(run.world), codes(run)
    for row in run.source.vessels:
        if identity(row) not in vessels:
            continue
        rows = fleet.due.setdefault(identity(row), {})
        for made in [vessel.draft(run.world, row)] + [
            equipment.draft(run.world, machine, locations, qr[identity(machine)])
            for machine in _on(run.source.equipment, row)
        ]:
            rows[Ref(made.entity, made.source_id)] = run.due(made, identity(row))
    _fates(run, fleet, sound)
    for rows in fleet.due.values():
        for ref, due in rows.items():
            rows[ref] = Due(ref, _with_adopted(run, due.unit), due.vessel, due.codes)
    on = {identity(row): required(row, "vessel_id") for row in run.source.equipment}
    for row in run.source.vessels:
        if identity(row) in vessels:
            for made in _hanging(run, fleet, row, on, there):
                fleet.due[identity(row)][Ref(made.entity, made.source_id)] = run.due(made, identity(row))
    return fleet


def _on(rows: list[SourceRow], vessel_row: SourceRow) -> list[SourceRow]:
    return [row for row in rows if row["vessel_id"] == vessel_row["id"]]


def _with_adopted(run: Run, unit: Unit) -> Unit:
    """The rows with the ids of rows that were adopted since they were made."""
    adopted = run.state.adopted
    return {
        table: {
            column: adopted.get(cell, cell) if isinstance(cell, Ref) else cell for column, cell in row.items()
        }
        for table, row in unit.items()
    }


def _fates(run: Run, fleet: Fleet, sound: Collection[str]) -> None:
    """Which vessels fail or are put aside, and who gets which IMO number; one may follow from another."""
    again = True
    while again:
        again = False
        for vessel_id, rows in fleet.due.items():
            if vessel_id in fleet.failed or vessel_id in fleet.aside:
                continue
            own = Ref("vessel", vessel_id)
            company_id = required(run.onboarding.of["vessels"][vessel_id], "company_id")
            cause = set(rows[own].codes)
            if company_id not in sound:
                cause |= run.errors(Ref("company", company_id)) or {"company"}
                number = rows[own].unit["vessels"]["imo_number"]
                if any(row["imo_number"] == number for row in run.state.tables.rows("vessels")):
                    cause.add("vessel.imo_taken")  # either may be told
            wrong = run.options.on_error == "fail" and any(run.errors(ref) for ref in rows)
            if not cause and not wrong and _imo_taken(run, fleet, rows[own]):
                run.world.findings.note("vessel.imo_taken", "vessel", vessel_id)
                cause.add("vessel.imo_taken")
            if run.options.on_error == "fail" and (cause or wrong):
                fleet.failed |= partners(run, fleet, vessel_id)
                again = True
            elif cause:
                fleet.aside[vessel_id] = frozenset(cause)
                again = True


def partners(run: Run, fleet: Fleet, vessel_id: str) -> set[str]:
    """The vessel, and those that change in one commit with it: between which and it loaded rows move, or a
    reference that the portal has changed ends on equipment that is gone."""
    if not run.is_sync:
        return {vessel_id}
    pairs = _changed_references(run)
    for ref, base in run.state.base.items():
        now = now_on(run.onboarding, ref)
        moves = base.vessel is not None and now is not None and now in fleet.due
        if moves and run.state.open_conflict(ref) is None:  # what waits for a decision stays where it is
            pairs.add((base.vessel or "", now or ""))
    found = {vessel_id}
    while more := {end for pair in pairs if found & set(pair) for end in pair} - found:
        found |= more
    return found


def _changed_references(run: Run) -> set[tuple[str, str]]:
    """The vessels of equipment that is gone and of references to it that the portal has changed."""
    state, found = run.state, set()
    for ref, base in state.base.items():
        logged = base.gone and any(
            log["equipment_id"] == state.target_id(ref) for log in state.tables.rows("maintenance_logs")
        )
        stays = logged or base.gone == "decided" or state.open_conflict(ref) is not None
        if ref.entity != "equipment" or run.onboarding.get(*ref) is not None or stays:
            continue
        for link, row in state.tables.refers("equipment", state.target_id(ref)):
            if link.child != "cross_references":
                continue
            for other, written in state.base.items():
                if other == row["id"] and state.unit(other) != written.unit:
                    found.add((base.vessel or "", written.vessel or ""))
    return found


def now_on(onboarding: Onboarding, ref: Ref) -> str | None:
    """The vessel that a row is on in the source."""
    row = onboarding.get(*ref)
    if row is not None and ref.entity == "critical_part":
        row = onboarding.get("equipment", required(row, "equipment_id"))
    return None if row is None else row.get("vessel_id")


def with_rows_of_others(run: Run, fleet: Fleet) -> set[str]:
    """Vessels to be loaded of which a row is in the target on another vessel: only a sync moves it."""
    found = set[str]()
    for ref, base in run.state.base.items():
        now = now_on(run.onboarding, ref)
        if now is not None and now in fleet.due and base.vessel != now and run.state.is_there(ref):
            found.add(now)
    return found


def _imo_taken(run: Run, fleet: Fleet, due: Due) -> bool:
    """Whether another vessel of the target has the IMO number when all is written; adopts it if it may."""
    state, ref = run.state, due.ref
    imo = due.unit["vessels"]["imo_number"]
    if imo is None or due.codes:
        return False
    own_id = state.target_id(ref)
    held = {row["id"]: row["imo_number"] for row in state.tables.rows("vessels")}
    for rows in fleet.due.values():
        for other in rows.values():
            out = other.vessel in fleet.failed or other.vessel in fleet.aside
            if other.ref.entity == "vessel" and other.ref in state.base and not out and run.is_sync:
                after = result_of(run, other)
                if after is not None:
                    held[state.target_id(other.ref)] = after["vessels"]["imo_number"]
    if ref in state.base and held.get(own_id) != imo:
        return False
    holders = [id_ for id_, number in held.items() if number == imo and id_ != own_id]
    if not holders or _gives_up(run, fleet, holders[0], ref):
        return False
    mapped = ("vessels", holders[0]) in state.written_ids()
    if mapped or imo == "" or ref in state.base:
        current = state.unit(ref)
        return current is None or current["vessels"]["imo_number"] != imo
    state.adopted[ref] = str(holders[0])
    run.hits("adopted")
    return False


def _gives_up(run: Run, fleet: Fleet, holder: Cell, wants: Ref) -> bool:
    """Lets a vessel that is gone give its number up to one that changes in one commit with it."""
    state = run.state
    for ref, base in list(state.base.items()):
        if ref.entity != "vessel" or state.target_id(ref) != holder or state.unit(ref) != base.unit:
            continue
        gone = state.marks.get(ref.source_id) == "migrated" and ref.source_id not in state.rolled_back
        gone = gone and ref.source_id not in run.onboarding.of["vessels"]
        if gone and run.options.allow_deletions and ref.source_id in partners(run, fleet, wants.source_id):
            row = {**base.unit["vessels"], "imo_number": None}
            state.tables.put("vessels", row)
            state.base[ref] = replace(base, unit={**base.unit, "vessels": row})
            return True
    return False


def _hanging(
    run: Run, fleet: Fleet, row: SourceRow, on: dict[str, str], there: Collection[str]
) -> list[Draft]:
    """Parts, documents, scores and references of one vessel."""
    source, world, vessel_id = run.source, run.world, identity(row)

    def is_lost(equipment_id: str) -> bool:
        quarantines = run.options.on_error == "quarantine"
        return quarantines and bool(run.errors(Ref("equipment", equipment_id)))

    def has_equipment(hanging: SourceRow) -> bool:
        id_ = hanging["equipment_id"]
        return id_ is not None and not is_lost(id_) and on.get(id_) == hanging["vessel_id"]

    made: list[Draft] = []
    for part_row in source.critical_parts:
        if on.get(required(part_row, "equipment_id")) == vessel_id:
            made.append(part.draft(world, part_row))
            if is_lost(required(part_row, "equipment_id")):
                made[-1].note("part.orphaned")
    made += [
        document.draft(world, one, has_equipment=has_equipment(one)) for one in _on(source.documents, row)
    ]
    for score_row in _on(source.quality_scores, row):
        has_assessor = score_row["assessed_by"] in there
        made.append(
            quality_score.draft(
                world, score_row, has_equipment=has_equipment(score_row), has_assessor=has_assessor
            )
        )
    made += [cross_reference.draft(world, reference) for reference in _on(source.cross_references, row)]
    return made


def equipment_of(run: Run, due: Due) -> list[str]:
    """The equipment that a row names in the source."""
    row = run.onboarding.get(*due.ref) or {}
    named = [row.get(column) for column in ("equipment_id", *cross_reference.ENDS)]
    return [id_ for id_ in named if id_ is not None]
