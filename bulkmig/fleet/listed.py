"""Rows in quarantine that a migration has written, or lets wait, on another vessel than the one with which
they are listed, or listed with none: they have moved in the source since, and that other one may not be
looked at for long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from bulkmig._core.declare import Entity
from bulkmig.entities import PER_VESSEL
from bulkmig.fleet.run import Run
from bulkmig.ledger import base, write
from bulkmig.postgres.session import Connection, transaction
from bulkmig.source import queries

_LISTED = """
SELECT source_id::text AS id, vessel_id::text AS vessel FROM bulkmig.quarantine
 WHERE entity = $1 AND run_id <> $2::text::uuid
"""
_WAITING = """
SELECT source_id::text AS id FROM bulkmig.pending WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[])
"""
_AT_ONCE = 10_000


async def release(run: Run) -> None:
    """Takes them off the list."""
    target = run.ends.target
    for of in PER_VESSEL:
        if of.tables and of.name != "vessel":
            rows = await target.fetch(_LISTED, of.name, run.report.run_id)
            moved = await _moved(run.ends.holder, of, {row["id"]: row["vessel"] for row in rows})
            if moved:
                there = await _there(target, of, moved)
                async with transaction(target):
                    await write.release(target, of.name, sorted(there))


async def _moved(source: Connection, of: Entity, listed: dict[str, str | None]) -> dict[str, str]:
    """Row -> its vessel in the source, of those that are listed with another."""
    ids, found = sorted(listed), dict[str, str]()
    for first in range(0, len(ids), _AT_ONCE):
        rows = await source.fetch(queries.placed(of, ids[first : first + _AT_ONCE]))
        found |= {str(row["id"]): str(row["vessel_id"]) for row in rows}
    return {id_: vessel for id_, vessel in found.items() if vessel != listed[id_]}


async def _there(target: Connection, of: Entity, moved: dict[str, str]) -> set[str]:
    """Those that were written on the vessel that the source has them on, or wait."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for id_, vessel in moved.items():
        ids[vessel].append(id_)
    there = {row["id"] for row in await target.fetch(_WAITING, of.name, list(moved))}
    for vessel, some in ids.items():
        there |= await _written(target, of, vessel, some)
    return there


async def _written(target: Connection, of: Entity, vessel: str, ids: Collection[str]) -> set[str]:
    rows = await base.read(target, [vessel], of.name, shape=base.only("source_id"))
    return set() if rows is None else set(rows["source_id"]).intersection(ids)
