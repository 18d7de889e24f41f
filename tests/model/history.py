"""What each command changed: the state before and after it, and the checkpoints that it took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.model.state import State
from tests.model.tables import Key, Tables, key_of, vessel_of
from tests.oracle.contract import TABLES
from tests.oracle.draft import Cell, Ref, Row

FLEET_TABLES = ("companies", "company_settings", "users", "user_metadata")
Rows = dict[tuple[str, Key], Row]


@dataclass(frozen=True)
class Step:
    """One command."""

    run: str
    command: str
    before: State
    after: State


@dataclass(frozen=True)
class Change:
    """A checkpoint: what `vessel` (or, where None, the companies of `roots`) was before a step changed it.
    `restored`: the checkpoint that the step went back to, where it was a rollback."""

    id: str
    vessel: str | None
    roots: tuple[Cell, ...]
    step: Step
    restored: str | None
    together: tuple[str, ...]
    incidental: bool


@dataclass
class History:
    """All changes, the oldest first."""

    changes: list[Change] = field(default_factory=list)

    def of(self, id_: str) -> Change:
        """A change by its checkpoint's id."""
        return next(change for change in self.changes if change.id == id_)

    def since(self, change: Change) -> list[Change]:
        """The change and all later ones of the same vessel, or of companies that it is about."""
        later = self.changes[self.changes.index(change) :]
        if change.vessel is not None:
            return [one for one in later if one.vessel == change.vessel]
        return [one for one in later if one.vessel is None and set(one.roots) & set(change.roots)]

    def in_force(self, vessel: str | None) -> list[Change]:
        """The changes of a vessel that are not undone: a rollback leaves those before the change to which it
        went back, and itself."""
        before: dict[str, list[Change]] = {}
        now: list[Change] = []
        for change in self.changes:
            if change.vessel == vessel:
                before[change.id] = now
                kept = now if change.restored is None else before.get(change.restored, [])
                now = [*kept, change]
        return now

    def all_in_force(self) -> list[Change]:
        """Every change that is not undone, the oldest first."""
        kept = [one for vessel in {one.vessel for one in self.changes} for one in self.in_force(vessel)]
        return sorted(kept, key=self.changes.index)

    def joined(self, change: Change, chosen: Iterable[Change] = ()) -> list[Change]:
        """The changes to go back before, so that none that committed together is undone in part, nor one of
        those `chosen` left."""
        at_least = {one.vessel: one for one in chosen}
        first: dict[str | None, Change] = {change.vessel: change}
        todo = [change]
        while todo:
            for later in self.since(todo.pop()):
                for together in map(self.of, later.together):
                    other = min(together, at_least.get(together.vessel, together), key=self.changes.index)
                    known = first.get(other.vessel)
                    if known is None or self.changes.index(other) < self.changes.index(known):
                        first[other.vessel] = other
                        todo.append(other)
        return list(first.values())


def taken_before(history: History, change: Change) -> set[Cell]:
    """References of the change's vessel that may have gone before its checkpoint was taken: an earlier commit
    of the same run deleted equipment of another vessel on which they ended. Which of a run's commits is the
    first is not said."""
    step, earlier = change.step, set[Cell]()
    for one in history.changes[: history.changes.index(change)]:
        if one.step.run == step.run and one.vessel is not None:
            earlier.update(one.roots)
    found = set[Cell]()
    for (table, key), row in part(step.before, change).items():
        if table != "cross_references" or key in step.after.tables.of[table]:
            continue
        ends = [
            step.before.tables.get("equipment", row[f"{end}_equipment_id"]) for end in ("source", "target")
        ]
        if any(end is not None and end["vessel_id"] in earlier for end in ends):
            found.add(key[0])
    return found


def part_of(tables: Tables, root: Cell) -> Rows:
    """The rows of a vessel (by its id in the target)."""
    found: Rows = {}
    for table in TABLES:
        if table not in FLEET_TABLES:
            for row in tables.rows(table):
                if vessel_of(tables, table, row) == root:
                    found[table, key_of(table, row)] = row
    return found


