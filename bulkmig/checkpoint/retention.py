"""How long checkpoints stay: the newest of every vessel always, all others for some days."""

from __future__ import annotations

from dataclasses import dataclass

from bulkmig.ledger import audit
from bulkmig.postgres.session import Connection, transaction

# Only the oldest ones of a vessel may go: a later one is restored by going through all that came after it.
# What a rollback went back to stays as long as that rollback's own checkpoint.
_OLD = """
WITH ranked AS (
    SELECT c.id, c.vessel_id, c.seq, c.restored,
           row_number() OVER (PARTITION BY c.vessel_id ORDER BY c.seq DESC) > $1
           AND c.created_at < clock_timestamp() - make_interval(secs => $2 * 86400.0) AS old
      FROM bulkmig.checkpoints c
), blocked AS (
    SELECT vessel_id, min(seq) AS seq FROM ranked WHERE NOT old GROUP BY vessel_id
), gone AS (
    SELECT r.id, r.restored FROM ranked r LEFT JOIN blocked b ON b.vessel_id IS NOT DISTINCT FROM r.vessel_id
     WHERE r.old AND (b.seq IS NULL OR r.seq < b.seq)
)
SELECT id::text FROM gone g WHERE NOT EXISTS
    (SELECT FROM ranked r WHERE r.restored = g.id AND r.id NOT IN (SELECT id FROM gone))
"""
# Parts of the base that no longer hold are kept for checkpoints alone.
_UNUSED_BASE = """
DELETE FROM bulkmig.base b WHERE NOT holds AND NOT EXISTS
    (SELECT FROM bulkmig.checkpoints c WHERE b.id = ANY (c.base) OR c.id = b.checkpoint_id)
"""


@dataclass(frozen=True)
class Pruned:
    """Which checkpoints went."""

    checkpoints: tuple[str, ...]


async def prune(connection: Connection, by: audit.Who, *, keep: int, days: float) -> Pruned:
    """Deletes checkpoints that are older than so many days, except the newest `keep` of every vessel."""
    async with transaction(connection):
        await connection.execute("LOCK TABLE bulkmig.checkpoints IN SHARE ROW EXCLUSIVE MODE")
        old = tuple(row["id"] for row in await connection.fetch(_OLD, keep, days))
        await connection.execute(
            "DELETE FROM bulkmig.checkpoints WHERE id = ANY ($1::text[]::uuid[])", list(old)
        )
        await connection.execute(_UNUSED_BASE)
        if old:
            await audit.entry(connection, by, "pruned", f"{len(old)} checkpoints")
    return Pruned(old)
