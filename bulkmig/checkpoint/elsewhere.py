"""Rows that were one vessel's before a change and that a run has written on another one since, as they moved
in the source while the first was rolled back. They can't be on both."""

from __future__ import annotations

from collections.abc import Sequence

from bulkmig._core.declare import Entity
from bulkmig.checkpoint import changes
from bulkmig.checkpoint.changes import Change
from bulkmig.checkpoint.restore import Taken
from bulkmig.checkpoint.stage import Stage
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import base


async def refuse(stage: Stage, targets: Sequence[Change], roots: Sequence[str]) -> None:
    """Raises Taken where a row that `was` holds, and that belongs to none of the roots by now, is another
    vessel's by the ledger, too: then nobody but bulkmig brought it there."""
    ids = await _abroad(stage, roots)
    if not ids:
        return
    mine = {change.vessel_id for change in targets}
    since = await changes.find(
        stage.connection, "c.vessel_id IS NOT NULL AND c.seq > $1", min(change.seq for change in targets)
    )
    vessels = {root: one.vessel_id for one in since if one.vessel_id not in mine for root in one.roots}
    for of, abroad in ids:
        table = stage.tables[of.tables[0].name]
        owned = stage.scope.owned(table.name, table.key[0], vessels)
        held = await stage.connection.fetch(
            f"SELECT m.owner::text AS owner, m.key::text AS key FROM ({owned}) m"
            " WHERE m.key::text = ANY ($1::text[]) ORDER BY 2",
            abroad,
        )
        for row in held:
            vessel, id_ = vessels[row["owner"]] or "", row["key"]
            own = f"{table.name}.{of.tables[0].own_key}"
            written = await base.read(stage.connection, [vessel], of.name, shape=base.only("source_id", own))
            if written is not None and id_ in written[own]:
                raise Taken(
                    f"{table.name} {id_} was this vessel's, and a run has written it on {vessel} since",
                    f"roll back vessel {vessel} first: bulkmig checkpoints list --vessel {vessel}",
                )


async def _abroad(stage: Stage, roots: Sequence[str]) -> list[tuple[Entity, list[str]]]:
    """The rows of `was` that are there and belong to others than the roots, by entity."""
    entities = [of for of in PER_VESSEL if of.tables and of.tables[0].name in stage.number]
    queries = []
    for place, of in enumerate(entities):
        table = stage.tables[of.tables[0].name]
        n = stage.number[table.name]
        queries.append(
            f"SELECT {place} AS place, o.{table.key[0]}::text AS id"
            f" FROM was_{n} w JOIN now_{n} o ON {stage.same(table, 'o', 'w')}"
            f" WHERE ({stage.scope.rows(table.name, roots, 'o')}) IS NOT TRUE"
        )
    found: dict[int, list[str]] = {}
    for row in await stage.connection.fetch(" UNION ALL ".join(queries)):
        found.setdefault(row["place"], []).append(row["id"])
    return [(entities[place], ids) for place, ids in found.items()]
