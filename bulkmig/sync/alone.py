"""Vessels that were rolled back: `sync --all` leaves them alone until they are migrated again."""

from __future__ import annotations

from collections.abc import Collection

from bulkmig.postgres.session import Connection
from bulkmig.sync.resolve import COMMAND as RESOLVE

_CHANGES = """
SELECT c.vessel_id::text AS vessel, c.id::text AS id, c.restored::text AS restored, v.state, r.command
  FROM bulkmig.checkpoints c LEFT JOIN bulkmig.vessels v USING (vessel_id)
  LEFT JOIN bulkmig.runs r ON r.id = c.run_id
 WHERE c.vessel_id IN (SELECT vessel_id FROM bulkmig.checkpoints WHERE restored IS NOT NULL{among})
   AND NOT c.incidental ORDER BY c.seq
"""
_AMONG = " AND vessel_id = ANY ($1::text[]::uuid[])"  # which an index finds


async def rolled_back(target: Connection, among: Collection[str] | None = None) -> set[str]:
    """Vessels (`among` these) that were rolled back and not migrated since. A rollback that was itself rolled
    back is none."""
    if among is None:
        found = await target.fetch(_CHANGES.format(among=""))
    else:
        found = await target.fetch(_CHANGES.format(among=_AMONG), list(among))
    away: dict[str, bool] = {}
    before: dict[str, bool] = {}  # checkpoint of a rollback -> whether the vessel was rolled back before it
    for row in found:
        vessel, to = row["vessel"], row["restored"]
        was = away.get(vessel, False)
        if row["command"] == RESOLVE:
            continue  # it decides about what is there, and migrates nothing
        # A migration that ended in quarantine has a checkpoint as well, but has not migrated the vessel.
        away[vessel] = before.get(to, True) if to is not None else row["state"] == "quarantined" and was
        if to is not None:
            before[row["id"]] = was
    return {vessel for vessel, back in away.items() if back}
