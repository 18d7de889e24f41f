"""`conflicts resolve`: what becomes of a conflict that was left open."""

from __future__ import annotations

from dataclasses import replace

from tests.model import fields
from tests.model.deletions import instead_of, remove
from tests.model.onboarding import Onboarding
from tests.model.rollback import UNIQUE
from tests.model.rules import Hits
from tests.model.state import Base, Conflict, Decision, Field, State, Values
from tests.model.tables import THING_OF
from tests.model.three_way import written
from tests.oracle.draft import Cell


def resolvable(state: State) -> list[Conflict]:
    """Open conflicts of rows that are as they were when the conflict was found: what else happens to a row
    until somebody decides is not said."""
    there = [one for one in state.conflicts.values() if one.open and one.ref in state.base]
    found = [one for one in there if state.unit(one.ref) == one.target]
    found = [one for one in found if not one.source or not state.tables.dangling(one.source)]
    return [one for one in found if not _taken(state, one)]


def _taken(state: State, conflict: Conflict) -> bool:
    """Whether another row has what the source's side would give to this one, and may only be had once."""
    own = state.target_id(conflict.ref)
    return any(
        row["id"] != own and row[column] is not None and row[column] == conflict.source[table].get(column)
        for table, column in UNIQUE
        if conflict.source is not None and table in conflict.source
        for row in state.tables.rows(table)
    )


def resolve(state: State, onboarding: Onboarding, conflict: Conflict, take: Decision, hits: Hits) -> None:
    """Decides an open conflict; the base is the source's values from then on."""
    thing, was = THING_OF[conflict.ref.entity], state.base[conflict.ref]
    values = {
        field: replace(value, result=_result(field, value, conflict, take, hits))
        for field, value in conflict.fields.items()
    }
    if conflict.source is None:
        if take == "target":
            state.base[conflict.ref] = replace(was, gone="decided")
        elif conflict.target is not None:
            instead = instead_of(state, onboarding, conflict.ref, conflict.target)
            if instead is None:
                _remove(state, conflict)
            else:
                state.tables.put_unit(thing, instead[1])
                state.base[conflict.ref] = replace(was, unit=instead[1], gone="held")
    else:
        if conflict.target is not None:
            state.tables.put_unit(thing, written(conflict.target, values))
        elif take != "target":
            state.tables.put_unit(thing, conflict.source)
        state.base[conflict.ref] = Base(conflict.source, conflict.vessel)
    state.conflicts[conflict.number] = replace(conflict, fields=values, open=False)
    hits("resolved")


def _remove(state: State, conflict: Conflict) -> None:
    """Deletes the row with what hangs on it. References of its own vessel wait for nothing: the source has
    their end no more, and should it have them with another one, they are new."""
    waited = set(state.pending)
    remove(state, conflict.ref, conflict.target or {})
    for source_id in state.pending.keys() - waited:
        if state.pending[source_id] == conflict.vessel:
            del state.pending[source_id]


def _result(field: Field, value: Values, conflict: Conflict, take: Decision, hits: Hits) -> Cell:
    if take == "target":
        return value.target
    if take == "source" or conflict.source is None or conflict.target is None:
        return value.source
    return fields.merged(field, value.base, value.source, value.target, hits)
