"""Vessels that the source has no more: deleted, when that is allowed, with all that bulkmig wrote of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import polars as pl

from bulkmig._core.findings import FINDING
from bulkmig.checkpoint.many import Due, of_vessels
from bulkmig.checkpoint.take import new_id
from bulkmig.entities import PER_VESSEL, entity
from bulkmig.ledger import base, write
from bulkmig.ledger.locks import LOCK_VESSELS, lock_keys
from bulkmig.postgres.session import Connection, transaction
from bulkmig.selection import Vessel
from bulkmig.sync import alone, held
from bulkmig.sync.apply import apply
from bulkmig.sync.gather import Found
from bulkmig.sync.kept import FOR_NOW
from bulkmig.sync.moves import Moves
from bulkmig.sync.orphans import elsewhere, orphans
from bulkmig.sync.parts import Plan
from bulkmig.sync.plan import plan, release
from bulkmig.sync.record import BRAKE, keep_ids
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
    vessels: Sequence[Vessel],
    options: LoadOptions,
    rules: Rules,
    stays: Mapping[str, Mapping[str, Collection[str]]],
) -> list[Loaded]:
    """Deletes vessels and what bulkmig wrote of them, in one transaction. One with equipment that has
    maintenance logs, or with rows of the portal's own, becomes inactive instead. The brake holds unless it is
    released. One that was rolled back since the run has chosen it is skipped, and so are the others then.
    `stays`: vessel -> entity -> source ids of rows that the source has on another vessel and that are kept
    here. Rows that the source has still, without their parents, are kept as long as those are."""
    results = {vessel.id: Loaded(vessel, "migrated") for vessel in vessels}
    async with transaction(target, commit=not options.dry_run):
        await target.execute(LOCK_VESSELS, lock_keys(results))
        if await alone.rolled_back(target, [*results]):
            return [Loaded(vessel, "skipped") for vessel in vessels]
        graph = await options.checkpoints.read_graph(target)
        found: defaultdict[str, Found] = defaultdict(Found)
        anew: set[tuple[str, str]] = set()
        roots: dict[str, str] = {}
        for vessel in vessels:
            root = await target.fetchval(_TARGET, vessel.id)
            gone = await _written(source, target, vessel, stays[vessel.id])
            kept = {row["id"]: row["reason"] for row in await target.fetch(_KEPT, vessel.id, list(FOR_NOW))}
            # What it was kept for may have gone, too, or goes now.
            going = any(ids - kept.keys() for ids in gone.values())
            freed = bool(await held.free(target, options.checkpoints, [vessel.id]))
            if not freed and kept.get(vessel.id) == held.ROWS_LEFT:
                freed = going or not await held.anything_left(target, graph, root)
            if freed:
                anew.add(("vessel", vessel.id))
            elif not going:  # that was done before
                continue
            roots[vessel.id] = root
            for name, ids in gone.items():
                found[name].gone |= dict.fromkeys(ids, vessel.id)
                found[name].left_for |= await elsewhere(source, entity(name), ids)
        plans = await plan(target, [*roots], found, rules, checkpoints=options.checkpoints, anew=anew)
        await release(target, plans, found["equipment"].gone, rules, Moves())
        for vessel in vessels:
            made = plans.get(vessel.id)
            if made is not None and made.brake:
                await _braked(target, vessel, options, made, results[vessel.id])
            if made is None or made.empty:
                await _mark(target, vessel, options, "migrated", 0)
        await _carry_out(
            target,
            {id_: (roots[id_], made) for id_, made in plans.items() if not made.empty},
            options,
            results,
        )
        await keep_ids(target, options.run_id, found, plans.values())
    return [*results.values()]


async def _written(
    source: Connection, target: Connection, vessel: Vessel, stays: Mapping[str, Collection[str]]
) -> dict[str, set[str]]:
    """Entity -> source ids of the vessel's rows that the source has no more."""
    gone: dict[str, set[str]] = {}
    for of in PER_VESSEL:
        if of.tables:
            rows = await base.read(target, [vessel.id], of.name, shape=base.only("source_id"))
            written = set() if rows is None else set(rows["source_id"])
            written = written.difference(stays.get(of.name, ()))
            gone[of.name] = written - await orphans(source, of, written)
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


async def _carry_out(
    target: Connection,
    plans: Mapping[str, tuple[str, Plan]],
    options: LoadOptions,
    results: Mapping[str, Loaded],
) -> None:
    """Carries these vessels' plans out, each given with its target id."""
    if not plans:
        return
    own = {id_: new_id() for id_ in plans}
    due = [
        Due(own[id_], id_, root, absent=False, together=tuple(own[other] for other in plans if other != id_))
        for id_, (root, _) in plans.items()
    ]
    taken = await of_vessels(options.checkpoints, target, due)
    graph = await options.checkpoints.read_graph(target)
    catalogue, run_id = options.decisions.catalogue, options.run_id
    steps = [
        Step(Means(target, catalogue, graph, run_id, id_, root, taken[id_]), made)
        for id_, (root, made) in plans.items()
    ]
    await apply(steps)
    for step in steps:
        id_, made, result = step.means.owner, step.plan, results[step.means.owner]
        step.tell(result)
        if not made.brake:
            await write.left_quarantine(target, run_id, [id_])
            await target.execute("DELETE FROM bulkmig.pending WHERE vessel_id = $1::text::uuid", id_)
        gone_whole = bool(made.parts["vessel"].delete)
        if gone_whole:
            await target.execute("DELETE FROM bulkmig.vessels WHERE vessel_id = $1::text::uuid", id_)
        rows = (result.updated + result.deleted).total()
        await _mark(target, result.vessel, options, "gone" if gone_whole else "migrated", rows)


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
