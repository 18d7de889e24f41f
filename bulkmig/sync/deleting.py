"""Rows that are to go: which of them stay for what hangs on them, and what goes along with the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from bulkmig._core.declare import Entity
from bulkmig.checkpoint import others
from bulkmig.checkpoint.parts import Owner
from bulkmig.entities import ENTITIES, TABLES
from bulkmig.ledger import base
from bulkmig.postgres.session import keys_of
from bulkmig.sync import held
from bulkmig.sync.parts import Part
from bulkmig.sync.row import Row, ends_of, equal, key_of
from bulkmig.sync.step import Means, Step, was_in
from bulkmig.sync.writing import delete_rows, write_rows

DECOMMISSIONED = "decommissioned"


async def retain(steps: Sequence[Step], entity: Entity) -> None:
    """Rows on which rows of the portal hang are not deleted: equipment is decommissioned instead, its
    `updated_at` as it was."""
    going = _deleting(steps, entity)
    if not going or entity.name != "equipment":
        return
    means, status = steps[0].means, f"{entity.tables[0].name}.status"
    for id_ in await held.by_logs(means.connection, means.graph, going):
        part, was = going[id_], going[id_].was[id_]
        source = _spare(part, id_, held.BY_LOGS)
        if was is not None:
            part.base[source] = row = Row(was.tables, {**was.cells, status: DECOMMISSIONED})
            if was[status] != DECOMMISSIONED:
                part.write[id_] = row
            else:
                part.untouched.add(id_)


async def retain_for_rows(steps: Sequence[Step], entity: Entity) -> None:
    """Equipment on which a row stays, when all is written, stays with it, as it is."""
    going = _deleting(steps, entity)
    if not going or entity.name != "equipment":
        return
    means = steps[0].means
    used: set[str] = set()
    gone: set[str] = set()
    for other in (other for step in steps for other in step.plan.parts.values()):
        gone |= other.delete.keys()
        for _, id_, one in other.conflicts:
            stays = one.target if one.open else one.result
            if stays is not None and id_ not in other.delete:
                used |= ends_of(other.entity, stays)
    used |= await held.by_rows(means.connection, means.graph, going, but=gone)
    for id_ in used & going.keys():
        part, was = going[id_], going[id_].was[id_]
        source = _spare(part, id_, held.BY_ROW)
        if was is not None:
            part.base[source] = was
            part.untouched.add(id_)


def _deleting(steps: Sequence[Step], entity: Entity) -> dict[str, Part]:
    """Target ids of rows that are to go, with their parts."""
    parts = [step.part(entity) for step in steps]
    return {id_: part for part in parts for id_ in part.delete}


def _spare(part: Part, id_: str, reason: str) -> str:
    """Lets a row stay that was to go; returns its source id."""
    source = part.delete.pop(id_)
    part.retained[source] = (id_, reason)
    part.forget.discard(source)
    return source


async def delete(steps: Sequence[Step], entity: Entity) -> None:
    if entity.name == "vessel":
        for step in steps:
            if step.part(entity).delete:
                await _spare_vessel(step, step.part(entity))
    going = [step for step in steps if step.part(entity).delete]
    roots = [step.means.root for step in steps if step.means.vessel and step.decides]
    for step in going:
        means, part = step.means, step.part(entity)
        of = Owner(means.checkpoint, means.run_id, means.vessel, bool(keys_of(means.connection)))
        step.done.deleted += await others.take_along(
            means.connection, means.graph, of, entity.tables[0].name, list(part.delete), roots
        )
        await _note_hanging(step.means, entity.tables[0].name, list(step.part(entity).delete), step.removed)
    for table in reversed(entity.tables):
        for step in going:
            part = step.part(entity)
            gone = [id_ for id_ in part.delete if was_in(part, id_, table)]
            step.removed[table.name].update(key_of(table, part.was[id_]) for id_ in gone)
            step.done.deleted[table.name] += len(gone)
        ids = [id_ for step in going for id_ in step.part(entity).delete]
        await delete_rows(steps[0].means.connection, table, ids)


async def _spare_vessel(step: Step, part: Part) -> None:
    """A vessel of which anything is left, all else deleted, or that others refer to, becomes inactive."""
    means = step.means
    for id_ in list(part.delete):
        was = part.was[id_]
        if was is None or not await held.anything_left(means.connection, means.graph, id_):
            continue
        source = _spare(part, id_, held.ROWS_LEFT)
        row = Row(was.tables, {**was.cells, "vessels.status": "inactive"})
        part.write, part.base[source] = {id_: row}, row
        if equal(part.entity, row, was):
            part.untouched.add(id_)
        for table in part.entity.tables:
            await write_rows([step], part.entity, table)


async def _note_hanging(
    means: Means, table: str, ids: Collection[str], removed: defaultdict[str, set[str]], goes: str = ""
) -> None:
    """Notes the keys of rows that go along by the target's cascades with rows of a table: with these (target
    ids), or with those under a condition over `t` and the ids."""
    own, these = means.graph.tables[table].key[0], "ANY ($1::text[]::uuid[])"
    for fk in means.graph.vessels.into(table):
        child = means.graph.tables[fk.child]
        if not fk.cascades or not child.key:
            continue  # where rows of the vessel have no key, no rollback is possible
        if fk.parent_column == own and not goes:
            hangs = f"t.{fk.column} = {these}"
        else:
            parents = f"SELECT t.{fk.parent_column} FROM {table} t WHERE {goes or f't.{own} = {these}'}"
            hangs = f"t.{fk.column} IN ({parents})"
        key = ", ".join(f"t.{column}::text" for column in child.key)
        rows = await means.connection.fetch(
            f"SELECT concat_ws('/', {key}) AS id FROM {fk.child} t WHERE {hangs}", list(ids)
        )
        new = {row["id"] for row in rows} - removed[fk.child]
        removed[fk.child] |= new
        if new and fk.child in TABLES and len(child.key) == 1:
            await _note_hanging(means, fk.child, new, removed)
        elif new:  # the portal's own keys may be of any type
            await _note_hanging(means, fk.child, ids, removed, hangs)


async def forget_hanging(steps: Sequence[Step]) -> None:
    """Rows of these vessels that went along, as those in quarantine do, were not deleted by the portal, be it
    that they went with equipment of another of them: should they come again, they are new."""
    for entity in ENTITIES:
        if not entity.tables:
            continue
        main = entity.tables[0]
        gone = set[str]().union(*(step.removed.get(main.name, ()) for step in steps))
        for step in steps:
            gone -= step.part(entity).delete.keys() | step.part(entity).write.keys()
        for step in steps if gone else ():
            own = f"{main.name}.{main.own_key}"
            shape = base.only("source_id", own)
            rows = await base.read(steps[0].means.connection, [step.means.owner], entity.name, shape=shape)
            if rows is not None:
                part, went = step.part(entity), rows.filter(rows[own].is_in(list(gone)))
                part.forget |= set(went["source_id"]) - part.base.keys()
                if went.height:
                    step.removed[main.name].update(went[own])
