"""What a sync records besides rows: findings, quarantine, waiting rows, what stays with a parent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.findings import FINDING, QUARANTINE
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import write
from bulkmig.postgres.session import Connection
from bulkmig.sync.gather import Found
from bulkmig.sync.kept import WITH_PARENT
from bulkmig.sync.parts import Plan
from bulkmig.vessel_load import Loaded

BRAKE = "sync.deletion_brake"
_BRAKED = "more rows are gone from the source than the brake lets go: --allow-deletions deletes them"

_NOT_WITH_PARENT = """
DELETE FROM bulkmig.retained WHERE entity = $1 AND vessel_id = ANY ($2::text[]::uuid[]) AND reason = $3
   AND NOT source_id = ANY ($4::text[]::uuid[])
"""
_NOT_WAITING = """
DELETE FROM bulkmig.pending WHERE entity = $1 AND vessel_id = ANY ($2::text[]::uuid[])
   AND NOT source_id = ANY ($3::text[]::uuid[])
"""
# Also what an earlier look of the same run has found.
_LEFT = """
DELETE FROM bulkmig.quarantine WHERE vessel_id = ANY ($1::text[]::uuid[]) AND (entity, source_id) NOT IN
    (SELECT e, s::uuid FROM unnest($2::text[], $3::text[]) AS u (e, s))
"""
_NOT_LISTED, _NOT_PENDING = (
    f"DELETE FROM bulkmig.{table} WHERE entity = $1 AND vessel_id = $2::text::uuid"
    " AND source_id = ANY ($3::text[]::uuid[])"
    for table in ("quarantine", "pending")
)
# What has come from a vessel that isn't looked at is listed there no more.
_CAME = """
DELETE FROM bulkmig.quarantine WHERE NOT vessel_id = ANY ($1::text[]::uuid[]) AND entity = $2
   AND source_id = ANY ($3::text[]::uuid[])
"""
_WAITING = """
INSERT INTO bulkmig.pending (entity, source_id, vessel_id, run_id)
SELECT $1, s::uuid, v::uuid, $4::text::uuid FROM unnest($2::text[], $3::text[]) AS u (s, v)
    ON CONFLICT (entity, source_id) DO UPDATE SET vessel_id = excluded.vessel_id
"""


async def keep_ids(
    target: Connection, run_id: str, found: Mapping[str, Found], plans: Iterable[Plan]
) -> None:
    """Rows that go since the source has them on a vessel that is not in the target come with that one under
    the ids that they have."""
    going = [(name, part.delete) for made in plans for name, part in made.parts.items() if part.delete]
    for name, rows in going:
        left = found[name].left_for
        if ids := [(source, id_, False) for id_, source in rows.items() if source in left]:
            await write.identities(target, run_id, name, ids)


async def record_left(
    target: Connection, left: Mapping[str, Mapping[str, Collection[str]]], vessels: Sequence[str]
) -> None:
    """What waited or was quarantined of rows that have left these vessels (vessel -> entity -> source ids) is
    their new vessels' to tell."""
    for vessel in vessels:
        for name, ids in left[vessel].items():
            await target.execute(_NOT_LISTED, name, vessel, sorted(ids))
            await target.execute(_NOT_PENDING, name, vessel, sorted(ids))


async def record(
    target: Connection,
    run_id: str,
    found: Mapping[str, Found],
    plans: Mapping[str, Plan],
    waited: Mapping[str, set[str]],
    results: Mapping[str, Loaded],
    vessels: Sequence[str],
) -> None:
    """Quarantined and waiting rows of these vessels as they are now; findings of the rows that this sync is
    about. `waited`: by entity, what waited before, also on the vessel that it leaves."""
    told: list[pl.DataFrame] = []
    out: list[tuple[str, str]] = []
    for entity in PER_VESSEL:
        rows = found[entity.name]
        quarantined = _joined(rows.quarantined, QUARANTINE)
        await write.quarantine(target, run_id, [quarantined])
        for vessel, n in quarantined["vessel_id"].value_counts().iter_rows():
            results[vessel].quarantined[entity.source] += n
        out += [(entity.name, source_id) for source_id in quarantined["source_id"]]
        new = [id_ for frame in rows.new for id_ in frame["source_id"]]
        if new:
            await target.execute(_CAME, list(vessels), entity.name, new)
        about = {*new, *(id_ for frame in rows.changed for id_ in frame["source_id"])}
        about.update(rows.left, quarantined["source_id"])
        findings = _joined(rows.findings, FINDING)
        told.append(findings.filter(pl.col("source_id").is_in(list(about))))
        results[vessels[0]].elsewhere += rows.elsewhere
        await target.execute(
            _NOT_WITH_PARENT, entity.name, list(vessels), WITH_PARENT, list(rows.with_parent)
        )
        if entity.waits is not None:
            before = waited[entity.name]
            waiting = _waiting(entity, rows, plans, before, results, vessels)
            ids = sorted(waiting)
            await target.execute(_NOT_WAITING, entity.name, list(vessels), ids)
            if ids:
                await target.execute(_WAITING, entity.name, ids, [waiting[id_] for id_ in ids], run_id)
    braked = [vessel for vessel in vessels if plans[vessel].brake]
    brakes = [("warning", BRAKE, vessel, "vessel", vessel, "", _BRAKED) for vessel in braked]
    told.append(pl.DataFrame(brakes, schema=FINDING, orient="row"))
    await write.findings(target, run_id, told)
    _count(results, _joined(told, FINDING))
    names, sources = [name for name, _ in out], [source_id for _, source_id in out]
    await target.execute(_LEFT, list(vessels), names, sources)


def _waiting(
    entity: Entity,
    rows: Found,
    plans: Mapping[str, Plan],
    before: set[str],
    results: Mapping[str, Loaded],
    vessels: Sequence[str],
) -> dict[str, str]:
    """Source id -> vessel of the rows that wait now; counts them. `before`: those that waited."""
    waiting = {
        id_: vessel for frame in rows.waiting for id_, vessel in frame.select("id", "vessel_id").iter_rows()
    }
    # What was written once waits only where a rollback took its ends, or this commit the one that it had;
    # else it is there, or the portal has deleted it.
    parts = [made.parts[entity.name] for made in plans.values()]
    went = {s for part in parts for s in part.forget} - {s for part in parts for s in part.base}
    for lost in waiting.keys() & {*rows.held, *rows.back} - before - went:
        results[waiting.pop(lost)].unsettled = True  # it may come back with its end
    for vessel in vessels:
        waiting |= dict.fromkeys(plans[vessel].parts[entity.name].waiting, vessel)
    for vessel in waiting.values():
        results[vessel].pending += 1
    # What the source has no more and the brake holds went with its end: it is forgotten with what else waits.
    held = {id_: vessel for id_, vessel in rows.gone.items() if plans[vessel].brake}
    return waiting | {id_: held[id_] for id_ in held.keys() & rows.waits}


def _joined(frames: Iterable[pl.DataFrame], schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    filled = [frame for frame in frames if frame.height]
    return pl.concat(filled) if filled else pl.DataFrame(schema=schema)


def _count(results: Mapping[str, Loaded], findings: pl.DataFrame) -> None:
    counts = findings.group_by("vessel_id", "severity", "code").len()
    for vessel, severity, code, n in counts.iter_rows():
        results[vessel].findings[severity, code] += n
