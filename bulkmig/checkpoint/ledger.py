"""The ledger's side of a rollback: marks, base, pending and quarantined rows, conflicts, what was seen of the
source, and adoptions go back with the portal's rows; assigned ids, slugs and QR codes stay recorded."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig.checkpoint.changes import Change
from bulkmig.checkpoint.parts import Parts, joined, put_back
from bulkmig.checkpoint.stage import Stage
from bulkmig.checkpoint.take import LEDGER
from bulkmig.encode import base as pack
from bulkmig.ledger import base, write
from bulkmig.postgres.session import Connection
from bulkmig.source.queries import uuid_array
from bulkmig.target.graph import Graph

_KEEP_CODES = """
INSERT INTO bulkmig.qr_codes (equipment_id, qr_code)
SELECT m.original_id, e.qr_code FROM due_{equipment} e JOIN due_{metadata} m ON m.equipment_id = e.id
 WHERE NOT EXISTS (SELECT FROM was_{equipment} w WHERE w.id = e.id)
ON CONFLICT DO NOTHING
"""
# What a rollback of companies took out of the base was written all the same.
# What the change's run wrote after it, under the one checkpoint that it has of companies, was not so then.
_WRITTEN_THEN = """
SELECT b.id FROM bulkmig.base b LEFT JOIN bulkmig.checkpoints c ON c.id = b.checkpoint_id
 WHERE b.vessel_id = $1::text::uuid AND b.entity = $2 AND b.kind = 'rows' AND coalesce(c.seq, 0) < $3
   AND (c.run_id IS DISTINCT FROM $4::text::uuid
        OR b.id < (SELECT min(own.id) FROM bulkmig.base own WHERE own.checkpoint_id = $5::text::uuid))
"""


async def keep_assigned(stage: Stage) -> None:
    """Records the QR codes of equipment that goes: they are printed on labels."""
    await stage.connection.execute(
        _KEEP_CODES.format(equipment=stage.number["equipment"], metadata=stage.number["equipment_metadata"])
    )


async def set_back(connection: Connection, graph: Graph, some: Sequence[Change], captured: Parts) -> None:
    """Makes the ledger's rows of these changes' vessels what they were."""
    vessels = [change.vessel_id or "" for change in some]
    these = f"ANY ({uuid_array(vessels)})"
    for table, condition in LEDGER.items():
        # The id of a row that was taken over is the portal's; those that bulkmig derived stay recorded.
        only = " AND adopted" if table == "bulkmig.identities" else ""
        await connection.execute(f"DELETE FROM {table} WHERE {condition.format(vessel=these)}{only}")
    async for part in joined(captured):
        await put_back(connection, part, graph.tables[part.table].key)
    await connection.execute(
        "UPDATE bulkmig.base SET holds = id = ANY ($2::bigint[])"
        " WHERE vessel_id = ANY ($1::text[]::uuid[]) AND holds <> (id = ANY ($2::bigint[]))",
        vessels,
        [id_ for change in some for id_ in change.base],
    )


async def come_again(stage: Stage, run_id: str, of: Entity) -> set[str]:
    """Records that this run brought the companies or users of `was` that aren't in `now`: vessels that were
    loaded without them are looked at by the next sync. Returns their source ids."""
    main = of.tables[0]
    rows = await stage.connection.fetch(
        f"SELECT i.source_id::text, i.target_id::text FROM was_{stage.number[main.name]} w"
        f" JOIN bulkmig.identities i ON i.entity = $1 AND i.target_id = w.{main.own_key}"
        f" WHERE {stage.missing(stage.tables[main.name], 'w', 'now')}",
        of.name,
    )
    if rows:
        await write.identities(stage.connection, run_id, of.name, [(*row, False) for row in rows])
    return {row["source_id"] for row in rows}


async def own_again(
    connection: Connection, run_id: str, of: Entity, change: Change, checkpoint: str, source_ids: set[str]
) -> None:
    """Records as last written what was so of these companies or users when the change was made, as far as
    nothing is recorded of them."""
    known = await base.among(connection, [write.NIL], of.name, source_ids)
    missing = source_ids - (set() if known is None else set(known["source_id"]))
    then = write.NIL, of.name, change.seq, change.run_id, change.id
    parts = await connection.fetch(_WRITTEN_THEN, *then) if missing else []
    frame = await base.read_parts(connection, [row["id"] for row in parts], of.name)
    if frame is not None:
        frame = frame.filter(pl.col("source_id").is_in(list(missing)))
        entry = of.name, frame.height, pack(of, frame)
        await write.base(connection, run_id, write.NIL, [entry], checkpoint=checkpoint)
