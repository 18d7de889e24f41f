"""A unit's sync: its vessels gathered, planned and applied in one transaction of the target."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import polars as pl

from bulkmig._core.unit import Decisions
from bulkmig.checkpoint.many import Due, of_vessels
from bulkmig.checkpoint.take import new_id
from bulkmig.entities import PER_VESSEL
from bulkmig.errors import BulkmigError
from bulkmig.events import VesselReached
from bulkmig.ledger import seen, write
from bulkmig.ledger.compact import compact
from bulkmig.ledger.locks import LOCK_VESSELS, lock_keys
from bulkmig.migrate_units import new_unit
from bulkmig.pipeline import Tally, run
from bulkmig.postgres.session import Connection, transaction
from bulkmig.selection import Vessel
from bulkmig.sync import abroad, staying
from bulkmig.sync.abroad import Foretold
from bulkmig.sync.alone import rolled_back
from bulkmig.sync.apply import apply
from bulkmig.sync.gather import Gather
from bulkmig.sync.kept import WITHOUT_PARENT, pending
from bulkmig.sync.moves import Moves
from bulkmig.sync.numbers import give_up, numbers_taken
from bulkmig.sync.parts import Plan
from bulkmig.sync.plan import plan, release
from bulkmig.sync.record import keep_ids, record, record_left
from bulkmig.sync.row import key_of
from bulkmig.sync.rules import Rules
from bulkmig.sync.step import Means, Step
from bulkmig.sync.unread import Unread, unread
from bulkmig.target.graph import Graph
from bulkmig.units import fits
from bulkmig.vessel_load import Loaded, LoadOptions, throttle
from bulkmig.workers import Lane

_MIGRATED = """
SELECT vessel_id::text FROM bulkmig.vessels
 WHERE state = 'migrated' AND vessel_id = ANY ($1::text[]::uuid[])
