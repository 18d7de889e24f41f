"""`bulkmig migrate`. Each worker owns one source and one target session and takes one unit after the other;
within a unit the pipeline's actors overlap (pipeline.py)."""

from __future__ import annotations

from uuid import uuid4

from bulkmig._core.stop import Stop
from bulkmig.cluster.submit import crew
from bulkmig.config import Settings, check
from bulkmig.events import Listener, RunStarted, silent
from bulkmig.fleet.ahead import looking_ahead
from bulkmig.fleet.companies import decide_as, write_companies
from bulkmig.fleet.ending import to_its_end
from bulkmig.fleet.proof import prove
from bulkmig.fleet.run import Run
from bulkmig.fleet.vessels import load_here, load_vessels, sessions_for
from bulkmig.fleet.waiting import finish_waiting
from bulkmig.ledger import access
from bulkmig.preflight import both, joined, ready, room
from bulkmig.processes import Job, Share
from bulkmig.report import Report
from bulkmig.selection import Selection, Vessel, listed, resolve
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.target import state as target_state
from bulkmig.target.state import TargetState


async def migrate(
    settings: Settings, selection: Selection, *, listen: Listener = silent, stop: Stop | None = None
) -> Report:
    """Migrates the selected vessels with their companies and users. Raises UsageError and PreflightError
    before anything was touched; a vessel that fails is in the report, and so is what ended the run early."""
    settings = check(settings)
    report = Report("migrate", str(uuid4()), memory_bound=settings.memory)
    listen = report.timeline.hearing(listen)
    async with both(settings, writing=not settings.dry_run, listen=listen) as ends:
        selected = await resolve(ends.holder, selection)
        where = [(vessel.id, vessel.company_id) for vessel in selected]
        await access.check(ends.target, settings.operator, "migrate_vessel", f"migrate {selection}", where)
        await ready(ends, settings)
        workers = await crew(ends, settings, report, selection)
        state = await target_state.read(ends.target, ends.ledger)
        due = [v for v in selected if state.marks.get(v.id) is None or state.marks[v.id].state != "migrated"]
        before = workers.before_of(selected, state) if workers is not None else []
        report.selected, report.skipped = len(selected), len(selected) - len(due) - len(before)
        verifies = settings.verify and not settings.dry_run
        listen(RunStarted("migrate", report.run_id, len(due), report.skipped, verifies))
        listen(listed(due))
        run = Run(settings, ends, state, report, listen, stop or Stop(), workers)
        await room(ends, sessions_for(run, due))
        await run.begin(str(selection))
        at_once = [] if settings.dry_run else due
        async with to_its_end(run), looking_ahead(run.site, at_once) as run.ahead:
            await write_companies(run, [*due, *before], everything=selection.all)
            await load_vessels(run, due)
            if settings.dry_run:
                report.count_elsewhere()
            else:
                await finish_waiting(run)
            if verifies:
                await prove(run)
    return report


async def migrate_share(job: Job, due: list[Vessel], listen: Listener, stop: Stop) -> Share:
    """A further process's share of a migration: vessels only, after companies and users were written."""
    settings = job.settings
    report = Report("migrate", job.run_id, selected=len(due), memory_bound=settings.memory)
    try:
        async with joined(settings, job.snapshot, listen=listen) as ends:
            run = Run(settings, ends, TargetState(), report, listen, stop)
            await run.step("decisions", lambda: decide_as(run, job, due))
            with stop.scope() as scope:
                await load_here(run, due)
            if scope.cancelled_caught:
                report.status = "stopped"
    except SnapshotGone:
        return Share(report, renew=True)
    report.finish()
    return Share(report, list(run.counted.done), run.counted.ended, renew=run.renew)
