"""How long checkpoints stay: the newest of every vessel always, all others for some days."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from asyncpg import Record
from msgspec import Struct

from bulkmig.ledger import audit
from bulkmig.postgres.session import Connection, transaction

_ALL = """
SELECT id::text AS id, vessel_id, restored::text AS restored, together::text[] AS together,
       row_number() OVER (PARTITION BY vessel_id ORDER BY seq DESC) > $1
       AND created_at < clock_timestamp() - make_interval(secs => $2 * 86400.0) AS old
  FROM bulkmig.checkpoints ORDER BY seq
"""
# Parts of the base that no longer hold are kept for checkpoints alone.
_UNUSED_BASE = """
DELETE FROM bulkmig.base b WHERE NOT holds
   AND NOT EXISTS (SELECT FROM bulkmig.checkpoints c WHERE c.id = b.checkpoint_id)
   AND NOT EXISTS (SELECT FROM (SELECT unnest(base) AS id FROM bulkmig.checkpoints) c WHERE c.id = b.id)
"""


class Pruned(Struct, frozen=True):
    """Which checkpoints went."""

    checkpoints: tuple[str, ...]


async def prune(connection: Connection, by: audit.Who, *, keep: int, days: float) -> Pruned:
    """Deletes checkpoints that are older than so many days, except the newest `keep` of every vessel."""
    async with transaction(connection):
        await connection.execute("LOCK TABLE bulkmig.checkpoints IN SHARE ROW EXCLUSIVE MODE")
        old = outdated(await connection.fetch(_ALL, max(keep, 1), days))
        await connection.execute(
            "DELETE FROM bulkmig.checkpoints WHERE id = ANY ($1::text[]::uuid[])", list(old)
        )
        await connection.execute(_UNUSED_BASE)
        if old:
            await audit.entry(connection, by, "pruned", f"{len(old)} checkpoints")
    return Pruned(old)


def outdated(rows: Sequence[Record]) -> tuple[str, ...]:
    """Which of all checkpoints, the oldest first, may go. Of a vessel's chain only the beginning: a later one
    is restored by going through all that came after it. What a rollback that stays went back to stays, and so
    do the checkpoints of vessels that changed together with one that stays."""
    chains: defaultdict[object, list[Record]] = defaultdict(list)
    places: dict[str, tuple[object, int]] = {}
    for row in rows:
        places[row["id"]] = row["vessel_id"], len(chains[row["vessel_id"]])
        chains[row["vessel_id"]].append(row)
    cut = {
        vessel: next((n for n, row in enumerate(chain) if not row["old"]), len(chain))
        for vessel, chain in chains.items()
    }
    todo = [row for vessel, chain in chains.items() for row in chain[cut[vessel] :]]
    while todo:
        row = todo.pop()
        for needed in (row["restored"], *row["together"]):
            vessel, place = places.get(needed, (None, len(rows)))
            if needed in places and place < cut[vessel]:
                todo += chains[vessel][place : cut[vessel]]
                cut[vessel] = place
    return tuple(row["id"] for vessel, chain in chains.items() for row in chain[: cut[vessel]])
