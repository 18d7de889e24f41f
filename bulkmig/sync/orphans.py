"""Rows that their vessel has no more and the source still has: without a parent, so that they belong to no
vessel there, or on a vessel that is not in the target."""

from __future__ import annotations

from collections.abc import Collection

from bulkmig._core.declare import Entity
from bulkmig.postgres.session import Connection


async def orphans(source: Connection, entity: Entity, gone: Collection[str]) -> set[str]:
    """Those of these rows (source ids), which their vessel has no more, that the source has without a
    parent."""
    if entity.through is None or not gone:
        return set()
    table, column = entity.through
    rows = await source.fetch(
        f"SELECT t.id::text FROM {entity.source} t WHERE t.id = ANY ($1::text[]::uuid[])"
        f" AND NOT EXISTS (SELECT FROM {table} p WHERE p.id = t.{column})",
        sorted(gone),
    )
    return {row["id"] for row in rows}


async def elsewhere(source: Connection, entity: Entity, gone: Collection[str]) -> set[str]:
    """Those of these rows (source ids), which their vessel has no more, that the source has: they come with
    another vessel, under the ids that they have."""
    if not gone:
        return set()
    rows = await source.fetch(
        f"SELECT id::text FROM {entity.source} WHERE id = ANY ($1::text[]::uuid[])", sorted(gone)
    )
    return {row["id"] for row in rows}
