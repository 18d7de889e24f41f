"""A run's vessels, many at once: here, in further processes, or on other machines."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from bulkmig import migrate_units
from bulkmig.cluster.submit import units_of
from bulkmig.errors import ServerLost
from bulkmig.events import PhaseStarted
from bulkmig.fleet.moved import without_moved
from bulkmig.fleet.run import Run
from bulkmig.ledger import runs
from bulkmig.processes import Job, Share, spread
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.sqlite.address import FileAddress
from bulkmig.units import cut, in_order
from bulkmig.vessel_load import Loaded
from bulkmig.workers import Queue, run_units


def sessions_for(run: Run, due: Sequence[Vessel]) -> int:
    """How many sessions the workers open at each end."""
    settings = run.settings
    if settings.dry_run or run.crew is not None:
        return min(len(due), 1)
    units = len(_units(run, due))
    if settings.processes == 1:
        return min(units, settings.loaders + settings.ahead)
    return min(len(due), settings.processes)  # one each for certain, besides what their workers open


def _units(run: Run, due: Sequence[Vessel]) -> list[list[Vessel]]:
    """The units of these vessels; into a file in order of their numbers, so that tables grow at the end."""
    if isinstance(run.site.target, FileAddress):
        by_number = sorted(due, key=lambda vessel: vessel.id)
        return in_order(by_number, run.settings.batch_bytes, one_writes=True)
    return cut(due, run.settings.batch_bytes)


async def load_vessels(run: Run, due: list[Vessel]) -> None:
    """The vessels, `parallel_vessels` units at a time."""
    run.listen(PhaseStarted("vessels", len(due)))
    await _until_none_waits(run, due, run.report)
    if not run.settings.dry_run and not run.syncs:
        await _confirm(run)


async def _until_none_waits(run: Run, due: list[Vessel], tally: Report) -> None:
    """These vessels, with a new snapshot for those that didn't get theirs before the old one was lost."""
    rounds = 0
    while due or (run.crew is not None and run.crew.unheard):
        run.renew = False
        if not run.syncs:  # which moves them
            due = await without_moved(run, due)
        if run.crew is not None:
            run.dealt |= {vessel.id: vessel for vessel in due}
            await run.crew.work(run, "migrate", units_of(due, run.settings.batch_bytes))
        elif run.settings.processes > 1 and not run.settings.dry_run:
            await _spread(run, due)
        else:
            await load_here(run, due, tally)
        if not run.renew:
            return
        left = [vessel for vessel in due if vessel.id not in run.counted.ended]
        rounds = rounds + 1 if len(left) == len(due) else 0
        if rounds >= run.settings.attempts:
            raise ServerLost("the source's snapshot is lost again and again", "see the source's log")
        await run.step("a new snapshot", run.mend)
        due = left


async def load_here(run: Run, due: list[Vessel], tally: Report | None = None) -> None:
    """The vessels in this process. `tally`: where what is read of them is counted."""
    if run.settings.window is not None and not run.settings.dry_run:
        await run.step("the pace so far", run.read_pace)
    assert run.rows is not None
    queue = Queue(_units(run, due), go=run.may_start)
    work = migrate_units.work(
        run.options(),
        run.rows,
        queue,
        tally or run.report,
        run.counted.finished,
        continue_on_error=run.settings.continue_on_error,
    )
    # A dry run writes a company in each of its vessels' transactions: those would wait for each other.
    parallel = 1 if run.settings.dry_run else run.settings.loaders
    await run_units(run.site, queue, parallel, work, ahead=run.settings.ahead)
    run.report.peak_in_flight = run.site.memory.peak
    run.renew = queue.renew and (run.settings.continue_on_error or not run.report.failed)
    if queue.stopped and not run.renew:
        run.not_all_taken()


async def _spread(run: Run, due: list[Vessel]) -> None:
    assert run.rows is not None
    refused, all_due = run.rows.failures, run.fleet.decisions.vessels_due
    await deal(run, Job("migrate", run.settings, run.ends.snapshot, run.report.run_id, refused, all_due), due)


async def deal(run: Run, job: Job, due: Sequence[Vessel]) -> None:
    """Lets further processes do these vessels, and counts what became of them."""
    settings = run.settings
    if settings.window is not None:
        left = settings.window - (time.perf_counter() - run.report.began)
        job.settings = msgspec.structs.replace(settings, window=max(left, 0.0))
    run.dealt |= {vessel.id: vessel for vessel in due}

    def collect(share: Share) -> None:
        run.report.merge(share.report)
        run.counted.merge(share.done, share.ended)
        run.renew |= share.renew

    await spread(job, due, collect, run.listen, continue_on_error=settings.continue_on_error)
    if run.report.failed and not settings.continue_on_error and not run.stop.requested:
        run.report.status = "completed"  # the failure is why the others stopped; `finish` says so
        run.renew = False


async def _confirm(run: Run) -> None:
    """Makes durable what was committed, and does again what a crash of the target has undone."""
    for _ in range(run.settings.attempts):
        undone = await _undone(run)
        if not undone:
            run.confirmed = True
            return
        # Under the same snapshot they count as before; what was read of them is counted already.
        await _until_none_waits(run, [result.vessel for result in undone], Report("migrate"))
    if await _undone(run):
        raise ServerLost("the target loses what it has committed", "see the target's log")


async def _undone(run: Run) -> list[Loaded]:
    undone: list[Loaded] = []

    async def compare() -> None:
        safe = await runs.durable(run.ends.target, run.report.run_id)
        undone[:] = [result for result in run.counted.done if result.vessel.id not in safe]

    if run.counted.done:
        await run.step("what is durable", compare)
    run.counted.take_back(undone)
    return undone