def fleet_part(tables: Tables, roots: Iterable[Cell]) -> Rows:
    """The rows of companies (by their ids in the target) and their users."""
    companies = set(roots)
    users = {row["id"] for row in tables.rows("users") if row["company_id"] in companies}
    found: Rows = {}
    for table, column, ids in (
        ("companies", "id", companies),
        ("company_settings", "company_id", companies),
        ("users", "id", users),
        ("user_metadata", "user_id", users),
    ):
        for row in tables.rows(table):
            if row[column] in ids:
                found[table, key_of(table, row)] = row
    return found


def changed_companies(before: Tables, after: Tables) -> set[Cell]:
    """Companies (by their ids in the target) of which, or of whose users, anything has changed."""
    known = {row["id"] for tables in (before, after) for row in tables.rows("companies")}
    return {id_ for id_ in known if fleet_part(before, [id_]) != fleet_part(after, [id_])}


def part(state: State, change: Change) -> Rows:
    """What a change is about, in a state."""
    if change.vessel is None:
        return fleet_part(state.tables, change.roots)
    return part_of(state.tables, change.roots[0])


def without_portal(history: History, change: Change) -> Rows:
    """What the change's rows would be now had only bulkmig written since."""
    due = part(change.step.before, change)
    since = history.since(change)
    before: dict[str, Rows] = {}
    for later in history.changes[history.changes.index(change) :]:
        before[later.id] = dict(due)
        if later not in since and change.vessel is None:
            if later.restored is not None:  # a vessel that went back brought along what it needs
                due |= {key: row for key, row in _written(later.step, change) if row is not None}
            continue
        if later not in since and any(later.step.before is one.step.before for one in since):
            continue  # one of these is of the same step
        if later not in since:
            # What bulkmig did to another vessel took its references along, or brought them back.
            ours = [
                (key, row)
                for key, row in _written(later.step, change)
                if key[0] == "cross_references" and isinstance(key[1][0], Ref)
            ]
            due = {key: row for key, row in due.items() if (key, None) not in ours}
            due |= {key: row for key, row in ours if row is not None}
            continue
        if later.restored is not None:
            due = _undone(history.of(later.restored), later, change, due, before)
            continue
        stood = part(later.step.before, change)
        for key, row in _written(later.step, change):
            old, own = due.get(key), stood.get(key)
            if row is None:
                due.pop(key, None)
            elif old is None or own is None:
                due[key] = row
            else:  # the cells that it left to the portal aren't its doing
                due[key] = {
                    column: old[column] if own[column] == cell else cell for column, cell in row.items()
                }
    return due


def _undone(to: Change, later: Change, change: Change, due: Rows, before: Mapping[str, Rows]) -> Rows:
    """What is due when `later` went back to `to`: what was due then, so that what the portal had changed by
    then it still has changed, since an earlier change. `before`: what was due before each change since."""
    shared = tuple(root for root in change.roots if root in to.roots)
    # A vessel that was adopted meanwhile has another root.
    about = change if change.vessel is not None else replace(change, roots=shared)
    then, now = part(to.step.before, about), part(later.step.after, about)
    mine = _of(due, about)
    found = {key: row for key, row in due.items() if key not in mine} | _of(before.get(to.id, now), about)
    for key in then.keys() | now.keys():
        if then.get(key) == now.get(key):
            continue
        # What a rollback of companies leaves, since others use it, is due as it was.
        row = now.get(key) if key in then or change.vessel is not None else due.get(key, now[key])
        if row is None:
            found.pop(key, None)
        else:
            found[key] = row
    return found


def _of(rows: Rows, change: Change) -> Rows:
    """Those of these rows that the change is about."""
    if change.vessel is not None:
        return rows
    tables = Tables()
    for (table, key), row in rows.items():
        tables.of[table][key] = row
    return fleet_part(tables, change.roots)


def _written(step: Step, change: Change) -> Iterator[tuple[tuple[str, Key], Row | None]]:
    """What a step wrote of a vessel or of companies: row by key, None for one that it deleted."""
    before, after = part(step.before, change), part(step.after, change)
    yield from ((key, None) for key in before.keys() - after.keys())
    yield from ((key, row) for key, row in after.items() if before.get(key) != row)
