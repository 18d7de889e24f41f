"""`rollback`: vessels, companies and users as they were before a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.model.history import Change, History, Rows, Step, part, without_portal
from tests.model.rules import Hits
from tests.model.state import Conflict, State
from tests.model.tables import LINKS, THING_OF, key_of, vessel_of
from tests.oracle.draft import Cell, Ref, Row

UNIQUE = (("companies", "slug"), ("users", "email"), ("vessels", "imo_number"), ("equipment", "qr_code"))


class Refused(Exception):
    """Nothing was changed: others changed rows since, or one has taken a unique value."""


class Taken(Refused):
    """Something that is to come back is another vessel's by now."""


def go_back(
    state: State,
    history: History,
    change: Change,
    hits: Hits,
    *,
    force: bool,
    chosen: Sequence[Change] = (),
    began: State | None = None,
    also: Sequence[Change] = (),
) -> State:
    """The state with these rows as they were before the change; raises Refused. `chosen`: all that the
    command goes back before; `began`: the state in which it began, of which this is not the first change;
    `also`: changes of vessels that go back in one with it."""
    if change.vessel is None:
        return _companies(state, history, change, hits, force=force)
    group = [*history.joined(change, chosen), *also]
    if _elsewhere(state, group):
        raise Taken
    made = state.copy()
    drift: set[object] = set()
    taken = [later for one in group for later in _taken_over(state, history, one)]
    for one in [*group, *taken]:
        due, now = without_portal(history, one), part(began or state, one)
        drift |= {key for key in due.keys() | now.keys() if due.get(key) != now.get(key)}
        waiting = _waiting(began or state, one)
        drift -= {("cross_references", (_reference(state, id_),)) for id_ in waiting}
    hanging = _hanging(state, group)
    drift |= {key for key in hanging if not isinstance(key[1][0], Ref)}
    if drift:
        hits("rollback refused" if not force else "rollback forced")
        if not force:
            raise Refused
    if any(len(history.since(one)) > 1 for one in group):
        hits("rollback, later")
    for key, row in hanging.items():
        made.tables.delete(key[0], row)
        wait(made, row["id"])
        hits("rollback, reference")
    for one in group:
        for key in part(state, one):
            made.tables.of[key[0]].pop(key[1], None)
    for one in group:
        _give_back(made, history, one)
        _put_back(made, one)
    for one in group:
        if one.restored is not None:
            hits("rollback undone")
        for later in reversed(history.since(one)):
            _return(made, history, later, group)
        _records(made, one)
    _without_ends(made)
    _check_unique(made)
    hits("rollback")
    return made


def _elsewhere(state: State, group: list[Change]) -> bool:
    """Whether a run has written a row that is to come back on another vessel meanwhile."""
    mine, roots = {one.vessel for one in group}, {root for one in group for root in one.roots}
    for one in group:
        for table, key in part(one.step.before, one):
            ref, row = key[0], state.tables.of[table].get(key)
            if not isinstance(ref, Ref) or ref not in state.base or row is None:
                continue
            written = state.base[ref].vessel not in mine and table == THING_OF[ref.entity].table
            if written and vessel_of(state.tables, table, row) not in roots:
                return True
    return False


def _reference(state: State, source_id: str) -> Cell:
    return state.target_id(Ref("cross_reference", source_id))


def _waiting(state: State, change: Change) -> list[str]:
    return [source_id for source_id, vessel in state.pending.items() if vessel == change.vessel]


def _hanging(state: State, group: list[Change]) -> Rows:
    """References of other vessels that end on equipment that goes."""
    was: set[Cell] = set()
    now: Rows = {}
    for one in group:
        was |= {key[0] for table, key in part(one.step.before, one) if table == "equipment"}
        now |= part(state, one)
    going = {key[0] for table, key in now if table == "equipment"} - was
    return {
        ("cross_references", key_of("cross_references", row)): row
        for row in state.tables.rows("cross_references")
        if (row["source_equipment_id"] in going or row["target_equipment_id"] in going)
        and ("cross_references", key_of("cross_references", row)) not in now
    }


def wait(state: State, id_: Cell) -> None:
    """Lets one of bulkmig's references wait for its ends."""
    if isinstance(id_, Ref) and id_ in state.base:
        state.pending[id_.source_id] = state.base.pop(id_).vessel or ""


def _taken_over(state: State, history: History, change: Change) -> list[Change]:
    """The first changes since of a vessel of the portal's that was adopted in the place of this one."""
    taken = {one.roots: one for one in reversed(history.since(change)) if one.roots != change.roots}
    own = state.adopted.get(Ref("vessel", change.vessel or ""))
    return [one for one in taken.values() if own in one.roots]


