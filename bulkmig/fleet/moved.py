"""Rows of vessels that are to be loaded and are in the target on another vessel still: the source has moved
them since that was loaded. Moving them is `sync`'s: loaded here, they would be there twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bulkmig._core import ids
from bulkmig._core.declare import Entity
from bulkmig.entities import PER_VESSEL
from bulkmig.fleet.run import Run
from bulkmig.postgres.session import Connection
from bulkmig.selection import Vessel
from bulkmig.source.changes import cluster, written_since
from bulkmig.target.postgres import ends
from bulkmig.vessel_load import Loaded, record_failure

_AT_ONCE = 50  # vessels
_ENOUGH = 100_000  # rows to look for in one go

_LOADED = """
SELECT coalesce(s.horizon, 0) AS horizon, coalesce(s.cluster, '') AS cluster, v.source_snapshot AS snapshot
  FROM bulkmig.vessels v LEFT JOIN bulkmig.seen s ON s.vessel_id = v.vessel_id WHERE v.state = 'migrated'
"""
_WRITTEN = """
SELECT t.{key}::text AS id FROM {table} t
 WHERE substr(t.{key}::text, 15, 2) = $2 AND substr(t.{key}::text, 17) = ANY ($1::text[])
"""
_ERROR = (
    "{entity} {id}: it is in the target on another vessel, from which the source has moved it: synchronise"
    " that vessel (`bulkmig sync`), then this one comes"
)


async def without_moved(run: Run, due: list[Vessel]) -> list[Vessel]:
    """The vessels of which all rows can be loaded; the others fail. Where no vessel is in the target this
    takes one query, else a look at what was written in the source since the first of them was read."""
    if run.settings.dry_run and not run.state.ledger:
        return due
    failed: dict[str, Loaded] = {}

    async def look() -> None:
        target, options = run.ends.target, run.options()
        by_id = {vessel.id: vessel for vessel in due}
        failed.clear()  # of an attempt that broke off
        for id_, error in (await _moved(run.ends.holder, target, due)).items():
            vessel = by_id[id_]
            failed[id_] = await record_failure(target, vessel, options, phase="validate", error=error)

    await run.step("rows that have moved", look)
    for result in failed.values():
        run.counted.add(result)
    return [] if run.ends_early else [vessel for vessel in due if vessel.id not in failed]


async def _moved(source: Connection, target: Connection, due: Sequence[Vessel]) -> dict[str, str]:
    """Vessel -> what is wrong with the first of its rows."""
    loaded = await target.fetch(_LOADED)
    if not loaded:
        return {}
    here = await cluster(source)
    horizon = min(
        row["horizon"] or int((row["snapshot"] or "0").partition(":")[0])
        if row["cluster"] in ("", here)
        else 0
        for row in loaded
    )
    failing: dict[str, str] = {}
    rows: dict[str, dict[str, str]] = {}
    for begin in range(0, len(due), _AT_ONCE):
        vessels = [vessel.id for vessel in due[begin : begin + _AT_ONCE]]
        for entity, found in (await written_since(source, vessels, horizon)).items():
            rows.setdefault(entity, {}).update(found)
        if sum(map(len, rows.values())) > _ENOUGH:
            failing = await _written(target, rows) | failing
            rows = {}
    return await _written(target, rows) | failing


async def _written(target: Connection, rows: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The same of these rows: entity -> source id -> vessel."""
    failing: dict[str, str] = {}
    for entity in PER_VESSEL:
        of = rows.get(entity.name, {})
        for source_id in await _there(target, entity, of) if of else ():
            failing.setdefault(of[source_id], _ERROR.format(entity=entity.name, id=source_id))
    return failing


async def _there(target: Connection, entity: Entity, rows: Mapping[str, str]) -> list[str]:
    """Those of these rows (source id -> vessel) that are in the target."""
    if entity.name == "equipment":
        known = await ends(target, list(rows))
        return known.filter(known["target_id"].is_not_null())["source_id"].to_list()
    # An id ends in digits of its source id alone.
    by_digits = {
        ids.derive_one(vessel, source_id, entity.digit)[16:]: source_id for source_id, vessel in rows.items()
    }
    main = entity.tables[0]
    found = await target.fetch(
        _WRITTEN.format(key=main.own_key, table=main.name), list(by_digits), f"8{entity.digit}"
    )
    return sorted(by_digits[row["id"][16:]] for row in found)
