"""One row of the source against what was last written and what the target holds."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from tests.model import fields
from tests.model.rules import Hits
from tests.model.run import Due, Run
from tests.model.state import Base, Conflict, Field, Strategy, Values
from tests.model.tables import THING_OF, Unit
from tests.oracle.contract import KEYS
from tests.oracle.draft import Ref

_NUMBERS = count(1)  # a rollback takes conflicts back, and no number is given twice


def result_of(run: Run, due: Due) -> Unit | None:
    """The row's content after the run, None where it won't be there. Changes and counts nothing."""
    state, base = run.state, run.state.base.get(due.ref)
    if base is None:
        return due.unit
    target = state.unit(due.ref)
    if state.open_conflict(due.ref) or due.ref in run.kept or due.unit == base.unit:
        return target
    if target == base.unit:
        return due.unit
    strategy = run.options.strategy
    if target is None:
        return due.unit if strategy in ("source_wins", "merge") else None
    return written(target, fields.decided(strategy, base.unit, due.unit, target, Hits()))


def written(target: Unit, values: dict[Field, Values]) -> Unit:
    """The target's rows with the fields as decided."""
    made: Unit = {table: dict(row) for table, row in target.items()}
    for (table, column), value in values.items():
        made.setdefault(table, {})[column] = value.result
    return {table: row for table, row in made.items() if all(row[key] is not None for key in KEYS[table])}


def apply(run: Run, due: Due) -> None:
    """Writes the row, or leaves it, or records a conflict about it."""
    state, hits, strategy = run.state, run.hits, run.options.strategy
    base = state.base.get(due.ref)
    if base is None:
        run.insert(due)
        return
    if due.ref in run.kept:
        return
    if conflict := state.open_conflict(due.ref):
        hits("manual, later sync")
        if not _stays(run, due):
            state.base[due.ref] = replace(base, vessel=due.vessel)
            state.conflicts[conflict.number] = replace(conflict, vessel=due.vessel)
        return
    target = state.unit(due.ref)
    if due.unit == base.unit:
        state.base[due.ref] = replace(base, vessel=due.vessel)
        hits(
            "unchanged"
            if target == base.unit
            else "portal only"
            if target
            else "gone in the portal, unchanged"
        )
        return
    if target is None:
        _gone_in_the_portal(run, due, base)
        return
    if target == base.unit:
        if not state.tables.dangling(due.unit):  # else it would name equipment that the portal has deleted
            _write(run, due, due.unit)
        return
    if target == due.unit:  # both came to the same
        state.base[due.ref] = Base(due.unit, due.vessel)
        hits("unchanged")
        return
    values = fields.decided(strategy, base.unit, due.unit, target, hits)
    if strategy != "manual" and state.tables.dangling(written(target, values)):
        return
    record(run, due.ref, _whose(run, due, base), values, due.unit, target)
    hits(strategy if strategy != "merge" else "decided once")
    if strategy != "manual":
        _write(run, due, written(target, values))


def _whose(run: Run, due: Due, base: Base) -> str | None:
    """The vessel of a conflict that is found: as long as it is open, a row stays where it is."""
    if run.options.strategy != "manual":
        return due.vessel
    run.undecided[due.ref] = due.vessel
    if _stays(run, due):
        return base.vessel
    run.state.base[due.ref] = replace(base, vessel=due.vessel)
    return due.vessel


def _stays(run: Run, due: Due) -> bool:
    """Whether a row about which a conflict is open is where it was: what hangs on equipment is where that
    is, and what the target has nowhere is where the source has it."""
    unit = run.state.unit(due.ref)
    if unit is None or due.ref.entity not in ("critical_part", "document"):
        return unit is not None
    equipment = unit[THING_OF[due.ref.entity].table]["equipment_id"]
    on = run.state.tables.get("equipment", equipment) if equipment is not None else None
    return on is None or on["vessel_id"] != run.state.target_id(Ref("vessel", due.vessel or ""))


def _gone_in_the_portal(run: Run, due: Due, base: Base) -> None:
    strategy = run.options.strategy
    created = strategy in ("source_wins", "merge")
    names = sorted(fields.cells(base.unit).keys() | fields.cells(due.unit).keys())
    was, ours = fields.cells(base.unit), fields.cells(due.unit)
    values = {
        name: Values(was.get(name), ours.get(name), None, ours.get(name) if created else None)
        for name in names
    }
    record(run, due.ref, _whose(run, due, base), values, due.unit, None)
    run.hits(f"gone in the portal, {strategy}")
    if strategy == "manual":
        return
    if created and not run.state.tables.dangling(due.unit):
        run.state.tables.put_unit(THING_OF[due.ref.entity], due.unit)
        run.outcome.inserted += 1
    run.state.base[due.ref] = Base(due.unit, due.vessel)


def _write(run: Run, due: Due, unit: Unit) -> None:
    """Writes the row's new content; the base is the source's values, whatever was decided."""
    if unit != run.state.unit(due.ref):
        run.outcome.updated += 1
        run.hits("update")
    run.state.tables.put_unit(THING_OF[due.ref.entity], unit)
    run.state.base[due.ref] = Base(due.unit, due.vessel)


def record(
    run: Run,
    ref: Ref,
    vessel: str | None,
    values: dict[Field, Values],
    source: Unit | None,
    target: Unit | None,
) -> None:
    """Records a conflict; a manual one stays open."""
    strategy: Strategy = run.options.strategy
    number = next(_NUMBERS)
    run.state.conflicts[number] = Conflict(
        number, ref, vessel, strategy, values, source, target, open=strategy == "manual"
    )
