"""Rows that the source no longer has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tests.model.fields import cells
from tests.model.history import part_of
from tests.model.onboarding import Onboarding
from tests.model.run import Run
from tests.model.state import Base, State, Values
from tests.model.tables import THING_OF, Unit
from tests.model.three_way import record
from tests.model.vessels import Fleet, partners
from tests.oracle.draft import Cell, Ref
from tests.oracle.source import identity, required

ORDER = ("cross_reference", "quality_score", "document", "critical_part", "equipment", "vessel")


def delete_rows(run: Run, fleet: Fleet) -> None:
    """Deletes, or keeps in another state, what is gone; stops where the brake holds."""
    state = run.state
    active = {vessel for vessel, mark in state.marks.items() if mark == "migrated"} - state.rolled_back
    held = fleet.failed | set(fleet.aside)
    run.outcome.done |= active - held - run.onboarding.of["vessels"].keys()
    _delete_of(run, fleet, active - held)
    gone = [ref for ref in state.base if state.base[ref].vessel is None and _is_gone(run, ref)]
    companies = {ref for ref in gone if ref.entity == "company"}
    fresh = {ref for ref in companies if not state.base[ref].gone}
    if fresh and not run.options.allow_deletions:
        run.hits("brake, gone whole")
        run.outcome.braked |= {ref.source_id for ref in fresh}
        companies -= fresh
    stopped = {state.target_id(ref) for ref in fresh - companies}
    for ref in sorted(ref for ref in gone if ref.entity == "user"):
        if state.base[ref].unit["users"]["company_id"] not in stopped:
            _delete(run, ref)
    for ref in sorted(companies):
        _delete(run, ref)


def make_way(run: Run, chosen: Collection[str]) -> None:
    """Vessels that are gone, and whose IMO numbers others are to get, go first if nothing goes from them to
    other vessels."""
    state = run.state
    wanted = {row["imo_number"] for row in run.source.vessels if identity(row) in chosen} - {None}
    fleet = Fleet(due={vessel: {} for vessel in chosen})
    for vessel, mark in sorted(state.marks.items()):
        unit = state.unit(Ref("vessel", vessel))
        is_gone = mark == "migrated" and vessel not in run.onboarding.of["vessels"]
        if unit is None or not is_gone or vessel in state.rolled_back:
            continue
        if unit["vessels"]["imo_number"] in wanted and partners(run, fleet, vessel) == {vessel}:
            run.outcome.done.add(vessel)
            _delete_of(run, fleet, {vessel})


def _delete_of(run: Run, fleet: Fleet, vessels: Collection[str]) -> None:
    state, going = run.state, list[Ref]()
    for vessel in sorted(vessels):
        gone = [ref for ref in state.of_vessel(vessel) if _is_gone(run, ref) or _is_away(run, fleet, ref)]
        if gone and not brakes(run, vessel, gone):
            going += gone
    # What hangs on equipment is decided about first, on whatever vessel it is.
    for ref in sorted(going, key=lambda ref: (ORDER.index(ref.entity), ref)):
        if ref in state.base:
            _delete(run, ref)


def _is_gone(run: Run, ref: Ref) -> bool:
    return run.onboarding.get(*ref) is None and run.state.base[ref].gone != "decided"


def _is_away(run: Run, fleet: Fleet, ref: Ref) -> bool:
    """Whether a part hangs on equipment of a vessel that is not in the target and doesn't come."""
    row = run.onboarding.get(*ref)
    machine = (
        run.onboarding.get("equipment", required(row, "equipment_id"))
        if row is not None and ref.entity == "critical_part"
        else None
    )
    if machine is None or run.state.base[ref].gone == "decided":
        return False
    vessel = required(machine, "vessel_id")
    return vessel not in fleet.due and run.state.marks.get(vessel) != "migrated"


def brakes(run: Run, vessel: str, gone: list[Ref]) -> bool:
    """Whether too much of a vessel is gone at once."""
    options, state = run.options, run.state
    fresh = [ref for ref in gone if not state.base[ref].gone]
    whole = any(ref.entity == "vessel" for ref in fresh)
    equipment = sum(ref.entity == "equipment" for ref in fresh)
    on = [
        ref
        for ref in run.written & state.base.keys()
        if run.undecided.get(ref, state.base[ref].vessel) == vessel
    ]
    share = len(fresh) / len(on)
    if not whole and (share <= options.brake_share or equipment < options.brake_least):
        return False
    if options.allow_deletions:
        run.hits("brake released")
        return False
    run.hits("brake, gone whole" if whole else "brake")
    run.outcome.braked.add(vessel)
    return True


