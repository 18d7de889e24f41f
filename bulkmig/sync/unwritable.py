"""Rows that a decision can't write: what they name isn't in the target, or another row has what is unique."""

from __future__ import annotations

from collections.abc import Iterator

from bulkmig._core.declare import Entity, Table
from bulkmig.entities import entity as named
from bulkmig.errors import VesselError
from bulkmig.sync.parts import Part, Plan
from bulkmig.sync.row import Row, cells_of, field_names
from bulkmig.sync.step import Means

_OPEN = """
SELECT id::text FROM bulkmig.conflicts WHERE status = 'open' AND entity = $1 AND target_id = $2::text::uuid
"""


async def refuse(means: Means, made: Plan, sources: dict[str, str]) -> None:
    """Raises VesselError for the first such row. `sources`: the source ids of the rows, by target id."""
    for part in made.parts.values():
        for cell, parent, id_, wanted in _references(part):
            of = made.parts[parent]
            if wanted not in of.write and (wanted in of.delete or not await _is_there(means, parent, wanted)):
                other = await means.connection.fetchval(_OPEN, parent, wanted)
                way = (
                    f"decide about that {parent} before, or in the same command (its conflict is {other})"
                    if other
                    else f"put the {parent} back into the target"
                )
                raise _error(
                    means, part.entity, sources.get(id_, ""), cell,
                    f"names {'an' if parent == 'equipment' else 'a'} {parent} that isn't in the target", way,
                )  # fmt: skip
        for table, cell, id_, wanted in _unique(means, part):
            if holder := await _holder(means, part, table, cell, wanted):
                raise _error(
                    means, part.entity, sources.get(id_, ""), cell,
                    f"is unique, and has gone to another row of {table.name} ({holder})",
                    "change that row in the portal",
                )  # fmt: skip


def _references(part: Part) -> Iterator[tuple[str, str, str, str]]:
    """(cell, entity, row, target id) of everything that the rows name."""
    parents = {reference.column: reference.entity for reference in part.entity.references}
    for id_, row in part.write.items():
        for cell, (table, declared) in cells_of(part.entity).items():
            wanted = row[cell] if table.name in row.tables else None
            if wanted is not None and declared.field in parents:
                yield cell, parents[declared.field], id_, wanted


async def _is_there(means: Means, parent: str, wanted: str) -> bool:
    table = named(parent).tables[0]
    query = f"SELECT count(*) FROM {table.name} WHERE {table.own_key} = $1::text::uuid"
    return bool(await means.connection.fetchval(query, wanted))


def _unique(means: Means, part: Part) -> Iterator[tuple[Table, str, str, str]]:
    """(table, cell, row, value) of every unique value that rows get."""
    for table in part.entity.tables:
        for unique in means.graph.tables[table.name].unique:
            cell = f"{table.name}.{unique[0]}"
            if len(unique) > 1 or unique[0] not in table.cells or unique[0] == table.own_key:
                continue
            for id_, row in part.write.items():
                was = part.was[id_]
                if row[cell] is not None and (was is None or was[cell] != row[cell]):
                    yield table, cell, id_, str(row[cell])


async def _holder(means: Means, part: Part, table: Table, cell: str, wanted: str) -> str:
    """The row that has a unique value and keeps it; '' if there is none."""
    column = cell.partition(".")[2]
    type_ = means.catalogue[table.name][column].type
    id_: str | None = await means.connection.fetchval(
        f"SELECT {table.own_key}::text FROM {table.name} WHERE {column} = $1::text::{type_}", wanted
    )
    if id_ is None or id_ in part.delete:
        return ""
    now: Row | None = part.write.get(id_)
    return "" if now is not None and now[cell] != wanted else id_


def _error(means: Means, of: Entity, source_id: str, cell: str, what: str, way: str) -> VesselError:
    field = field_names(of)[cell]
    where = f"vessel {means.vessel}: " if means.vessel else ""
    return VesselError(
        f"{where}{of.name} {source_id}: {field} {what}; the conflict stays open",
        f"{way}, or take the other side: --take, --field {field}=source or {field}=target",
        phase="load",
        vessel_id=means.vessel or "",
        entity=of.name,
        source_id=source_id,
        field=field,
    )
