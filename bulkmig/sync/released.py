"""Rows in quarantine because of an end that has left it, or come, since: such as references between vessels.

Which vessel is synchronised first is open, so that a row may be kept out for an end that comes with a later
vessel of the same run.
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


async def released(source: Connection, target: Connection, decisions: Decisions) -> set[str]:
    """The vessels that have such rows."""
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


def _free(outcome: Outcome, ends: pl.DataFrame) -> set[str]:
    """Rows with both ends, and rows whose ends may come yet."""
    out = set(ends.filter(pl.col("out") & pl.col("target_id").is_null())["source_id"])
    columns = [r.column for r in outcome.entity.references if r.entity == "equipment"]
    waiting = outcome.raw.filter(pl.col("id").is_in(outcome.waiting["id"].to_list()))
    waiting = waiting.filter(~pl.any_horizontal(pl.col(columns).is_in(list(out))))
    return {*outcome.image["source_id"], *waiting["id"]}
