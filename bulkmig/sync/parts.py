"""What a vessel's sync does: the rows that are written, deleted, kept and forgotten, entity by entity."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct, field

from bulkmig._core.declare import Entity
from bulkmig.entities import ENTITIES
from bulkmig.sync.decide import Conflict
from bulkmig.sync.row import Row, differing, ends_of


class Part(Struct):
    """One entity's share. Rows by target id: `write` is to stand in the target, `was` is what stands there
    (None: nothing), `delete` goes, `went` has gone with its ends by bulkmig's doing, `untouched` stays as it
    is, be there a new base (`table.column/id`: one cell of it), `known` was last written before the portal
    changed it. By source id: `base` is last written from now on, `forget` no longer bulkmig's, `stands` what
    stands where that isn't the base, `waiting` new rows whose ends aren't there, `loose` rows that went with
    their ends, about which nothing is decided before those are there."""

    entity: Entity
    write: dict[str, Row] = field(default_factory=dict)
    was: dict[str, Row | None] = field(default_factory=dict)
    delete: dict[str, str] = field(default_factory=dict)  # target id -> source id
    base: dict[str, Row] = field(default_factory=dict)
    forget: set[str] = field(default_factory=set)
    stands: dict[str, Row] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)
    went: set[str] = field(default_factory=set)
    untouched: set[str] = field(default_factory=set)
    known: dict[str, Row] = field(default_factory=dict)
    conflicts: list[tuple[str, str, Conflict]] = field(default_factory=list)  # source id, target id
    undecided: set[str] = field(default_factory=set)  # open conflicts of rows that came with their equipment
    retained: dict[str, tuple[str, str]] = field(default_factory=dict)  # source id -> target id, reason
    unchanged: Counter[str] = field(default_factory=Counter)  # target table

    @property
    def idle(self) -> bool:
        """Whether nothing of it changes, in the target or in the base."""
        return not (self.write or self.delete or self.base or self.forget or self.conflicts or self.retained)

    def leave_the_portals(self) -> None:
        """Notes the cells that written rows keep as the portal has changed them: bulkmig doesn't write them,
        and before an earlier change they were otherwise."""
        for id_, known in self.known.items():
            row, was = self.write.get(id_), self.was.get(id_)
            if row is not None and was is not None:
                left = set(differing(self.entity, known, was)) - set(differing(self.entity, was, row))
                inside = known.tables & was.tables
                self.untouched |= {f"{cell}/{id_}" for cell in left if cell.partition(".")[0] in inside}

    @property
    def let_go(self) -> set[str]:
        """Target ids of equipment that rows let go of."""
        left: set[str] = set()
        for id_ in (*self.write, *self.delete):
            was, row = self.was[id_], self.write.get(id_)
            if was is not None:
                left |= ends_of(self.entity, was) - (ends_of(self.entity, row) if row is not None else set())
        return left

    @property
    def rows(self) -> int:
        """How many target rows are written or deleted."""
        return (len(self.write) + len(self.delete)) * len(self.entity.tables)


class Plan(Struct):
    """All entities' shares. `brake`: how many deletions it holds back."""

    parts: dict[str, Part] = field(default_factory=lambda: {e.name: Part(e) for e in ENTITIES})
    brake: int = 0

    @property
    def empty(self) -> bool:
        """Whether neither the target nor the base changes."""
        return all(part.idle for part in self.parts.values())