"""


class Failing(BulkmigError):
    """Rows of vessels have errors, and `--on-error fail` holds. `vessels`: the first error of each."""

    def __init__(self, vessels: Mapping[str, str]) -> None:
        super().__init__(
            "; ".join(vessels.values()), "correct the row in the source, or --on-error quarantine"
        )
        self.vessels = vessels


class RolledBack(Exception):
    """Vessels (source ids) that were rolled back since the run has chosen them: nothing was changed."""

    def __init__(self, vessels: Collection[str]) -> None:
        super().__init__(f"rolled back meanwhile: {', '.join(sorted(vessels))}")
        self.vessels = vessels


async def sync_unit(
    lane: Lane,
    vessels: Sequence[Vessel],
    options: LoadOptions,
    rules: Rules,
    moves: Moves,
    foretold: Foretold,
    tallies: list[Tally],
) -> list[Loaded]:
    """Raises Failing and RolledBack, and then has changed nothing. `tallies`: gets what was read."""
    target, started = await lane.target(), time.perf_counter()
    decisions = options.decisions
    async with transaction(target, commit=not options.dry_run):
        locked = {vessel.id for vessel in vessels}.union(*(moves.touched.get(v.id, ()) for v in vessels))
        await target.execute(LOCK_VESSELS, lock_keys(locked))
        if gone := await _rolled_back(target, vessels, rules, moves):
            raise RolledBack(gone)
        gathered, plans = await _look(lane, vessels, options, rules, moves, foretold, tallies)
        while taken := await numbers_taken(target, plans) - decisions.imo_taken:
            decisions.imo_taken |= taken
            gathered, plans = await _look(lane, vessels, options, rules, moves, foretold, tallies)
        for vessel in vessels:
            if vessel.id not in moves.giving:
                lane.site.listen(VesselReached(vessel.id, vessel.name, "load"))
        results = await _apply(target, vessels, options, plans, moves)
        await _record(target, vessels, options, gathered, plans, results, moves)
        # Together they took this long; each is told a share of it.
        seconds = (time.perf_counter() - started) / len(moves.groups(vessels))
        await _mark(target, options, [own for id_, own in results.items() if id_ not in moves.apart], seconds)
    return list(results.values())


async def _record(
    target: Connection,
    vessels: Sequence[Vessel],
    options: LoadOptions,
    gathered: Sequence[Gather],
    plans: Mapping[str, Plan],
    results: Mapping[str, Loaded],
    moves: Moves,
) -> None:
    """What the ledger has of the vessels besides their base and marks, and what more is told of them."""
    # Until the run remembers what it has seen: should it not, a row that came may go unseen else, be it that
    # it was only listed.
    if not options.dry_run:
        await seen.forget(target, [vessel.id for vessel in vessels])
    waited = {
        entity.name: {*await pending(target, [vessel.id for vessel in vessels], entity)}
        for entity in PER_VESSEL
        if entity.waits is not None
    }
    whole = {vessel for gather in gathered for vessel in gather.unit.whole}
    orphaned = {vessel for gather in gathered for vessel in gather.orphaned}
    loose = {vessel for vessel, made in plans.items() if any(part.loose for part in made.parts.values())}
    for vessel in vessels:
        result = results[vessel.id]
        result.held_back = plans[vessel.id].brake
        result.unsettled = vessel.id in moves.unsettled | whole | orphaned | loose
        if vessel.id in moves.arriving and vessel.id in whole:
            result.state = "quarantined"
        elif vessel.id in moves.arriving:
            adopted = ("vessel", vessel.id) in options.decisions.adopted
            entry = vessel.id, _target_id(options.decisions, vessel.id), adopted
            await write.identities(target, options.run_id, "vessel", [entry])
    for gather in gathered:
        await keep_ids(target, options.run_id, gather.found, [plans[vessel] for vessel in gather.vessels])
        if moves.apart.isdisjoint(gather.vessels):
            await record(target, options.run_id, gather.found, plans, waited, results, gather.vessels)
        else:
            await record_left(target, moves.left, gather.vessels)


async def _mark(
    target: Connection, options: LoadOptions, results: Collection[Loaded], seconds: float
) -> None:
    marks = []
    for result in results:
        result.seconds = seconds
        vessel = result.vessel
        marks.append(write.Mark(vessel.id, vessel.name, result.state, "load", result.rows, seconds))
    await write.marks(target, options.who, options.run_id, marks, snapshot=options.snapshot)


async def _rolled_back(
    target: Connection, vessels: Sequence[Vessel], rules: Rules, moves: Moves
) -> Collection[str]:
    """Those of these vessels that are not in the target any more, and those that were rolled
    back where such are left alone."""
    ids = [vessel.id for vessel in vessels]
    there = {row[0] for row in await target.fetch(_MIGRATED, ids)}
    back = await rolled_back(target, ids) - moves.apart if rules.spares else set()
    return ({*ids} - there - moves.arriving) | back


async def _look(
    lane: Lane,
    vessels: Sequence[Vessel],
    options: LoadOptions,
    rules: Rules,
    moves: Moves,
    foretold: Foretold,
    tallies: list[Tally],
) -> tuple[list[Gather], dict[str, Plan]]:
    """What the source has of these vessels, and what follows from it. Raises Failing and UnitTooLarge."""
    target = await lane.target()
    gathered: list[Gather] = []
    tallies.clear()
    moves.look_anew(vessel.id for vessel in vessels)
    failing: dict[str, str] = {}
    # Vessels that depend on each other are read one by one: together they may be too large.
    free = len(moves.groups(vessels)) == len(vessels)
    for read in [list(vessels)] if free else [[vessel] for vessel in vessels]:
        ids = [vessel.id for vessel in read]
        left = await unread(target, ids, options.decisions.unwritten, moves)
        gather, tally = await _gather(lane, read, options, moves, left)
        if unsteady := gather.unsteady:
            left = {vessel: names for vessel, names in left.items() if vessel not in unsteady}
            gather, tally = await _gather(lane, read, options, moves, left)
        tallies += tally
        await gather.keep_orphans((await lane.line()).source)
        failing |= {id_: gather.unit.failing[id_] for id_ in ids if id_ in gather.unit.failing}
        gathered.append(gather)
    if failing:
        raise Failing(failing)
    await abroad.keep(await lane.line(), gathered, foretold)
    await staying.settle(target, gathered, moves)
    plans: dict[str, Plan] = {}
    for gather in gathered:
        plans |= await plan(
            target, gather.vessels, gather.found, rules, moves, checkpoints=options.checkpoints
        )
    gone = {
        source: vessel for gather in gathered for source, vessel in gather.found["equipment"].gone.items()
    }
    await release(target, plans, gone, rules, moves)
    for vessel, made in plans.items():
        for name, rows in moves.kept[vessel].items():
            part = made.parts[name]
            part.forget -= {source for source, _, _ in rows}
            part.conflicts += [(source, id_, found) for source, id_, found in rows if found is not None]
            part.retained |= {s: (id_, WITHOUT_PARENT) for s, id_, found in rows if found is None}
    if rules.allow_deletions:
        lost = moves.vanished.intersection(plans)
        await give_up(target, plans, {id_: _target_id(options.decisions, id_) for id_ in lost})
    return gathered, plans


async def _gather(
    lane: Lane, vessels: Sequence[Vessel], options: LoadOptions, moves: Moves, left: Unread
) -> tuple[Gather, list[Tally]]:
    """What became of these vessels' rows, and what was read of them. `left`: what isn't read."""
    unit = new_unit(options.decisions, vessels, options.shared.failures)
    unit.unread = left
    # Rows that would move may stay, and are another vessel's then.
    kept = fits(vessels, lane.site.batch_bytes) and not any(map(moves.concern, unit.vessels))
    gather = Gather(await lane.target(), unit, moves, options.run_id, keeps=kept)
    if moves.apart.isdisjoint(gather.vessels):
        return gather, [await run(await lane.line(), unit, gather)]
    await gather.finish()
    return gather, []


async def _apply(
    target: Connection,
    vessels: Sequence[Vessel],
    options: LoadOptions,
    plans: Mapping[str, Plan],
    moves: Moves,
) -> dict[str, Loaded]:
    results = {vessel.id: Loaded(vessel, "migrated") for vessel in vessels}
    changed = {
        v.id for group in moves.groups(vessels) if any(not plans[v.id].empty for v in group) for v in group
    }
    for id_, result in results.items():
        if id_ not in changed:
            for part in plans[id_].parts.values():
                result.unchanged += part.unchanged
    if not changed:
        return results
    graph = await options.checkpoints.read_graph(target)
    steps = await _steps(target, [v for v in vessels if v.id in changed], options, plans, moves, graph)
    _note_moves(steps, moves)
    if options.limiter is not None:
        await throttle(
            options.limiter, sum(part.rows for made in plans.values() for part in made.parts.values())
        )
    await apply(steps)
    for name, rows in moves.ids.items():
        here = {source for vessel in vessels for source in moves.came[vessel.id][name]}
        here |= {source for vessel in vessels for source, *_ in moves.kept[vessel.id][name]}
        # What was to move and went with its ends comes to its new vessel later.
        here |= {
            source
            for vessel in vessels
            for source in moves.stays[vessel.id][name].keys() & plans[vessel.id].parts[name].forget
        }
        moved = [(source, id_, False) for source, id_ in rows.items() if source in here]
        await write.identities(target, options.run_id, name, moved)
    for step in steps:
        step.tell(results[step.means.owner])
    for group in moves.groups(vessels):
        # What is decided of a vessel that is gone is told with one that isn't.
        there = [results[vessel.id] for vessel in group if vessel.id not in moves.giving]
        gone = [results[vessel.id] for vessel in group if vessel.id in moves.giving]
        for result in gone if there else ():
            there[0].deleted += result.deleted
            there[0].conflicts.update(result.conflicts)
    return results


async def _steps(
    target: Connection,
    vessels: Sequence[Vessel],
    options: LoadOptions,
    plans: Mapping[str, Plan],
    moves: Moves,
    graph: Graph,
) -> list[Step]:
    """The vessels' shares of the commit, each with its checkpoint."""
    ids = [vessel.id for vessel in vessels]
    await compact(target, options.run_id, ids, PER_VESSEL)
    decisions, own = options.decisions, {id_: new_id() for id_ in ids}
    target_ids = dict(decisions.identity("vessel").filter(pl.col("source_id").is_in(ids)).iter_rows())
    due = [
        Due(
            own[vessel.id],
            vessel.id,
            target_ids[vessel.id],
            absent=vessel.id in moves.arriving and ("vessel", vessel.id) not in decisions.adopted,
            together=tuple(own[other.id] for other in group if other is not vessel),
            incidental=vessel.id in moves.apart,
        )
        for group in moves.groups(vessels)
        for vessel in group
    ]
    taken = await of_vessels(options.checkpoints, target, due)
    means = (
        Means(target, decisions.catalogue, graph, options.run_id, id_, target_ids[id_], taken[id_])
        for id_ in ids
    )
    return [Step(own, plans[own.owner], decides=own.owner not in moves.apart) for own in means]


def _note_moves(steps: Sequence[Step], moves: Moves) -> None:
    """Rows that left a vessel are none of its any more, under the keys that they had there."""
    by_vessel = {step.means.owner: step for step in steps}
    for step in steps:
        for entity in PER_VESSEL:
            part = step.part(entity)
            for source, then in moves.came[step.means.owner][entity.name].items():
                was = part.was.get(moves.ids[entity.name][source])
                for table in entity.tables:
                    if was is not None and table.name in was.tables:
                        by_vessel[then].removed[table.name].add(key_of(table, was))


def _target_id(decisions: Decisions, vessel: str) -> str:
    known = decisions.identity("vessel").filter(pl.col("source_id") == vessel)
    return str(known["target_id"][0])
