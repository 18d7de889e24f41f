"""One vessel's sync: gathered, planned and applied in one transaction of the target."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import asyncpg
import polars as pl

from bulkmig._core.unit import FINDING, QUARANTINE, Decisions
from bulkmig.checkpoint.take import new_id
from bulkmig.entities import PER_VESSEL
from bulkmig.errors import BulkmigError, ServerLost
from bulkmig.events import VesselReached, VesselStarted
from bulkmig.ledger import write
from bulkmig.ledger.compact import compact
from bulkmig.migrate_units import add, new_unit
from bulkmig.pipeline import Tally, run
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import CommitUnknown, Connection, transaction
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.sync import abroad
from bulkmig.sync.abroad import Foretold
from bulkmig.sync.apply import Means, Step, apply, key_of
from bulkmig.sync.gather import Found, Gather
from bulkmig.sync.moves import Moves
from bulkmig.sync.numbers import numbers_taken
from bulkmig.sync.plan import WITH_PARENT, Plan, Rules, plan
from bulkmig.sync.plan import pending as _pending
from bulkmig.vessel_load import Loaded, LoadOptions, lock_key, record_failure, throttle
from bulkmig.workers import Lane, Queue, Work

BRAKE = "sync.deletion_brake"
_BRAKED = "more rows are gone from the source than the brake lets go: --allow-deletions deletes them"

# Also what an earlier look of the same run has found.
_LEFT = """
DELETE FROM bulkmig.quarantine WHERE vessel_id = $1::text::uuid AND (entity, source_id) NOT IN
    (SELECT e, s::uuid FROM unnest($2::text[], $3::text[]) AS u (e, s))
"""

Finished = Callable[[list[Loaded], Queue], None]


class Failing(BulkmigError):
    """A row of the vessel has an error, and `--on-error fail` holds."""

    def __init__(self, vessel: str, why: str) -> None:
        super().__init__(why, "correct the row in the source, or --on-error quarantine")
        self.vessel = vessel


def work(
    options: LoadOptions, rules: Rules, moves: Moves, queue: Queue, report: Report, finished: Finished
) -> Work:
    """The work of a sync's workers: units of vessels that change in one commit, mostly one."""
    foretold = Foretold(options.decisions, options.shared.failures)

    async def one(lane: Lane, vessels: list[Vessel]) -> None:
        tallies: list[Tally] = []
        there = [vessel for vessel in vessels if vessel.id not in moves.vanished]

        async def attempt(number: int) -> list[Loaded]:
            tallies.clear()
            for vessel in there:
                lane.site.listen(VesselStarted(vessel.id, vessel.name))
            try:
                return await _sync(lane, vessels, options, rules, moves, foretold, tallies)
            except Exception:
                await lane.close()
                raise

        try:
            results = await lane.site.patience.work(f"vessel {vessels[0].id}", attempt)
        except (SnapshotGone, ServerLost):
            raise
        except Failing as error:
            partners = moves.partners(error.vessel)
            failing = [vessel for vessel in vessels if vessel.id in partners]
            target = await lane.target()
            for vessel in failing:
                result = await record_failure(
                    target, vessel, options, phase="validate", error=describe(error)
                )
                finished([result] if vessel.id not in moves.vanished else [], queue)
            # Those that only exchange numbers with it do what they can without it.
            others = [vessel for vessel in vessels if vessel not in failing]
            if others:
                await one(lane, others)
            return
        except (BulkmigError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, CommitUnknown) as error:
            target = await lane.target()
            results = [
                await record_failure(target, vessel, options, phase="load", error=describe(error))
                for vessel in vessels
            ]
        for tally in tallies:
            add(report, tally)
        # What becomes of vessels that are gone from the source is decided afterwards.
        finished([result for result in results if result.vessel.id not in moves.vanished], queue)

    return one


