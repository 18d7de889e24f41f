"""Keeps the base short: every sync that changes a vessel adds parts to it, and each is read by the next one.

What the first run wrote stays as it is, since it may be large; what later ones wrote becomes one part. The
parts that it stands for no longer hold, and a rollback to before that lets them hold again.
"""

from __future__ import annotations

from collections.abc import Iterable

from bulkmig._core.declare import Entity
from bulkmig.encode import base as pack
from bulkmig.ledger import base, write
from bulkmig.postgres.session import Connection

MOST_RUNS = 16

_LATER = """
SELECT entity, array_agg(id ORDER BY id) AS ids FROM (
    SELECT id, entity, run_id, first_value(run_id) OVER (PARTITION BY entity ORDER BY id) AS first
      FROM bulkmig.base WHERE vessel_id = $1::text::uuid AND holds AND kind IN ('rows', 'forgotten')) parts
 WHERE run_id <> first GROUP BY entity HAVING count(DISTINCT run_id) > $2
"""
_REPLACED = "UPDATE bulkmig.base SET holds = false WHERE id = ANY ($1::bigint[])"


async def compact(connection: Connection, run_id: str, owner: str, entities: Iterable[Entity]) -> None:
    """Makes one of the parts that a vessel (or the nil UUID) has of later runs, where they are many; in the
    caller's transaction, before it takes its checkpoint."""
    found = {row["entity"]: row["ids"] for row in await connection.fetch(_LATER, owner, MOST_RUNS)}
    for entity in entities:
        ids = found.get(entity.name)
        if ids is None:
            continue
        rows = await base.read_parts(connection, ids, entity.name)
        forgotten = await base.forgotten(connection, ids)
        await connection.execute(_REPLACED, ids)
        for kind, part in (
            # In this order: what was forgotten once may have come again.
            ("forgotten", (entity.name, len(forgotten), base.pack_ids(forgotten)) if forgotten else None),
            ("rows", None if rows is None else (entity.name, rows.height, pack(entity, rows))),
        ):
            if part is not None:
                await write.base(connection, run_id, owner, [part], checkpoint=None, kind=kind)
