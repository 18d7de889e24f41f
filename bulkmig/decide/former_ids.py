"""Ids of rows that were rolled back and belong to another vessel by now: assigned once, they stay."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from bulkmig._core import ids
from bulkmig._core.frames import from_csv
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import base
from bulkmig.postgres.session import Connection
from bulkmig.selection import Vessel
from bulkmig.source import queries
from bulkmig.source.onboarding import read_all

_FORMER = """
SELECT b.id, b.entity FROM bulkmig.base b
 WHERE b.kind = 'rows' AND NOT b.holds AND NOT EXISTS
       (SELECT FROM bulkmig.vessels v WHERE v.vessel_id = b.vessel_id AND v.state = 'migrated')
   AND b.entity = ANY ($1)
"""


async def find(
    source: Connection, target: Connection, vessels: Sequence[Vessel]
) -> dict[str, dict[str, str]]:
    """entity -> source id -> target id, of rows of these vessels that were written on another one that is
    rolled back. Costs one query where nothing is."""
    names = [entity.name for entity in PER_VESSEL if entity.tables and entity.name != "vessel"]
    parts: dict[str, list[int]] = {}
    for row in await target.fetch(_FORMER, names):
        parts.setdefault(row["entity"], []).append(row["id"])
    due = [vessel.id for vessel in vessels]
    found: dict[str, dict[str, str]] = {}
    for entity in PER_VESSEL:
        written = await base.read_parts(target, parts.get(entity.name, []), entity.name)
        if written is None or not due:
            continue
        own = f"{entity.tables[0].name}.{entity.tables[0].own_key}"
        now = from_csv(await read_all(source, queries.keys(entity, due)), ("source_id", "vessel"))
        rows = written.select("source_id", pl.col(own).alias("id")).join(now, on="source_id")
        moved = {
            source_id: id_
            for source_id, id_, vessel in rows.iter_rows()
            if not id_.startswith(ids.id_range(vessel)[0][:13])
        }
        if moved:
            found[entity.name] = moved
    return found