async def _sync(
    lane: Lane,
    vessels: Sequence[Vessel],
    options: LoadOptions,
    rules: Rules,
    moves: Moves,
    foretold: Foretold,
    tallies: list[Tally],
) -> list[Loaded]:
    target, started = await lane.target(), time.perf_counter()
    decisions = options.decisions
    async with transaction(target, commit=not options.dry_run):
        for key in sorted(lock_key(vessel.id) for vessel in vessels):
            await target.execute(f"SELECT pg_advisory_xact_lock({key})")
        gathered, plans = await _look(lane, vessels, options, rules, moves, foretold, tallies)
        while taken := await numbers_taken(target, _by_vessel(gathered, plans)) - decisions.imo_taken:
            decisions.imo_taken |= taken
            gathered, plans = await _look(lane, vessels, options, rules, moves, foretold, tallies)
        for vessel in vessels:
            if vessel.id not in moves.vanished:
                lane.site.listen(VesselReached(vessel.id, vessel.name, "load"))
        results = await _apply(target, vessels, options, plans, moves)
        waited = {
            entity.name: set().union(*[await _pending(target, vessel.id, entity) for vessel in vessels])
            for entity in PER_VESSEL
            if entity.waits is not None
        }
        for vessel, gather, made, result in zip(vessels, gathered, plans, results, strict=True):
            result.held_back = made.brake
            result.unsettled = vessel.id in moves.unsettled or vessel.id in gather.unit.whole
            arrives = vessel.id in moves.arriving
            if arrives and vessel.id in gather.unit.whole:
                result.state = "quarantined"
            elif arrives:
                adopted = ("vessel", vessel.id) in decisions.adopted
                entry = vessel.id, _target_id(decisions, vessel.id), adopted
                await write.identities(target, options.run_id, "vessel", [entry])
            await _record(target, vessel, options, gather.found, made, waited, result)
            result.seconds = time.perf_counter() - started
            await write.mark(
                target,
                options.who,
                options.run_id,
                vessel.id,
                vessel.name,
                state=result.state,
                phase="load",
                rows=(result.inserted + result.updated + result.deleted).total(),
                seconds=result.seconds,
                snapshot=options.snapshot,
            )
    return results


def _by_vessel(gathered: Sequence[Gather], plans: Sequence[Plan]) -> dict[str, Plan]:
    return {gather.vessel: made for gather, made in zip(gathered, plans, strict=True)}


async def _look(
    lane: Lane,
    vessels: Sequence[Vessel],
    options: LoadOptions,
    rules: Rules,
    moves: Moves,
    foretold: Foretold,
    tallies: list[Tally],
) -> tuple[list[Gather], list[Plan]]:
    """What the source has of these vessels, and what follows from it. Raises Failing."""
    target = await lane.target()
    gathered: list[Gather] = []
    tallies.clear()
    for vessel in vessels:
        unit = new_unit(options.decisions, [vessel], options.shared.failures)
        gather = Gather(target, unit, vessel.id, moves)
        line = await lane.line()
        tallies.append(await run(line, unit, gather))
        await gather.keep_orphans(line.source)
        if vessel.id in unit.failing:
            raise Failing(vessel.id, unit.failing[vessel.id])
        if vessel.id in moves.arriving and vessel.id in unit.whole:
            moves.keep(vessel.id)
        gathered.append(gather)
    await abroad.keep(await lane.line(), gathered, foretold)
    return gathered, [await plan(target, g.vessel, g.found, rules, moves) for g in gathered]


async def _apply(
    target: Connection,
    vessels: Sequence[Vessel],
    options: LoadOptions,
    plans: Sequence[Plan],
    moves: Moves,
) -> list[Loaded]:
    results = [Loaded(vessel, "migrated") for vessel in vessels]
    if all(made.empty for made in plans):
        for result, made in zip(results, plans, strict=True):
            for entity in PER_VESSEL:
                result.unchanged += made.parts[entity.name].unchanged
        return results
    graph = await options.checkpoints.read_graph(target)
    ids = [new_id() for _ in vessels]
    steps = []
    for vessel, id_, made in zip(vessels, ids, plans, strict=True):
        await compact(target, options.run_id, vessel.id, PER_VESSEL)
        checkpoint = await options.checkpoints.of_vessel(
            target,
            vessel.id,
            _target_id(options.decisions, vessel.id),
            id_=id_,
            absent=vessel.id in moves.arriving and ("vessel", vessel.id) not in options.decisions.adopted,
            together=[other for other in ids if other != id_],
        )
        catalogue = options.decisions.catalogue
        means = Means(target, catalogue, graph, options.run_id, vessel.id, checkpoint)
        steps.append(Step(means, made))
    _note_moves(steps, moves)
    if options.limiter is not None:
        await throttle(options.limiter, sum(part.rows for made in plans for part in made.parts.values()))
    await apply(steps)
    for name, rows in moves.ids.items():
        here = {source for vessel in vessels for source in moves.came[vessel.id][name]}
        moved = [(source, id_, False) for source, id_ in rows.items() if source in here]
        await write.identities(target, options.run_id, name, moved)
    for step, result in zip(steps, results, strict=True):
        done = step.done
        result.inserted, result.updated = +done.inserted, +done.updated
        result.deleted, result.unchanged = +done.deleted, +done.unchanged
        result.conflicts = Counter({"open": done.open}) + done.resolved
    return results


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


