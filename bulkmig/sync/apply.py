"""Carries plans out in the vessels' transaction: parents before children, deletions last and backwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bulkmig._core.declare import Entity
from bulkmig.encode import bases
from bulkmig.entities import ENTITIES
from bulkmig.ledger import base, write
from bulkmig.sync import conflicts
from bulkmig.sync.deleting import delete, forget_hanging, retain, retain_for_rows
from bulkmig.sync.parts import Part
from bulkmig.sync.row import frame_of
from bulkmig.sync.step import Means, Step
from bulkmig.sync.writing import let_go, write_rows

_RETAINED = """
INSERT INTO bulkmig.retained (entity, source_id, vessel_id, target_id, run_id, reason)
VALUES ($1, $2::text::uuid, $3::text::uuid, $4::text::uuid, $5::text::uuid, $6)
    ON CONFLICT (entity, source_id) DO UPDATE SET reason = excluded.reason, vessel_id = excluded.vessel_id,
        target_id = excluded.target_id
"""


async def apply(steps: Sequence[Step]) -> None:
    """Writes what the plans say, and records it, in the caller's transaction: each table's rows of all steps
    at once."""
    entities = [
        entity for entity in ENTITIES if entity.tables and any(not step.part(entity).idle for step in steps)
    ]
    for entity in entities:
        await retain(steps, entity)
    for entity in entities:
        for table in entity.tables:
            await let_go(steps, entity, table)
            await write_rows(steps, entity, table)
    for entity in entities:
        await retain_for_rows(steps, entity)
    for entity in reversed(entities):
        await delete(steps, entity)
    for step in steps:
        for entity in ENTITIES:
            if entity not in entities:
                step.done.unchanged += step.part(entity).unchanged
            if step.part(entity).went:
                step.removed[entity.tables[0].name] |= step.part(entity).went
    await forget_hanging(steps)
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
        part.leave_the_portals()
        for kind, ids, holds in (("forgotten", part.forget, True), ("untouched", part.untouched, False)):
            if ids:
                listed = base.pack_ids(sorted(ids))
                yield _part(means_of[owner], entity.name, kind, len(ids), listed, holds=holds)


def _part(
    means: Means, entity: str, kind: str, rows: int, payload: bytes, *, holds: bool = True
) -> write.BasePart:
    return write.BasePart(means.owner, entity, rows, payload, means.checkpoint, kind, holds)


def _came_again(entity: Entity, part: Part) -> Iterator[tuple[str, str, bool]]:
    """Companies or users (source id, target id, not adopted) whom the portal had deleted."""
    own = f"{entity.tables[0].name}.{entity.tables[0].own_key}"
    for source, row in part.base.items():
        id_ = row[own] or ""
        if id_ in part.write and part.was[id_] is None:
            yield source, id_, False


async def _record(steps: Sequence[Step], entity: Entity) -> None:
    connection, run_id = steps[0].means.connection, steps[0].means.run_id
    found: list[conflicts.Found] = []
    retained: list[tuple[object, ...]] = []
    back: list[str] = []
    came: list[tuple[str, str, bool]] = []
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
        if vessel is not None:
            await conflicts.move(connection, vessel, part.undecided)
        elif entity.tables:
            came += _came_again(entity, part)
    await conflicts.record(connection, run_id, found)
    if came:
        await write.identities(connection, run_id, entity.name, came)
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
