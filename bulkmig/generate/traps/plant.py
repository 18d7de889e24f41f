"""Traps, and the planter that draws them evenly and counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random

from bulkmig.generate.frame import Frame
from bulkmig.generate.spec import FleetSpec

Value = str | None | Callable[[Random], str | None]


@dataclass(frozen=True, slots=True)
class Trap:
    """A value that is awkward for the column that takes it."""

    name: str
    value: Value = None
    column: str = ""
    """Where it goes, if not where the caller says."""
    error: bool = False
    """The row becomes an error."""
    json_only: bool = False
    """PostgreSQL takes it as `json`, not as `jsonb`."""
    heavy: bool = False
    """So large that no fleet has many of it: as often as it has to be, and a few times in every column."""
    unknown: bool = False
    """Needs an enum value that the contract's schema doesn't have."""


Family = tuple[Trap, ...]
_HEAVY = 2  # of a heavy trap in one column, also when other columns have enough of it
_SLOT_SHARE = 0.75  # leaves ordinary values between the traps, which rules then combine with them


class Planter:
    """Draws traps in shuffled rounds, puts them into rows, and counts them."""

    def __init__(self, spec: FleetSpec, *, jsonb: bool) -> None:
        self.rng = Random(f"{spec.seed}/traps")
        self.counts: Counter[str] = Counter()
        self.least = spec.least
        self.nasty = spec.nasty
        self._unknown = spec.unknown_enums
        self._jsonb = jsonb
        self._errors = spec.errors > 0
        # By identity; the family is kept beside its bag, so that no other can get the same identity.
        self._heavy: Counter[tuple[str, str]] = Counter()
        self._bags: dict[int, tuple[Family, list[Trap]]] = {}

    def allows(self, trap: Trap) -> bool:
        """Whether the fleet can hold the trap at all."""
        return not (
            (trap.json_only and self._jsonb)
            or (trap.unknown and not self._unknown)
            or (trap.error and not self._errors)
        )

    def count(self, name: str) -> None:
        """Counts one more planting."""
        self.counts[name] += 1

    def draw(self, family: Family, place: str = "") -> Trap | None:
        """The family's next trap, for a column; None if the fleet can hold none of it."""
        _, bag = self._bags.setdefault(id(family), (family, []))
        found = self._last_wanted(bag, place)
        if found is None:
            # What is left are heavy ones that wait for another column.
            bag += [trap for trap in family if self.allows(trap) and trap not in bag]
            self.rng.shuffle(bag)
            found = self._last_wanted(bag, place)
        if found is None:
            return None
        trap = bag.pop(found)
        self._heavy[trap.name, place] += trap.heavy
        return trap

    def make(self, trap: Trap) -> str | None:
        """The trap's value."""
        return trap.value(self.rng) if callable(trap.value) else trap.value

    def plant(self, frame: Frame, row: int, family: Family, column: str = "") -> bool:
        """Puts the family's next trap into a cell, unless the cell is taken."""
        if column and not frame.is_free(row, column):
            return False
        trap = self.draw(family, f"{frame.table}.{column}")
        if trap is None or not frame.is_free(row, trap.column or column):
            return False
        frame.put(row, trap.column or column, self.make(trap))
        self.count(trap.name)
        return True

    def plant_slots(
        self, frame: Frame, row: int, slots: Mapping[str, Sequence[Family]], share: float = _SLOT_SHARE
    ) -> None:
        """Puts a trap into a share of a row's columns; of several families one is chosen."""
        for column, families in slots.items():
            if self.rng.random() < share:
                self.plant(frame, row, self.rng.choice(families), column)

    def rows(self, frame: Frame, *, all_rows: bool = False) -> list[int]:
        """The rows that shall carry traps, in random order: the spec's share, or all."""
        share = 1.0 if all_rows else self.nasty
        return self.rng.sample(range(len(frame)), ceil(share * len(frame)))

    def lacking(self, traps: Iterable[Trap]) -> list[str]:
        """The names of those that the fleet can hold and that were planted less often than they should."""
        return sorted(
            {trap.name for trap in traps if self.allows(trap) and self.counts[trap.name] < self.least}
        )

    def _last_wanted(self, bag: Sequence[Trap], place: str) -> int | None:
        return next((index for index in reversed(range(len(bag))) if self._wants(bag[index], place)), None)

    def _wants(self, trap: Trap, place: str) -> bool:
        """Whether a trap may be planted in a column once more."""
        return not trap.heavy or self.counts[trap.name] < self.least or self._heavy[trap.name, place] < _HEAVY