async def _record(
    target: Connection,
    vessel: Vessel,
    options: LoadOptions,
    found: dict[str, Found],
    made: Plan,
    waited: Mapping[str, set[str]],
    result: Loaded,
) -> None:
    """Quarantined and waiting rows as they are now; findings of the rows that this sync is about. `waited`:
    by entity, what waited before, also on the vessel that it leaves."""
    run_id = options.run_id
    out: list[tuple[str, str]] = []
    for entity in PER_VESSEL:
        rows = found[entity.name]
        quarantined = _joined(rows.quarantined, QUARANTINE)
        await write.quarantine(target, run_id, [quarantined])
        result.quarantined[entity.source] += quarantined.height
        out += [(entity.name, source_id) for source_id in quarantined["source_id"]]
        about = {id_ for frame in (*rows.new, *rows.changed) for id_ in frame["source_id"]}
        about.update(quarantined["source_id"])
        findings = _joined(rows.findings, FINDING).filter(pl.col("source_id").is_in(list(about)))
        await write.findings(target, run_id, [findings])
        _count(result, findings)
        result.elsewhere += rows.elsewhere
        await target.execute(
            "DELETE FROM bulkmig.retained WHERE entity = $1 AND vessel_id = $2::text::uuid AND reason = $3"
            " AND NOT source_id = ANY ($4::text[]::uuid[])",
            entity.name,
            vessel.id,
            WITH_PARENT,
            list(rows.with_parent),
        )
        waiting = {id_ for frame in rows.waiting for id_ in frame["id"]}
        # What was written once waits only where a rollback took its ends; else it is there, or the portal
        # has deleted it.
        lost = waiting & rows.held - waited.get(entity.name, set())
        result.unsettled |= bool(lost)  # it may come back with its end
        waiting = (waiting - lost) | made.parts[entity.name].waiting
        await _waiting(target, run_id, vessel.id, entity.name, sorted(waiting))
        result.pending += len(waiting)
    if made.brake:
        brake = pl.DataFrame(
            [("warning", BRAKE, vessel.id, "vessel", vessel.id, "", _BRAKED)], schema=FINDING, orient="row"
        )
        await write.findings(target, run_id, [brake])
        _count(result, brake)
    await target.execute(_LEFT, vessel.id, [name for name, _ in out], [source_id for _, source_id in out])


async def _waiting(
    target: Connection, run_id: str, vessel: str, entity: str, source_ids: Sequence[str]
) -> None:
    await target.execute(
        "DELETE FROM bulkmig.pending WHERE entity = $1 AND vessel_id = $2::text::uuid"
        " AND NOT source_id = ANY ($3::text[]::uuid[])",
        entity,
        vessel,
        source_ids,
    )
    await target.execute(
        "INSERT INTO bulkmig.pending (entity, source_id, vessel_id, run_id)"
        " SELECT $1, s::uuid, $3::text::uuid, $4::text::uuid FROM unnest($2::text[]) AS u (s)"
        " ON CONFLICT (entity, source_id) DO UPDATE SET vessel_id = excluded.vessel_id",
        entity,
        source_ids,
        vessel,
        run_id,
    )


def _joined(frames: Iterable[pl.DataFrame], schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    filled = [frame for frame in frames if frame.height]
    return pl.concat(filled) if filled else pl.DataFrame(schema=schema)


def _count(result: Loaded, findings: pl.DataFrame) -> None:
    for severity, code, n in findings.group_by("severity", "code").len().iter_rows():
        result.findings[severity, code] += n
