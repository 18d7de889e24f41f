"""Keeps the base short: every sync that changes a vessel adds parts to it, and each is read by the next one.

What the first run wrote stays as it is, since it may be large; what later ones wrote becomes one part. The
parts that it stands for no longer hold, and a rollback to before that lets them hold again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product

from bulkmig._core.declare import Entity
from bulkmig.encode import base as pack
from bulkmig.ledger import base, write
from bulkmig.postgres.session import Connection

MOST_RUNS = 16

_PARTS = """
SELECT id, vessel_id::text AS owner, entity, run_id::text AS run_id FROM bulkmig.base
 WHERE vessel_id = ANY ($1::text[]::uuid[]) AND holds AND kind IN ('rows', 'forgotten') ORDER BY id
"""
_REPLACED = "UPDATE bulkmig.base SET holds = false WHERE id = ANY ($1::bigint[])"


async def compact(
    connection: Connection, run_id: str, owners: Sequence[str], entities: Iterable[Entity]
) -> None:
    """Makes one of the parts that each of these vessels (or the nil UUID) has of later runs, where they are
    many; in the caller's transaction, before it takes checkpoints."""
    parts: defaultdict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for row in await connection.fetch(_PARTS, list(owners)):
        parts[row["owner"], row["entity"]].append((row["run_id"], row["id"]))
    for owner, entity in product(owners, list(entities)):
        written = parts[owner, entity.name]
        later = [(run, id_) for run, id_ in written if run != written[0][0]]
        if len({run for run, _ in later}) <= MOST_RUNS:
            continue
        ids = [id_ for _, id_ in later]
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
