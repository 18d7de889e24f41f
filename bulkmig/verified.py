"""What a comparison of the target found, as a report has it."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct, field

MAX_LISTED = 1000


class Deviation(Struct, frozen=True):
    """One cell or row that is not as expected. `field` is '' for a whole row; personal values are masked."""

    table: str
    id: str
    field: str
    expected: str | None
    actual: str | None
    source_id: str = ""


class Verified(Struct):
    """What a comparison found. A check is one table's rows or one table's cells in one unit of work."""

    checks: int = 0
    failed: int = 0
    warnings: int = 0
    differences: list[Deviation] = field(default_factory=list)
    difference_count: int = 0
    drifted: list[Deviation] = field(default_factory=list)
    drift: int = 0
    stale: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: Verified) -> None:
        """Takes over what another comparison found; lists stay bounded."""
        self.checks += other.checks
        self.failed += other.failed
        self.warnings += other.warnings
        self.difference_count += other.difference_count
        self.drift += other.drift
        self.stale += other.stale
        self.rows.update(other.rows)
        self.seconds += other.seconds
        self.differences = [*self.differences, *other.differences][:MAX_LISTED]
        self.drifted = [*self.drifted, *other.drifted][:MAX_LISTED]
