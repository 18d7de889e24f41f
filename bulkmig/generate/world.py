"""What has been generated so far, as far as later rows may point at it: a bounded, random sample of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")
_SAMPLE = 2000


class Sample(Generic[T]):
    """Keeps some of the things that it is shown, old and new ones."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._kept: list[tuple[str, T]] = []

    def add(self, vessel: str, thing: T) -> None:
        """Shows it a thing of a vessel."""
        if len(self._kept) < _SAMPLE:
            self._kept.append((vessel, thing))
        else:
            self._kept[self._rng.randrange(_SAMPLE)] = (vessel, thing)

    def elsewhere(self, vessel: str) -> tuple[str, T] | None:
        """One from another vessel, with that vessel."""
        for _ in range(20):
            if not self._kept:
                break
            found = self._rng.choice(self._kept)
            if found[0] != vessel:
                return found
        return None

    def one_elsewhere(self, vessel: str) -> T | None:
        """One from another vessel."""
        found = self.elsewhere(vessel)
        return found[1] if found else None


@dataclass(frozen=True, slots=True)
class Half:
    """One of two equipments that belong together, on different vessels."""

    trap: str
    vessel: str
    """The vessel that has the other one."""
    cells: dict[str, str | None]


@dataclass(slots=True)
class World:
    """The samples, and what a fleet's companies left for its vessels."""

    rng: Random
    equipment: Sample[str] = field(init=False)
    """Of vessels that are selected, without an error."""
    hidden_equipment: Sample[str] = field(init=False)
    """Of vessels that aren't APPROVED."""
    quarantined_equipment: Sample[str] = field(init=False)
    locations: Sample[str] = field(init=False)
    users: list[str] = field(default_factory=list)
    """Of companies with a selected vessel; they will be in the target."""
    users_unselected: list[str] = field(default_factory=list)
    """Of companies without a selected vessel."""
    users_quarantined: list[str] = field(default_factory=list)
    halves: list[Half] = field(default_factory=list)
    """Equipment that still has to come, on another vessel than its other half."""

    def __post_init__(self) -> None:
        self.equipment = Sample(self.rng)
        self.hidden_equipment = Sample(self.rng)
        self.quarantined_equipment = Sample(self.rng)
        self.locations = Sample(self.rng)