def _give_back(made: State, history: History, change: Change) -> None:
    """Vessels of the portal's that were adopted since, in the place of this one, are the portal's again."""
    for one in _taken_over(made, history, change):
        for key in part(made, one):
            made.tables.of[key[0]].pop(key[1], None)
        for (table, _), row in part(one.step.before, one).items():
            made.tables.put(table, row)


def _put_back(made: State, change: Change) -> None:
    before = change.step.before
    for (table, _), row in part(before, change).items():
        _bring_context(made, change.step, table, row)
        made.tables.put(table, row)


def _bring_context(made: State, step: Step, table: str, row: Row) -> None:
    """Companies and users that a row needs, where they are gone."""
    for link in LINKS:
        named = row.get(link.column)
        if link.child == table and link.parent in ("companies", "users") and named is not None:
            entity = "company" if link.parent == "companies" else "user"
            then = _amid(step, entity, named)
            unit = then.tables.unit(THING_OF[entity], named)
            if made.tables.get(link.parent, named) is None and unit is not None:
                _bring_context(made, step, link.parent, unit[link.parent])
                made.tables.put_unit(THING_OF[entity], unit)
                for ref, base in then.base.items():
                    if ref.entity == entity and then.target_id(ref) == named:
                        made.base.setdefault(ref, replace(base, gone=""))


def _amid(step: Step, entity: str, id_: Cell) -> State:
    """The state that has a company or user as the step's vessels found it: a run writes them first, and
    deletes them last; a rollback sets them back last."""
    after = step.after
    written = any(
        ref.entity == entity and after.target_id(ref) == id_ and not base.gone
        for ref, base in after.base.items()
    )
    return after if written and step.command != "rollback" else step.before


def _records(made: State, change: Change) -> None:
    """bulkmig's records of the vessel as they were; those of others are as they are."""
    before, vessel = change.step.before, change.vessel or ""
    ref = Ref("vessel", vessel)
    made.base = {key: base for key, base in made.base.items() if base.vessel != vessel}
    made.base |= {key: base for key, base in before.base.items() if base.vessel == vessel}
    # What a run listed before it changed any row of the vessel may stay listed.
    made.quarantine = {
        key: one if one.vessel != vessel else replace(one, sure=False) for key, one in made.quarantine.items()
    }
    made.quarantine |= {key: one for key, one in before.quarantine.items() if one.vessel == vessel}
    made.pending = {key: of for key, of in made.pending.items() if of != vessel}
    made.pending |= {key: of for key, of in before.pending.items() if of == vessel}
    made.conflicts = {number: one for number, one in made.conflicts.items() if one.vessel != vessel}
    made.conflicts |= {number: one for number, one in before.conflicts.items() if one.vessel == vessel}
    made.marks.pop(vessel, None)
    if vessel in before.marks:
        made.marks[vessel] = before.marks[vessel]
    made.adopted.pop(ref, None)
    if ref in before.adopted:
        made.adopted[ref] = before.adopted[ref]
    if change.restored is None or vessel in before.rolled_back:
        made.rolled_back.add(vessel)
    else:  # a rollback was undone: the vessel is as if there had been none
        made.rolled_back.discard(vessel)


def _return(made: State, history: History, change: Change, group: list[Change]) -> None:
    """References of other vessels that went when the change that is undone took their ends, and haven't
    come back since, or wait again; those of the vessels that go back are as these were."""
    before, after = change.step.before, change.step.after
    later = [one.step for one in history.changes[history.changes.index(change) :]]
    since = set().union(*(step.after.tables.of["cross_references"] for step in later))
    for key, row in before.tables.of["cross_references"].items():
        waits = isinstance(row["id"], Ref) and row["id"].source_id in made.pending
        taken = key not in after.tables.of["cross_references"] and (key not in since or waits)
        went = taken and key not in made.tables.of["cross_references"]
        if not went or made.tables.dangling({"cross_references": row}):
            continue
        if not _ends_on(before, row, change):
            continue
        ref = row["id"]
        if isinstance(ref, Ref):
            if ref not in before.base or not (ref.source_id in made.pending or ref in made.base):
                continue
            if before.base[ref].vessel in {one.vessel for one in group}:
                continue
            made.base.setdefault(ref, before.base[ref])
            made.pending.pop(ref.source_id, None)
        elif row["vessel_id"] in {one.roots[0] for one in group}:
            continue
        made.tables.put("cross_references", row)


def _ends_on(state: State, row: Row, change: Change) -> bool:
    """Whether a reference names equipment of the change's vessel."""
    named = (row[f"{end}_equipment_id"] for end in ("source", "target"))
    ends = [state.tables.get("equipment", id_) for id_ in named]
    return any(end is not None and end["vessel_id"] in change.roots for end in ends)