def _delete(run: Run, ref: Ref) -> None:
    state, base, strategy = run.state, run.state.base[ref], run.options.strategy
    target = state.unit(ref)
    if target is None:
        del state.base[ref]
        return
    if state.open_conflict(ref):
        run.hits("manual, later sync")
        return
    if target != base.unit and not base.gone:
        _record(run, ref, base, target)
        run.hits(f"gone in the source, {strategy}")
        if strategy == "manual":
            return
        if strategy == "target_wins":
            state.base[ref] = Base(target, base.vessel, gone="decided")
            return
    instead = instead_of(state, run.onboarding, ref, target)
    if instead is None:
        remove(state, ref, target)
        if ref.entity == "vessel":
            state.marks[ref.source_id] = "gone"
        run.hits("deleted")
        return
    rule, unit = instead
    if base.gone != "held":
        run.hits(rule)
    state.tables.put_unit(THING_OF[ref.entity], unit)
    state.base[ref] = replace(base, unit=unit, gone="held")


def remove(state: State, ref: Ref, unit: Unit) -> None:
    """Deletes a row with what hangs on it, which isn't bulkmig's any more; references wait, as what the
    source has of them may end on something else by now."""
    there = {one: state.base[one] for one in state.base if state.is_there(one)}
    table = THING_OF[ref.entity].table
    state.tables.delete(table, unit[table])
    for one, base in there.items():
        if state.unit(one) is None:
            del state.base[one]
            if one.entity == "cross_reference" and one != ref:
                state.pending[one.source_id] = base.vessel or ""


def instead_of(state: State, onboarding: Onboarding, ref: Ref, target: Unit) -> tuple[str, Unit] | None:
    """What a row becomes that can't be deleted, and by which rule."""
    id_ = state.target_id(ref)
    if ref.entity == "equipment":
        if any(log["equipment_id"] == id_ for log in state.tables.rows("maintenance_logs")):
            return "decommissioned", _with(target, "equipment", status="decommissioned")
        if any(
            _is_kept(state, onboarding, link.child, row["id"], id_)
            for link, row in state.tables.refers("equipment", id_)
            if "id" in row
        ):
            return "decommissioned", target
    if ref.entity == "vessel" and (_anything_left(state, id_) or state.tables.is_used("vessels", id_)):
        return "vessel inactive", _with(target, "vessels", status="inactive")
    if ref.entity == "user" and state.tables.is_used("users", id_):
        return "user inactive", _with(target, "users", is_active="false")
    if ref.entity == "company" and state.tables.is_used("companies", id_):
        return "company stays", target
    return None


def _anything_left(state: State, id_: Cell) -> bool:
    """Whether a vessel has rows still: the portal's own, and what stays itself."""
    return any(table not in ("vessels", "vessel_details") for table, _ in part_of(state.tables, id_))


def _is_kept(state: State, onboarding: Onboarding, table: str, id_: object, equipment: Cell) -> bool:
    """Whether the row stays on the equipment although its source row is gone, or isn't there: by a decision,
    or until there is one."""
    for ref, base in state.base.items():
        if THING_OF[ref.entity].table == table and state.target_id(ref) == id_:
            # A document that was to let go of the equipment, and hangs on it by a decision, survives it.
            survives = ref.entity == "document" and onboarding.get(*ref) is not None
            left = equipment not in base.unit[table].values()
            return survives or left or base.gone == "decided" or state.open_conflict(ref) is not None
    return False


def _with(unit: Unit, table: str, **values: str) -> Unit:
    return {name: {**row, **values} if name == table else row for name, row in unit.items()}


def _record(run: Run, ref: Ref, base: Base, target: Unit) -> None:
    was, now = cells(base.unit), cells(target)
    keeps = run.options.strategy in ("target_wins", "manual")
    values = {
        name: Values(was.get(name), None, now.get(name), now.get(name) if keeps else None)
        for name in sorted(was.keys() | now.keys())
    }
    record(run, ref, base.vessel, values, None, target)
