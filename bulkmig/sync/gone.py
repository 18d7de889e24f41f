"""Vessels that the source has no more: deleted, when that is allowed, with all that bulkmig wrote of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from bulkmig._core.findings import FINDING
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import base, write
from bulkmig.ledger.locks import lock_key
from bulkmig.postgres.session import Connection, transaction
from bulkmig.selection import Vessel
from bulkmig.sync import alone, held
from bulkmig.sync.apply import apply
from bulkmig.sync.gather import Found, orphans
from bulkmig.sync.kept import FOR_NOW
from bulkmig.sync.parts import Plan
from bulkmig.sync.plan import plan
from bulkmig.sync.record import BRAKE
from bulkmig.sync.rules import Rules
from bulkmig.sync.step import Means, Step
from bulkmig.vessel_load import Loaded, LoadOptions

_TARGET = """
SELECT target_id::text FROM bulkmig.identities WHERE entity = 'vessel' AND source_id = $1::text::uuid
"""
_KEPT = """
SELECT source_id::text AS id, reason FROM bulkmig.retained
 WHERE vessel_id = $1::text::uuid AND NOT reason = ANY ($2::text[])
"""
_GONE = "the vessel is gone from the source: it stays until --allow-deletions deletes it"


async def named(target: Connection, vessels: Collection[str]) -> list[Vessel]:
    """These migrated vessels, which the source has no more, under their last names."""
    rows = await target.fetch(
        "SELECT vessel_id::text AS id, name FROM bulkmig.vessels WHERE vessel_id = ANY ($1::text[]::uuid[])"
        " ORDER BY vessel_id",
        list(vessels),
    )
    return [Vessel(row["id"], row["name"], None, "", 0) for row in rows]


async def delete(
    source: Connection,
    target: Connection,
    vessel: Vessel,
    options: LoadOptions,
    rules: Rules,
    stays: Mapping[str, Collection[str]],
) -> Loaded:
    """Deletes a vessel and what bulkmig wrote of it, in one transaction. With equipment that has maintenance
    logs, or with rows of the portal's own, it becomes inactive instead. The brake holds unless it is
    released. One that was rolled back since the run has chosen it is skipped. `stays`: entity -> source ids
    of rows that the source has on another vessel and that are kept here. Rows that the source has still,
    without their parents, are kept as long as those are."""
    result = Loaded(vessel, "migrated")
    async with transaction(target, commit=not options.dry_run):
        await target.execute("SELECT pg_advisory_xact_lock($1)", lock_key(vessel.id))
        if await alone.rolled_back(target, [vessel.id]):
            return Loaded(vessel, "skipped")
        target_id = await target.fetchval(_TARGET, vessel.id)
        graph = await options.checkpoints.read_graph(target)
        gone = await _written(source, target, vessel, stays)
        kept = {row["id"]: row["reason"] for row in await target.fetch(_KEPT, vessel.id, list(FOR_NOW))}
        # What it was kept for may have gone, too.
        freed = bool(await held.free(target, options.checkpoints, [vessel.id]))
        if not freed and kept.get(vessel.id) == held.ROWS_LEFT:
            freed = not await held.anything_left(target, graph, target_id)
        if not freed and not any(ids - kept.keys() for ids in gone.values()):  # that was done before
            await _mark(target, vessel, options, "migrated", 0)
            return result
        found = {n: Found(gone=dict.fromkeys(ids, vessel.id)) for n, ids in gone.items()}
        anew = {("vessel", vessel.id)} if freed else set()
        plans = await plan(target, [vessel.id], found, rules, checkpoints=options.checkpoints, anew=anew)
        made = plans[vessel.id]
        if made.brake:
            await _braked(target, vessel, options, made, result)
        if made.empty:
            await _mark(target, vessel, options, "migrated", 0)
            return result
        checkpoint = await options.checkpoints.of_vessel(target, vessel.id, target_id)
        means = Means(
            target, options.decisions.catalogue, graph, options.run_id, vessel.id, target_id, checkpoint
        )
        await _carry_out(Step(means, made), vessel, options, result)
    return result


async def _written(
    source: Connection, target: Connection, vessel: Vessel, stays: Mapping[str, Collection[str]]
) -> dict[str, set[str]]:
    """Entity -> source ids of the vessel's rows that the source has no more."""
    gone: dict[str, set[str]] = {}
    for entity in PER_VESSEL:
        if entity.tables:
            rows = await base.read(target, [vessel.id], entity.name, shape=base.only("source_id"))
            written = set() if rows is None else set(rows["source_id"])
            written = written.difference(stays.get(entity.name, ()))
            gone[entity.name] = written - await orphans(source, entity, written)
    return gone


async def _braked(
    target: Connection, vessel: Vessel, options: LoadOptions, made: Plan, result: Loaded
) -> None:
    result.held_back = made.brake
    result.findings["warning", BRAKE] += 1
    finding = pl.DataFrame(
        [("warning", BRAKE, vessel.id, "vessel", vessel.id, "", _GONE)], schema=FINDING, orient="row"
    )
    await write.findings(target, options.run_id, [finding])


async def _carry_out(step: Step, vessel: Vessel, options: LoadOptions, result: Loaded) -> None:
    target, made, done = step.means.connection, step.plan, step.done
    await apply([step])
    result.inserted, result.updated, result.deleted = +done.inserted, +done.updated, +done.deleted
    if not made.brake:
        await write.left_quarantine(target, options.run_id, [vessel.id])
        await target.execute("DELETE FROM bulkmig.pending WHERE vessel_id = $1::text::uuid", vessel.id)
    gone_whole = bool(made.parts["vessel"].delete)
    if gone_whole:
        await target.execute("DELETE FROM bulkmig.vessels WHERE vessel_id = $1::text::uuid", vessel.id)
    rows = (result.updated + result.deleted).total()
    await _mark(target, vessel, options, "gone" if gone_whole else "migrated", rows)


async def _mark(target: Connection, vessel: Vessel, options: LoadOptions, state: str, rows: int) -> None:
    await write.mark(
        target,
        options.who,
        options.run_id,
        vessel.id,
        vessel.name,
        state=state,
        phase="load",
        rows=rows,
        seconds=0.0,
        snapshot=options.snapshot,
    )