def _without_ends(made: State) -> None:
    """References that came back without their other ends wait again."""
    for row in made.tables.rows("cross_references"):
        if not made.tables.dangling({"cross_references": row}):
            continue
        made.tables.delete("cross_references", row)
        wait(made, row["id"])


def _check_unique(made: State) -> None:
    for table, column in UNIQUE:
        values = [row[column] for row in made.tables.rows(table) if row[column] is not None]
        if len(values) != len(set(values)):
            raise Taken


def _companies(state: State, history: History, change: Change, hits: Hits, *, force: bool) -> State:
    """Companies and users of a run. What others use by now stays as it is."""
    made, before = state.copy(), change.step.before
    due, now, was = without_portal(history, change), part(state, change), part(before, change)
    if any(due.get(key) != now.get(key) for key in due):
        hits("rollback refused" if not force else "rollback forced")
        if not force:
            raise Refused
    stayed = _in_use(state, now, was)
    if stayed:
        hits("rollback, in use")
    for table in ("users", "companies"):
        for (name, key), row in now.items():
            if name == table and (name, key) not in was and key[0] not in stayed:
                made.tables.delete(table, row)
    for table, column, owner in (
        ("company_settings", "company_id", "companies"),
        ("user_metadata", "user_id", "users"),
    ):
        for row in made.tables.rows(table):
            # Details that an adopted row was given go, though it stays, be it another company's by now.
            if (table, key_of(table, row)) not in was and (owner, (row[column],)) in was:
                made.tables.delete(table, row)
    for (table, _), row in was.items():
        made.tables.put(table, row)
    ours = {ref for ref, base in made.base.items() if _company(base.unit) in change.roots}
    # Whom the portal had there, and who was adopted since, is the portal's again, be he another company's.
    ours |= {
        ref for ref in made.base.keys() - before.base.keys() if ("users", (state.target_id(ref),)) in was
    }
    for ref in ours:
        if state.target_id(ref) not in stayed:
            del made.base[ref]
    _shared_records(made, history, change)
    for ref, base in before.base.items():
        if _company(base.unit) in change.roots and state.target_id(ref) not in stayed:
            made.base[ref] = base
            if ref in before.adopted:
                made.adopted[ref] = before.adopted[ref]
    made.conflicts = {
        number: one
        for of in (before, state)
        for number, one in of.conflicts.items()
        if _goes_back(of, one, change, stayed) == (of is before)
    }
    _check_unique(made)
    return made


def _goes_back(state: State, conflict: Conflict, change: Change, stayed: set[Cell]) -> bool:
    """Whether a conflict is about a company of the change, or a user of one, that goes back with it."""
    base = state.base.get(conflict.ref)
    written = base.unit if base is not None else conflict.source or conflict.target or {}
    mine = _company(written) in change.roots
    return conflict.vessel is None and mine and state.target_id(conflict.ref) not in stayed


def _company(unit: dict[str, Row]) -> Cell:
    if "companies" in unit:
        return unit["companies"]["id"]
    return unit["users"]["company_id"] if "users" in unit else None


def _in_use(state: State, now: Rows, was: Rows) -> set[Cell]:
    """Ids of the rows that would go, and stay: others refer to them, or added them."""
    stayed: set[Cell] = set()
    mapped = state.written_ids()
    for table in ("users", "companies"):
        for name, key in now:
            if name != table or (name, key) in was:
                continue
            used = (table, key[0]) not in mapped
            for link, child in state.tables.refers(table, key[0]):
                if link.cascades:
                    continue
                one = (link.child, key_of(link.child, child))
                if link.child != "users" or one not in now:
                    used = True
                elif one in was:  # it may be of another company again
                    used = used or was[one][link.column] == key[0]
                else:
                    used = used or child["id"] in stayed
            if used:
                stayed.add(key[0])
    return stayed


def _shared_records(made: State, history: History, change: Change) -> None:
    before = change.step.before
    steps = [one.step for one in history.since(change)]
    for step in steps:
        for ref in step.after.adopted.keys() - step.before.adopted.keys():
            if ref.entity != "vessel" and ref not in made.base:  # what stays bulkmig's stays adopted
                made.adopted.pop(ref, None)
    # Users, companies and parts of nothing: which run has listed them last decides, and that isn't fixed.
    for ref, listed in list(made.quarantine.items()):
        if listed.vessel is None:
            made.quarantine[ref] = replace(listed, sure=False)
    for ref, one in before.quarantine.items():
        if one.vessel is None:
            since = made.quarantine.get(ref)
            codes = since.codes if since is not None and not one.sure else frozenset()
            made.quarantine[ref] = replace(one, codes=one.codes | codes)
