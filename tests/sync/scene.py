"""What tests of sync share: all vessels, a vessel that the source loses, what a second run leaves alone."""

from __future__ import annotations

from bulkmig import Selection
from tests.checkpoint.support import execute, fetchval
from tests.support.fleets import Origin

ALL = Selection(all=True)
# How many vessels of the target a source id names.
THERE = (
    "SELECT count(*) FROM vessels v JOIN bulkmig.identities i ON i.target_id = v.id"
    " WHERE i.source_id = $1::text::uuid"
)


async def gone_vessel(origin: Origin, vessel: str = "") -> str:
    """Deletes a vessel, the first where none is named, from the source with all that belongs to it; returns
    its id."""
    vessel = vessel or await fetchval(origin.url, "SELECT min(id::text) FROM vessels")
    mine = f"(SELECT id FROM equipment WHERE vessel_id = '{vessel}')"
    await execute(
        origin.url,
        f"DELETE FROM cross_references WHERE source_equipment_id IN {mine} OR target_equipment_id IN {mine};"
        f"DELETE FROM critical_parts WHERE equipment_id IN {mine};"
        f"DELETE FROM quality_scores WHERE vessel_id = '{vessel}';"
        f"DELETE FROM documents WHERE vessel_id = '{vessel}';"
        f"DELETE FROM equipment WHERE vessel_id = '{vessel}';"
        f"DELETE FROM locations WHERE vessel_id = '{vessel}';"
        f"DELETE FROM vessels WHERE id = '{vessel}'",
    )
    return vessel


def lasting(found: dict[str, bytes]) -> dict[str, bytes]:
    """Without what names the run that looked last."""
    names = ("bulkmig.vessels", "bulkmig.quarantine", "bulkmig.seen")
    return {name: rows for name, rows in found.items() if name not in names}
