"""How long vessels take, from the ledger's own history: what a maintenance window needs to know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from bulkmig.postgres.session import Connection
from bulkmig.selection import Vessel

# Target rows that an equipment brings with its parts and documents, and a vessel of its own.
ROWS_PER_EQUIPMENT = 12
ROWS_PER_VESSEL = 30
# Expected durations are stretched by this: a vessel that ends after the window does more harm than one that
# waits for the next.
CAUTION = 1.5


_HISTORY = """
SELECT v.vessel_id::text AS id, v.seconds, v.rows, coalesce(r.command, 'migrate') = 'migrate' AS whole
  FROM bulkmig.vessels v LEFT JOIN bulkmig.runs r ON r.id = v.run_id WHERE v.state = 'migrated'
"""


class Pace(Struct, frozen=True):
    """Seconds a target row of a vessel's transaction takes, 0 where nothing is known yet; and `last`: vessel
    -> the seconds that its last change took."""

    seconds_per_row: float = 0.0
    last: Mapping[str, float] = field(default_factory=dict)

    def expected(self, vessels: Iterable[Vessel]) -> float:
        """Seconds that vessels are expected to take one after the other, with caution."""
        return sum(map(self._one, vessels)) * CAUTION

    def _one(self, vessel: Vessel) -> float:
        rows = ROWS_PER_VESSEL + vessel.equipment * ROWS_PER_EQUIPMENT
        return self.last.get(vessel.id, rows * self.seconds_per_row)


async def from_history(connection: Connection) -> Pace:
    """The pace of the vessels that are in the target, each from its first row to its commit. How long a row
    takes is told by those that came whole; a sync reads all of a vessel, and writes few rows."""
    found = await connection.fetch(_HISTORY)
    seconds = sum(row["seconds"] or 0.0 for row in found if row["whole"])
    rows = sum(row["rows"] or 0 for row in found if row["whole"])
    last = {row["id"]: float(row["seconds"] or 0.0) for row in found}
    return Pace(float(seconds) / rows if rows else 0.0, last)
