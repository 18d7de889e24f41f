"""How long vessels take, from the ledger's own history: what a maintenance window needs to know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bulkmig.postgres.session import Connection
from bulkmig.selection import Vessel

# Target rows that an equipment brings with its parts and documents, and a vessel of its own.
ROWS_PER_EQUIPMENT = 12
ROWS_PER_VESSEL = 30
# Expected durations are stretched by this: a vessel that ends after the window does more harm than one that
# waits for the next.
CAUTION = 1.5


@dataclass(frozen=True)
class Pace:
    """Seconds a target row of a vessel's transaction takes; 0 where nothing is known yet."""

    seconds_per_row: float = 0.0

    def expected(self, vessels: Iterable[Vessel]) -> float:
        """Seconds that vessels are expected to take one after the other, with caution."""
        rows = sum(ROWS_PER_VESSEL + vessel.equipment * ROWS_PER_EQUIPMENT for vessel in vessels)
        return rows * self.seconds_per_row * CAUTION


async def from_history(connection: Connection) -> Pace:
    """The pace of the vessels migrated so far, each from its first row to its commit."""
    seconds, rows = await connection.fetchrow(
        "SELECT sum(seconds), sum(rows) FROM bulkmig.vessels WHERE state = 'migrated'"
    ) or (0, 0)
    return Pace(float(seconds or 0) / float(rows)) if rows else Pace()
