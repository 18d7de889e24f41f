"""Carries plans out in the vessels' transaction: parents before children, deletions last and backwards."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from bulkmig._core.declare import Entity, Table
from bulkmig._core.unit import Catalogue
from bulkmig.checkpoint import others
from bulkmig.checkpoint.parts import Owner
from bulkmig.encode import bases
from bulkmig.entities import ENTITIES
from bulkmig.ledger import base, write
from bulkmig.postgres.session import Connection, keys_of
from bulkmig.sync import conflicts, held
from bulkmig.sync.plan import Part, Plan, frame_of
from bulkmig.sync.row import Row, ends_of, equal, equal_in
from bulkmig.target.graph import Graph
from bulkmig.target.postgres import upsert

DECOMMISSIONED = "decommissioned"
_RETAINED = """
INSERT INTO bulkmig.retained (entity, source_id, vessel_id, target_id, run_id, reason)
VALUES ($1, $2::text::uuid, $3::text::uuid, $4::text::uuid, $5::text::uuid, $6)
    ON CONFLICT (entity, source_id) DO UPDATE SET reason = excluded.reason, vessel_id = excluded.vessel_id,
        target_id = excluded.target_id
"""


@dataclass
class Applied:
    """Rows per target table, and conflicts by what became of them."""

    inserted: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    open: int = 0
    resolved: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Means:
    """What applying needs. `owner`: the vessel, or the nil UUID; `root`: its target id; `checkpoint`: the one
    of this change."""

    connection: Connection
    catalogue: Catalogue
    graph: Graph
    run_id: str
    owner: str
    root: str
    checkpoint: str

    @property
    def vessel(self) -> str | None:
        return None if self.owner == write.NIL else self.owner


@dataclass
class Step:
    """One vessel's share of a commit. `removed`: table -> keys of rows that it has no more."""

    means: Means
    plan: Plan
    done: Applied = field(default_factory=Applied)
    removed: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def part(self, entity: Entity) -> Part:
        return self.plan.parts[entity.name]


async def apply(steps: Sequence[Step]) -> None:
    """Writes what the plans say, and records it, in the caller's transaction: each table's rows of all steps
    at once."""
    entities = [
        entity for entity in ENTITIES if entity.tables and any(not step.part(entity).idle for step in steps)
    ]
    for entity in entities:
        await _retain(steps, entity)
    for entity in entities:
        for table in entity.tables:
            await _let_go(steps, entity, table)
            await _write(steps, entity, table)
    for entity in entities:
        await _retain_for_rows(steps, entity)
    for entity in reversed(entities):
        await _delete(steps, entity)
    for step in steps:
        for entity in ENTITIES:
            if entity not in entities:
                step.done.unchanged += step.part(entity).unchanged
            if step.part(entity).went:
                step.removed[entity.tables[0].name] |= step.part(entity).went
    await _forget_hanging(steps)
    parts: list[write.BasePart] = []
    for entity in ENTITIES:
        parts += _base_parts(steps, entity)
        await _record(steps, entity)
    for step in steps:
        if step.removed:
            keys = {table: sorted(ids) for table, ids in step.removed.items()}
            owner = "vessel" if step.means.vessel else "company"
            parts.append(_part(step.means, owner, "removed", len(keys), base.pack_keys(keys), holds=False))
    await write.base_parts(steps[0].means.connection, steps[0].means.run_id, parts)


def _deleting(steps: Sequence[Step], entity: Entity) -> dict[str, Part]:
    """Target ids of rows that are to go, with their parts."""
    parts = [step.part(entity) for step in steps]
    return {id_: part for part in parts for id_ in part.delete}


async def _retain(steps: Sequence[Step], entity: Entity) -> None:
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


async def _retain_for_rows(steps: Sequence[Step], entity: Entity) -> None:
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


def _spare(part: Part, id_: str, reason: str) -> str:
    """Lets a row stay that was to go; returns its source id."""
    source = part.delete.pop(id_)
    part.retained[source] = (id_, reason)
    part.forget.discard(source)
    return source


async def _write(steps: Sequence[Step], entity: Entity, table: Table) -> None:
    left: list[str] = []
    rows: list[Row] = []
    for step in steps:
        part, done = step.part(entity), step.done
        inside = {id_: row for id_, row in part.write.items() if table.name in row.tables}
        leaving = [
            id_
            for id_, row in part.write.items()
            if _was_in(part, id_, table)
            and (id_ not in inside or key_of(table, part.was[id_]) != key_of(table, row))
        ]
        same = {id_ for id_, row in inside.items() if _is_same(part, id_, table, row)}
        other = {id_: row for id_, row in inside.items() if id_ not in same}
        there = sum(_was_in(part, id_, table) for id_ in other)
        done.updated[table.name] += there
        done.inserted[table.name] += len(other) - there
        done.deleted[table.name] += sum(id_ not in inside for id_ in leaving)
        done.unchanged[table.name] += part.unchanged[table.name] + len(same)
        left += leaving
        rows += other.values()
    means = steps[0].means
    await _delete_rows(means.connection, table, left)
    if rows:
        frame = pl.DataFrame(
            {
                name: pl.Series([row[f"{table.name}.{name}"] for row in rows], dtype=pl.String)
                for name in table.cells
            }
        )
        await upsert(means.connection, table.name, table.key, frame, means.catalogue)


def _is_same(part: Part, id_: str, table: Table, row: Row) -> bool:
    """Whether nothing changes in this table, be it in others of the entity."""
    was = part.was[id_]
    return was is not None and table.name in was.tables and equal_in(part.entity, table, was, row)


def _was_in(part: Part, id_: str, table: Table) -> bool:
    was = part.was[id_]
    return was is not None and table.name in was.tables


