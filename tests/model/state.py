"""What the model knows: the target's tables, and bulkmig's records beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.model.tables import THING_OF, Tables, Unit
from tests.oracle.company import Slug
from tests.oracle.draft import Cell, Ref

Strategy = Literal["source_wins", "target_wins", "merge", "manual"]
Decision = Literal["source", "target", "merge"]
Mark = Literal["migrated", "quarantined", "failed", "gone"]


@dataclass(frozen=True)
class Base:
    """What was last written of a source row, or decided about it. `vessel`: the source's, None for companies
    and users. `gone`: the source deleted it, and the target's row stays: as long as something hangs on it,
    or because a conflict was decided so."""

    unit: Unit
    vessel: str | None
    gone: Literal["", "held", "decided"] = ""


@dataclass(frozen=True)
class Quarantined:
    """A row in quarantine under one of these codes. `sure`: the contract says that it is listed; else it may
    be."""

    codes: frozenset[str]
    vessel: str | None
    sure: bool = True


Field = tuple[str, str]
"""(table, column)"""


@dataclass(frozen=True)
class Values:
    """A field's values in a conflict; None also where the row isn't there."""

    base: Cell
    source: Cell
    target: Cell
    result: Cell


@dataclass(frozen=True)
class Conflict:
    """A conflict as recorded."""

    number: int
    ref: Ref
    vessel: str | None
    strategy: Strategy
    fields: dict[Field, Values]
    source: Unit | None
    target: Unit | None
    open: bool = False


@dataclass
class State:
    """The target and the records. Values in the dictionaries are never changed in place."""

    tables: Tables = field(default_factory=Tables)
    base: dict[Ref, Base] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    adopted: dict[Ref, str] = field(default_factory=dict)
    quarantine: dict[Ref, Quarantined] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    conflicts: dict[int, Conflict] = field(default_factory=dict)
    rolled_back: set[str] = field(default_factory=set)
    slugs: dict[str, Slug] = field(default_factory=dict)
    qr_codes: dict[str, str] = field(default_factory=dict)

    def copy(self) -> State:
        """A state of its own with the same content."""
        return replace(
            self,
            tables=self.tables.copy(),
            base=dict(self.base),
            marks=dict(self.marks),
            adopted=dict(self.adopted),
            quarantine=dict(self.quarantine),
            pending=dict(self.pending),
            conflicts=dict(self.conflicts),
            rolled_back=set(self.rolled_back),
            slugs=dict(self.slugs),
            qr_codes=dict(self.qr_codes),
        )

    def target_id(self, ref: Ref) -> Cell:
        """The id of a source row in the target."""
        return self.adopted.get(ref, ref)

    def unit(self, ref: Ref) -> Unit | None:
        """The rows of a source row in the target, None where they aren't there."""
        return self.tables.unit(THING_OF[ref.entity], self.target_id(ref))

    def is_there(self, ref: Ref) -> bool:
        """Whether bulkmig wrote the row, and it is still there."""
        return ref in self.base and self.unit(ref) is not None

    def written_ids(self) -> set[tuple[str, Cell]]:
        """(main table, id) of every row that bulkmig wrote."""
        return {(THING_OF[ref.entity].table, self.target_id(ref)) for ref in self.base}

    def put_aside(self, ref: Ref, vessel: str | None, codes: Iterable[str], *, sure: bool) -> None:
        """Lists a row in quarantine."""
        self.quarantine[ref] = Quarantined(frozenset(codes), vessel, sure)

    def of_vessel(self, vessel: str) -> list[Ref]:
        """The source rows of a vessel that bulkmig wrote."""
        return [ref for ref, base in self.base.items() if base.vessel == vessel]

    def open_conflict(self, ref: Ref) -> Conflict | None:
        """The row's open conflict."""
        for conflict in self.conflicts.values():
            if conflict.ref == ref and conflict.open:
                return conflict
        return None
