"""Rows whose end on another vessel came, went into quarantine or left it in the same run: such as references
between vessels.

Which vessel is synchronised first is open, so that a row may be kept out for an end that comes with a later
vessel of the same run; and one that is loaded may be listed only once its end is, though nothing has changed
on its own vessel.
"""

from __future__ import annotations

import polars as pl

from bulkmig._core.unit import Decisions
from bulkmig.entities import PER_VESSEL
from bulkmig.postgres.session import Connection
from bulkmig.settle import CHUNK, look
from bulkmig.target.postgres import ends as target_ends
from bulkmig.transform import Outcome

_KEPT_OUT = """
SELECT source_id::text AS id, vessel_id::text AS vessel FROM bulkmig.quarantine
 WHERE entity = $1 AND vessel_id IS NOT NULL ORDER BY source_id
"""

# What is there and was listed in this run, though it was written before.
_KEPT = """
SELECT q.source_id::text AS id FROM bulkmig.quarantine q
  JOIN equipment_metadata m ON m.original_id = q.source_id
 WHERE q.entity = 'equipment' AND q.run_id = $1::text::uuid
"""


async def released(source: Connection, target: Connection, decisions: Decisions) -> set[str]:
    """The vessels of those in quarantine whose ends have left it, or come."""
    found: set[str] = set()

    async def know(frame: pl.DataFrame, wanted: list[str]) -> pl.DataFrame:
        return await target_ends(target, wanted)

    for entity in PER_VESSEL:
        if entity.waits is None:
            continue
        rows = await target.fetch(_KEPT_OUT, entity.name)
        vessel_of = {row["id"]: row["vessel"] for row in rows}
        ids = list(vessel_of)
        for first in range(0, len(ids), CHUNK):
            outcome, ends = await look(source, decisions, entity, ids[first : first + CHUNK], know)
            found.update(vessel_of[id_] for id_ in _free(outcome, ends))
    return found


async def unlisted(source: Connection, target: Connection, run_id: str) -> set[str]:
    """The vessels of those that name equipment of another vessel which this run keeps as it was written, and
    that are not in quarantine themselves."""
    kept = [row["id"] for row in await target.fetch(_KEPT, run_id)]
    found: set[str] = set()
    for entity in PER_VESSEL:
        if entity.waits is None or not kept:
            continue
        listed = {row["id"] for row in await target.fetch(_KEPT_OUT, entity.name)}
        naming = " UNION ".join(
            f"SELECT t.id::text AS id, t.vessel_id::text AS vessel FROM {entity.source} t"
            f" JOIN equipment e ON e.id = t.{r.column} AND e.vessel_id <> t.vessel_id"
            " WHERE e.id = ANY ($1::text[]::uuid[])"
            for r in entity.references
            if r.entity == "equipment"
        )
        rows = await source.fetch(naming, kept)
        found.update(row["vessel"] for row in rows if row["id"] not in listed)
    return found


def _free(outcome: Outcome, ends: pl.DataFrame) -> set[str]:
    """Rows with both ends, and rows whose ends may come yet."""
    out = set(ends.filter(pl.col("out") & pl.col("target_id").is_null())["source_id"])
    columns = [r.column for r in outcome.entity.references if r.entity == "equipment"]
    waiting = outcome.raw.filter(pl.col("id").is_in(outcome.waiting["id"].to_list()))
    waiting = waiting.filter(~pl.any_horizontal(pl.col(columns).is_in(list(out))))
    return {*outcome.image["source_id"], *waiting["id"]}