def key_of(table: Table, row: Row | None) -> str:
    """A row's primary key, its columns joined as `removed` parts have them."""
    return "/".join(str(row[f"{table.name}.{column}"]) for column in table.key) if row is not None else ""


async def _let_go(steps: Sequence[Step], entity: Entity, table: Table) -> None:
    """Rows whose unique value another one gets give it up first, so that none meets the other's old one."""
    means = steps[0].means
    for unique in means.graph.tables[table.name].unique:
        if len(unique) != 1 or unique[0] not in table.cells or unique[0] == table.own_key:
            continue
        cell = f"{table.name}.{unique[0]}"
        parts = [step.part(entity) for step in steps]
        wanted = {row[cell] for part in parts for row in part.write.values()} - {None}
        moving = [
            id_
            for part in parts
            for id_, row in part.write.items()
            if (was := part.was[id_]) is not None and was[cell] != row[cell] and was[cell] in wanted
        ]
        if not moving:
            continue
        column = means.catalogue[table.name][unique[0]]
        # Something that nobody else has: most such columns may be NULL, the others are texts.
        aside = "NULL" if column.nullable else "gen_random_uuid()::text"
        await means.connection.execute(
            f"UPDATE {table.name} SET {unique[0]} = {aside} WHERE {table.own_key} = ANY ($1::text[]::uuid[])",
            moving,
        )


async def _delete(steps: Sequence[Step], entity: Entity) -> None:
    if entity.name == "vessel":
        for step in steps:
            if step.part(entity).delete:
                await _spare_vessel(step, step.part(entity))
    going = [step for step in steps if step.part(entity).delete]
    roots = [step.means.root for step in steps if step.means.vessel]
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
            gone = [id_ for id_ in part.delete if _was_in(part, id_, table)]
            step.removed[table.name].update(key_of(table, part.was[id_]) for id_ in gone)
            step.done.deleted[table.name] += len(gone)
        ids = [id_ for step in going for id_ in step.part(entity).delete]
        await _delete_rows(steps[0].means.connection, table, ids)


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
            await _write([step], part.entity, table)


async def _note_hanging(
    means: Means, table: str, ids: Iterable[str], removed: defaultdict[str, set[str]]
) -> None:
    """Notes the keys of rows that go along by the target's cascades."""
    for fk in means.graph.vessels.into(table):
        if not fk.cascades:
            continue
        child = means.graph.tables[fk.child]
        key = ", ".join(f"{column}::text" for column in child.key)
        rows = await means.connection.fetch(
            f"SELECT concat_ws('/', {key}) AS id FROM {fk.child}"
            f" WHERE {fk.column} = ANY ($1::text[]::uuid[])",
            list(ids),
        )
        new = {row["id"] for row in rows} - removed[fk.child]
        removed[fk.child] |= new
        if new and len(child.key) == 1:
            await _note_hanging(means, fk.child, new, removed)


async def _forget_hanging(steps: Sequence[Step]) -> None:
    """Rows of these vessels that went along, as those in quarantine do, were not deleted by the portal:
    should they come again, they are new."""
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
                part = step.part(entity)
                part.forget |= set(rows.filter(rows[own].is_in(list(gone)))["source_id"]) - part.base.keys()


async def _delete_rows(connection: Connection, table: Table, ids: list[str]) -> None:
    if ids:
        await connection.execute(
            f"DELETE FROM {table.name} WHERE {table.own_key} = ANY ($1::text[]::uuid[])", ids
        )


def _base_parts(steps: Sequence[Step], entity: Entity) -> Iterator[write.BasePart]:
    """What the base has from now on of an entity's rows."""
    means_of = {step.means.owner: step.means for step in steps}
    parts = [(step.means.owner, step.part(entity)) for step in steps]
    for kind, holds in (("rows", True), ("standing", False)):
        rows = [
            (owner, source, row)
            for owner, part in parts
            for source, row in (part.base if holds else part.stands).items()
        ]
        for owner, (n, payload) in bases(entity, frame_of(entity, rows)).items() if rows else ():
            yield _part(means_of[owner or ""], entity.name, kind, n, payload, holds=holds)
    for owner, part in parts:
        for kind, ids, holds in (("forgotten", part.forget, True), ("untouched", part.untouched, False)):
            if ids:
                listed = base.pack_ids(sorted(ids))
                yield _part(means_of[owner], entity.name, kind, len(ids), listed, holds=holds)


def _part(
    means: Means, entity: str, kind: str, rows: int, payload: bytes, *, holds: bool = True
) -> write.BasePart:
    return write.BasePart(means.owner, entity, rows, payload, means.checkpoint, kind, holds)


async def _record(steps: Sequence[Step], entity: Entity) -> None:
    connection, run_id = steps[0].means.connection, steps[0].means.run_id
    found: list[conflicts.Found] = []
    retained: list[tuple[object, ...]] = []
    back: list[str] = []
    for step in steps:
        part, vessel = step.part(entity), step.means.vessel
        for source, target_id, conflict in part.conflicts:
            found.append((vessel, entity, source, target_id, conflict))
            if conflict.open:
                step.done.open += 1
            else:
                step.done.resolved[conflict.strategy] += 1
        retained += [
            (entity.name, source, vessel, target_id, run_id, reason)
            for source, (target_id, reason) in part.retained.items()
        ]
        back += part.base.keys() | part.forget
    await conflicts.record(connection, run_id, found)
    if retained:
        await connection.executemany(_RETAINED, retained)
    # What leaves one vessel may stay on another.
    stays = {source for step in steps for source in step.part(entity).retained}
    if any(source not in stays for source in back):
        await connection.execute(
            "DELETE FROM bulkmig.retained WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[])",
            entity.name,
            sorted(set(back) - stays),
        )
