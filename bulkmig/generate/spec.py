"""What a fleet should be like, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """A fleet to generate. Everything random about it comes from `seed`.

    A fleet with traps has further companies and vessels beyond `companies` and `vessels`, of a few rows each,
    as many as it takes to plant every trap `least` times (and at most once where a unique column says so).
    """

    seed: int = 0
    vessels: int = 20
    equipment: int | Sequence[int] = 100
    """Per vessel: the mean, or one number for each vessel, which is then met exactly."""
    exact: bool = False
    """No jitter: exactly `equipment` per vessel, and `parts` and `documents` for each of them."""
    parts: int = 3
    """Critical parts per equipment."""
    documents: int = 2
    """Documents per equipment; a vessel has a few of its own besides, unless `exact`."""
    scores: int | None = None
    """Quality scores per vessel; by default one for every tenth equipment, and two of the vessel."""
    cross_references: int | None = None
    """Per vessel; by default one for every tenth equipment."""
    locations: int | None = None
    """Per vessel; by default 8 and one for every twentieth equipment, at most 400."""
    companies: int | None = None
    """By default one for every five vessels."""
    users_per_company: int = 8
    nasty: float = 0.0
    """Share of the rows that carry traps; 0 is a clean, realistic fleet."""
    least: int = 5
    """How often each trap is planted at least, if there are traps; 0 adds no vessels for them."""
    approved: float = 1.0
    """Share of the vessels that are APPROVED; the others have the other states in turn."""
    errors: float = 0.5
    """Share of the vessels that may hold traps which are errors and so fail a vessel."""
    unknown_enums: bool = False
    """Gives the source's enum types values that no rule knows, and plants them."""

    def __post_init__(self) -> None:
        for name in ("nasty", "approved", "errors"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share, from 0 to 1")
        for name in ("vessels", "parts", "documents", "users_per_company", "least"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is not negative")
        if isinstance(self.equipment, Sequence) and len(self.equipment) != self.vessels:
            raise ValueError("equipment has one number for each vessel")
        if self.companies is not None and self.companies < 1:
            raise ValueError("a fleet has at least one company")

    def company_count(self) -> int:
        """Companies of the fleet, those that only carry traps left out."""
        return self.companies if self.companies is not None else max(1, -(-self.vessels // 5))

    def equipment_count(self, vessel: int, rng: Random) -> int:
        """Equipment of the vessel with this number."""
        if isinstance(self.equipment, Sequence):
            return self.equipment[vessel]
        if self.exact:
            return self.equipment
        return max(0, round(self.equipment * rng.uniform(0.7, 1.3)))

    def is_approved(self, vessel: int) -> bool:
        """Whether the vessel with this number is APPROVED; those that aren't are spread evenly."""
        return spread(vessel, self.approved)

    def may_hold_errors(self, vessel: int) -> bool:
        """Whether the vessel with this number may hold traps that are errors."""
        return spread(vessel, self.errors)


def spread(number: int, share: float) -> bool:
    """True for `share` of the numbers 0, 1, 2, …, as evenly as possible."""
    return int((number + 1) * share + 1e-9) > int(number * share + 1e-9)


@dataclass(slots=True)
class FleetSummary:
    """What was generated."""

    rows: dict[str, int] = field(default_factory=dict)
    """Rows for each table."""
    traps: dict[str, int] = field(default_factory=dict)
    """How often each trap was planted."""
