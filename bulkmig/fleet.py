"""The run: what `bulkmig migrate` does, top to bottom.

    select ▶ decide ▶ companies and users ▶ vessels, many at once ▶ waiting rows ▶ verify ▶ report

Each worker owns one source and one target session and takes one unit after the other; within a unit the
pipeline's actors overlap (pipeline.py).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import uuid4

import anyio
import msgspec
import polars as pl
from aiolimiter import AsyncLimiter

from bulkmig import migrate_units, orphans
from bulkmig._core.memory import Memory
from bulkmig._core.stop import Stop
from bulkmig._version import __version__
from bulkmig.config import Settings, check
from bulkmig.decide.fleet import Fleet, decide
from bulkmig.events import Event, Listener, PhaseStarted, RunStarted, VesselDone, VesselFailed, silent
from bulkmig.ledger import runs, write
from bulkmig.pace import Pace, from_history
from bulkmig.preflight import Ends, both, joined, ready
from bulkmig.processes import Job, Share, spread
from bulkmig.report import SLOWEST, Failure, Report
from bulkmig.selection import Selection, Vessel, resolve
from bulkmig.settle import settle
from bulkmig.shared import REFUSED, Shared
from bulkmig.target import state as target_state
from bulkmig.target.state import TargetState
from bulkmig.units import cut
from bulkmig.verify_units import verify_fleet
from bulkmig.vessel_load import Loaded, LoadOptions
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
        await ready(ends, settings)
        state = await target_state.read(ends.target)
        due = [v for v in selected if state.marks.get(v.id) is None or state.marks[v.id].state != "migrated"]
        report.selected, report.skipped = len(selected), len(selected) - len(due)
        listen(RunStarted("migrate", report.run_id, len(due), report.skipped))
        stop = stop or Stop()
        run = Migration(settings, ends, state, report, listen, stop)
        await run.begin(str(selection))
        try:
            with stop.scope() as scope:
                await run.shared(due, everything=selection.all)
                await run.vessels(due)
                if settings.dry_run:
                    report.count_elsewhere()
                else:
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


async def migrate_share(job: Job, vessels: list[Vessel], listen: Listener, stop: Stop) -> Share:
    """A further process's share of a migration: vessels only, after companies and users were written."""
    settings = job.settings
    report = Report("migrate", job.run_id, selected=len(vessels), memory_bound=settings.memory)
    async with joined(settings, job.snapshot) as ends:
        state = await target_state.read(ends.target)
        steps = Migration(settings, ends, state, report, listen, stop)
        steps.fleet = await decided(settings, ends, vessels, state, on_error=settings.on_error)
        decisions = steps.fleet.decisions
        decisions.vessels_due = job.due
        decisions.companies_out.update(dict.fromkeys(job.refused, REFUSED))
        # Only users whom the parent has written: those that the target refused are not there.
        written = list(state.identities.get("user", {}))
        users = decisions.identity("user")
        decisions.identities["user"] = users.filter(pl.col("source_id").is_in(written))
        steps.rows = Shared(steps.fleet, failures=job.refused)
        with stop.scope() as scope:
            await steps.here(vessels)
        if scope.cancelled_caught:
            report.status = "stopped"
    report.finish()
    return report, steps.done


class Migration:
    """The steps of a migration; each adds to the report."""

    def __init__(
        self,
        settings: Settings,
        ends: Ends,
        state: TargetState,
        report: Report,
        listen: Listener,
        stop: Stop,
    ) -> None:
        self.settings, self.ends, self.state, self.report = settings, ends, state, report
        self.listen, self.stop = listen, stop
        self.site = site(settings, ends)
        self.done: list[Vessel] = []
        self.pace = Pace()

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
        inserted, updated = (
            self.rows.counts() if self.settings.dry_run else (self.rows.inserted, self.rows.updated)
        )
        self.report.inserted.update(inserted)
        self.report.updated.update(updated)
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
        if self.settings.processes > 1 and not self.settings.dry_run:
            await self._spread(due)
            return
        await self.here(due)

    async def here(self, due: list[Vessel]) -> None:
        """The vessels in this process."""
        if self.settings.window is not None and not self.settings.dry_run:
            self.pace = await from_history(self.ends.target)
        queue = Queue(cut(due, self.settings.batch_bytes), go=self._may_start)
        work = migrate_units.work(self.options(), self.rows, queue, self.report, self.finished)
        # A dry run writes a company in each of its vessels' transactions: those would wait for each other.
        parallel = 1 if self.settings.dry_run else self.settings.parallel_vessels
        await run_units(self.site, queue, parallel, work)
        self.report.peak_in_flight = self.site.memory.peak
        if queue.stopped and not self.report.failed:
            self.report.status = "stopped"

    async def _spread(self, due: list[Vessel]) -> None:
        settings = self.settings
        if settings.window is not None:
            left = settings.window - (time.perf_counter() - self.report.began)
            settings = msgspec.structs.replace(settings, window=max(left, 0.0))
        job = Job(
            "migrate",
            settings,
            self.ends.snapshot,
            self.report.run_id,
            refused=self.rows.failures,
            due=self.fleet.decisions.vessels_due,
        )

        def collect(share: Share) -> None:
            self.report.merge(share[0])
            self.done += share[1]

        await spread(job, due, collect, self.listen, continue_on_error=self.settings.continue_on_error)
        if self.report.failed and not self.settings.continue_on_error and not self.stop.requested:
            self.report.status = "completed"  # the failure is why the others stopped; `finish` says so

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

    def _may_start(self, vessels: Sequence[Vessel]) -> bool:
        if self.stop.draining:
            return False
        if self.settings.window is None:
            return True
        elapsed = time.perf_counter() - self.report.began
        return elapsed + self.pace.expected(vessels) < self.settings.window

    def finished(self, results: list[Loaded], queue: Queue) -> None:
        for result in results:
            self._count(result)
            if result.state == "failed" and not self.settings.continue_on_error:
                queue.stopped = True

    def _count(self, result: Loaded) -> None:
        report, vessel = self.report, result.vessel
        report.findings.update(result.findings)
        report.elsewhere += result.elsewhere
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
                [*report.slowest, (vessel.name, result.seconds, rows)], key=lambda entry: -entry[1]
            )[:SLOWEST]
            self.done.append(vessel)
            event = VesselDone(vessel.id, vessel.name, result.state, rows, result.seconds)
        self.listen(event)

    async def waiting(self) -> None:
        """Rows between vessels, now that all of this run are there; findings that several came across."""
        await write.findings(self.ends.target, self.report.run_id, [self.report.count_elsewhere()])
        self.listen(PhaseStarted("waiting rows"))
        settled = await settle(self.ends.holder, self.ends.target, self.fleet.decisions, self.report.run_id)
        self.report.inserted.update(settled.inserted)
        self.report.quarantined.update(settled.quarantined)
        for findings in settled.findings:
            self.report.count_findings(findings)
        self.report.pending = settled.pending
        self.report.failures += [
            Failure(vessel, "", None, "load", f"{entity} {source_id}: {cause}")
            for entity, source_id, vessel, cause in settled.refused
        ]

    async def verify(self) -> None:
        """Compares every cell of this run's vessels, companies and users, seen in the same snapshot."""
        self.listen(PhaseStarted("verification", len(self.done)))
        decisions = replace(self.fleet.decisions, on_error="quarantine")
        await verify_fleet(
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
