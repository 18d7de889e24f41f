"""The run: what `bulkmig migrate` does, top to bottom.

    select ▶ decide ▶ companies and users ▶ vessels, many at once ▶ waiting rows ▶ verify ▶ report

Each worker owns one source and one target session and takes one unit after the other; within a unit the
pipeline's actors overlap (pipeline.py).
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from uuid import uuid4

import anyio
from aiolimiter import AsyncLimiter

from bulkmig import migrate_units, orphans
from bulkmig._core.memory import Memory
from bulkmig._core.stop import Stop
from bulkmig._version import __version__
from bulkmig.config import Settings, check
from bulkmig.decide.fleet import Fleet, decide
from bulkmig.events import Event, Listener, PhaseStarted, RunStarted, VesselDone, VesselFailed, silent
from bulkmig.ledger import runs
from bulkmig.load import Loaded, LoadOptions
from bulkmig.preflight import Ends, both
from bulkmig.report import Failure, Report
from bulkmig.selection import Selection, Vessel, resolve
from bulkmig.settle import settle
from bulkmig.shared import Shared
from bulkmig.target import state as target_state
from bulkmig.target.state import TargetState
from bulkmig.units import cut
from bulkmig.verify_units import verify_vessels
from bulkmig.workers import Queue, Site, run_units

THREADS = 4  # worker threads; polars itself uses one per core


def site(settings: Settings, ends: Ends) -> Site:
    """What all workers of a command share."""
    return Site(
        ends.source,
        ends.target_address,
        ends.snapshot,
        Memory(settings.memory),
        settings.batch_bytes,
        anyio.CapacityLimiter(THREADS),
    )


async def decided(
    settings: Settings,
    ends: Ends,
    vessels: list[Vessel],
    state: TargetState,
    *,
    on_error: str,
    companies: Collection[str] = (),
) -> Fleet:
    """Decides over the fleet for these vessels."""
    return await decide(
        ends.holder,
        ends.target,
        state,
        vessels,
        on_error=on_error,
        target_catalogue=ends.target_catalogue,
        source_catalogue=ends.source_catalogue,
        companies=companies,
    )


async def migrate(
    settings: Settings, selection: Selection, *, listen: Listener = silent, stop: Stop | None = None
) -> Report:
    """Migrates the selected vessels with their companies and users. Raises UsageError and PreflightError
    before anything was touched; a vessel that fails is in the report."""
    check(settings)
    report = Report("migrate", str(uuid4()), memory_bound=settings.memory)
    async with both(settings, writing=not settings.dry_run) as ends:
        selected = await resolve(ends.holder, selection)
        state = await target_state.read(ends.target)
        due = [v for v in selected if state.marks.get(v.id) is None or state.marks[v.id].state != "migrated"]
        report.selected, report.skipped = len(selected), len(selected) - len(due)
        listen(RunStarted("migrate", report.run_id, len(due), report.skipped))
        run = Migration(settings, ends, state, report, listen)
        await run.begin(str(selection))
        try:
            with (stop or Stop()).scope() as scope:
                await run.shared(due, everything=selection.all)
                await run.vessels(due)
                if not settings.dry_run:
                    await run.waiting()
                if settings.verify and not settings.dry_run:
                    await run.verify()
            if scope.cancelled_caught:
                report.status = "stopped"
        except BaseException:
            report.status = "failed"
            raise
        finally:
            report.finish()
            with anyio.move_on_after(10, shield=True):
                await run.end()
    return report


class Migration:
    """The steps of a migration; each adds to the report."""

    def __init__(
        self, settings: Settings, ends: Ends, state: TargetState, report: Report, listen: Listener
    ) -> None:
        self.settings, self.ends, self.state, self.report = settings, ends, state, report
        self.listen = listen
        self.site = site(settings, ends)
        self.done: list[Vessel] = []

    async def begin(self, selection: str) -> None:
        if self.settings.dry_run:
            return
        target, run_id = self.ends.target, self.report.run_id
        await runs.begin(
            target,
            run_id,
            self.report.command,
            operator=self.settings.operator,
            selection=selection,
            version=__version__,
        )
        seen = await self.ends.holder.fetchval("SELECT pg_current_snapshot()::text")
        await runs.set_snapshot(target, run_id, seen)

    async def shared(self, due: list[Vessel], *, everything: bool, companies: Collection[str] = ()) -> None:
        """Companies and users of all vessels that are due, then rows that belong to no vessel at all."""
        started = time.perf_counter()
        self.listen(PhaseStarted("companies and users"))
        self.fleet = await decided(
            self.settings, self.ends, due, self.state, on_error=self.settings.on_error, companies=companies
        )
        self.rows = Shared(self.fleet)
        nowhere = await orphans.find(self.ends.holder) if everything else None
        if not self.settings.dry_run:
            await self.rows.load(self.ends.target, self.report.run_id, nowhere)
            self.report.inserted.update(self.rows.inserted)
            self.report.updated.update(self.rows.updated)
        for outcome, findings in zip(self.fleet.shared, self.rows.findings(), strict=True):
            self.report.count_findings(findings)
            self.report.lossiness.update(outcome.lossiness)
            self.report.quarantined[outcome.entity.source] += self.rows.quarantined(outcome).height
            self.report.read[outcome.entity.source] += outcome.rows
        for rows in nowhere or ():
            self.report.count_findings(rows.findings)
            self.report.quarantined[rows.source] += rows.quarantined.height
        self.report.phases["load"] += time.perf_counter() - started

    async def vessels(self, due: list[Vessel]) -> None:
        """The vessels, `parallel_vessels` units at a time."""
        self.listen(PhaseStarted("vessels", len(due)))
        queue = Queue(cut(due, self.settings.batch_bytes), go=self._in_window)
        work = migrate_units.work(self.options(), self.rows, queue, self.report, self.finished)
        # A dry run writes the same companies in every transaction: side by side they would wait for each other.
        parallel = 1 if self.settings.dry_run else self.settings.parallel_vessels
        await run_units(self.site, queue, parallel, work)
        self.report.peak_in_flight = self.site.memory.peak
        if queue.stopped and self.report.remaining and not self.report.failed:
            self.report.status = "stopped"

    def options(self) -> LoadOptions:
        """How this run's rows get in."""
        limit = self.settings.max_rows_per_second
        return LoadOptions(
            run_id=self.report.run_id,
            decisions=self.fleet.decisions,
            dry_run=self.settings.dry_run,
            fk_set=self.settings.fk_check == "set",
            limiter=AsyncLimiter(limit, 1) if limit else None,
            shared=self.rows,
        )

    def _in_window(self, vessels: object) -> bool:
        window = self.settings.window
        return window is None or time.perf_counter() - self.report.began < window

    def finished(self, results: list[Loaded], queue: Queue) -> None:
        for result in results:
            self._count(result)
            if result.state == "failed" and not self.settings.continue_on_error:
                queue.stopped = True

    def _count(self, result: Loaded) -> None:
        report, vessel = self.report, result.vessel
        report.findings.update(result.findings)
        event: Event
        if result.state == "failed":
            report.failed += 1
            report.failures.append(
                Failure(vessel.id, vessel.name, vessel.imo_number, result.phase, result.error)
            )
            event = VesselFailed(vessel.id, vessel.name, result.phase, result.error)
        elif result.state == "skipped":
            report.skipped += 1
            event = VesselDone(vessel.id, vessel.name, "skipped", 0, 0.0)
        else:
            report.done += 1
            report.inserted.update(result.inserted)
            report.updated.update(result.updated)
            report.quarantined.update(result.quarantined)
            report.pending += result.pending
            rows = sum(result.inserted.values()) + sum(result.updated.values())
            report.slowest = sorted(
                [*report.slowest, (vessel.name, result.seconds, rows)], key=lambda s: -s[1]
            )[:5]
            self.done.append(vessel)
            event = VesselDone(vessel.id, vessel.name, result.state, rows, result.seconds)
        self.listen(event)

    async def waiting(self) -> None:
        """Rows between vessels, now that all of this run are there."""
        self.listen(PhaseStarted("waiting rows"))
        settled = await settle(self.ends.holder, self.ends.target, self.fleet.decisions, self.report.run_id)
        self.report.inserted.update(settled.inserted)
        self.report.quarantined.update(settled.quarantined)
        for findings in settled.findings:
            self.report.count_findings(findings)
        self.report.pending = settled.pending

    async def verify(self) -> None:
        """Compares every cell of this run's vessels, companies and users, seen in the same snapshot."""
        self.listen(PhaseStarted("verification", len(self.done)))
        decisions = replace(self.fleet.decisions, on_error="quarantine")
        await verify_vessels(
            self.site,
            self.settings,
            self.ends,
            replace(self.fleet, decisions=decisions),
            self.done,
            self.report,
            same_snapshot=True,
            listen=self.listen,
        )

    async def end(self) -> None:
        if not self.settings.dry_run:
            await runs.end(self.ends.target, self.report.run_id, self.report.status, self.report.document())
