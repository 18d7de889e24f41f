"""A sync's changed vessels, many at once: here, or each process its share of them."""

from __future__ import annotations

from collections.abc import Sequence

from bulkmig._core.stop import Stop
from bulkmig.cluster.plan import Plan, pack, unpack
from bulkmig.cluster.submit import manner_of
from bulkmig.decide.fleet import Fleet
from bulkmig.events import Listener
from bulkmig.fleet.run import Run
from bulkmig.fleet.vessels import deal
from bulkmig.preflight import joined
from bulkmig.processes import Job, Share
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.shared import Shared
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.sync.moves import Moves
from bulkmig.sync.rules import Rules
from bulkmig.sync.units import Group, units
from bulkmig.sync.work import Finished, work
from bulkmig.target.state import TargetState
from bulkmig.workers import Queue, run_units


async def change(
    run: Run, rules: Rules, groups: list[Group], moves: Moves, tally: Report, finished: Finished
) -> None:
    """These vessels in this process. `tally`: where what is read of them is counted."""
    settings = run.settings
    if settings.window is not None and groups and not settings.dry_run:
        await run.step("the pace so far", run.read_pace)
    queue = Queue(units(groups, moves, settings), go=run.may_start)
    one = work(run.options(), rules, moves, queue, tally, finished)
    await run_units(run.site, queue, 1 if settings.dry_run else settings.loaders, one)
    if queue.stopped:
        run.not_all_taken()


async def spread(run: Run, vessels: Sequence[Vessel]) -> None:
    """These vessels, between which nothing moves, in further processes."""
    assert run.rows is not None
    manner = manner_of(run.settings, spares=run.spares)
    plan = pack(Plan(manner, run.fleet.decisions, run.rows.failures))
    await deal(run, Job("sync", run.settings, run.ends.snapshot, run.report.run_id, plan=plan), vessels)


async def sync_share(job: Job, due: list[Vessel], listen: Listener, stop: Stop) -> Share:
    """A further process's share of a sync."""
    settings, plan = job.settings, unpack(*job.plan)
    report = Report("sync", job.run_id, selected=len(due), memory_bound=settings.memory)
    try:
        async with joined(settings, job.snapshot, listen=listen) as ends:
            run = Run(settings, ends, TargetState(), report, listen, stop)
            run.fleet = Fleet(plan.decisions, [])
            run.rows = Shared(run.fleet, failures=plan.refused)
            rules = Rules.of(plan.manner, plan.decisions.catalogue, spares=plan.manner.spares)
            with stop.scope() as scope:
                alone = [[vessel] for vessel in due]
                await change(run, rules, alone, Moves(), report, run.counted.finished)
                report.peak_in_flight = run.site.memory.peak
            if scope.cancelled_caught:
                report.status = "stopped"
    except SnapshotGone:
        report.status = "stopped"
    report.finish()
    return Share(report, list(run.counted.done), run.counted.ended)
