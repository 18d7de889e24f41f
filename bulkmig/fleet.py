"""The run: what `bulkmig migrate` does, top to bottom.

    select ▶ decide ▶ companies and users ▶ vessels, many at once ▶ waiting rows ▶ verify ▶ report

Each worker owns one source and one target session and takes one unit after the other; within a unit the
pipeline's actors overlap (pipeline.py).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import anyio
import asyncpg
import msgspec
import polars as pl
from aiolimiter import AsyncLimiter

from bulkmig import migrate_units, numbers, orphans, shown
from bulkmig._core.memory import Memory
from bulkmig._core.stop import Stop
from bulkmig._version import __version__
from bulkmig.checkpoint.others import WAITING
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.cluster.submit import Crew, crew, units_of
from bulkmig.config import Settings, check
from bulkmig.decide.fleet import After, Fleet, decide
from bulkmig.ends import Ends, worth_mending
from bulkmig.errors import BulkmigError, PreflightError, ServerLost, UsageError
from bulkmig.events import (
    Event,
    Listener,
    PhaseStarted,
    RunEnded,
    RunStarted,
    VesselDone,
    VesselFailed,
    VesselUndone,
    silent,
)
from bulkmig.ledger import access, audit, runs, seen, write
from bulkmig.pace import Pace, from_history
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import CommitUnknown
from bulkmig.preflight import both, joined, ready, room
from bulkmig.processes import Job, Share, spread
from bulkmig.recount import recount
from bulkmig.report import SLOWEST, Failure, Report
from bulkmig.selection import Selection, Vessel, listed, resolve
from bulkmig.settle import Settled, settle
from bulkmig.shared import REFUSED, Shared
from bulkmig.source.changes import Seen, see
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.target import state as target_state
from bulkmig.target.state import TargetState
from bulkmig.undo import Undo
from bulkmig.units import cut
from bulkmig.verify_units import verify_fleet
from bulkmig.vessel_load import Loaded, LoadOptions
from bulkmig.workers import THREADS, Queue, Site, run_units

END_SECONDS = 10  # for the last words of a run that was asked to stop


def site(settings: Settings, ends: Ends, listen: Listener = silent) -> Site:
    """What all workers of a command share."""
    return Site(
        ends.source,
        ends.target_address,
        ends.snapshot,
        Memory(settings.memory),
        settings.batch_bytes,
        anyio.CapacityLimiter(THREADS),
        ends.patience,
        listen,
    )


async def decided(
    settings: Settings,
    ends: Ends,
    vessels: list[Vessel],
    state: TargetState,
    *,
    on_error: str,
    companies: Collection[str] = (),
    after: After | None = None,
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
        after=after,
    )


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
        stop = stop or Stop()
        run = Migration(settings, ends, state, report, listen, stop, workers)
        await room(ends, run.sessions(due))
        await run.begin(str(selection))
        async with run.to_its_end():
            await run.shared([*due, *before], everything=selection.all)
            await run.vessels(due)
            if settings.dry_run:
                report.count_elsewhere()
            else:
                await run.waiting()
            if verifies:
                await run.verify()
                await run.undo()
    return report


async def migrate_share(job: Job, vessels: list[Vessel], listen: Listener, stop: Stop) -> Share:
    """A further process's share of a migration: vessels only, after companies and users were written."""
    settings = job.settings
    report = Report("migrate", job.run_id, selected=len(vessels), memory_bound=settings.memory)
    try:
        async with joined(settings, job.snapshot, listen=listen) as ends:
            steps = Migration(settings, ends, TargetState(), report, listen, stop)
            await steps.step("decisions", lambda: steps.decide_as(job, vessels))
            with stop.scope() as scope:
                await steps.here(vessels)
            if scope.cancelled_caught:
                report.status = "stopped"
    except SnapshotGone:
        return Share(report, renew=True)
    report.finish()
    return Share(report, steps.done, steps.ended, renew=steps.renew)


class Migration:
    """The steps of a migration; each adds to the report.

    A step that is cut off by a lost session or by another transaction is done again, as often as the settings
    say. Where the source's snapshot is lost, there is a new one, and what was decided and written of
    companies and users is looked at again."""

    def __init__(
        self,
        settings: Settings,
        ends: Ends,
        state: TargetState,
        report: Report,
        listen: Listener,
        stop: Stop,
        crew: Crew | None = None,
    ) -> None:
        self.crew = crew  # workers on other machines
        self.settings, self.ends, self.state, self.report = settings, ends, state, report
        self.listen, self.stop = listen, stop
        self.site = site(settings, ends, listen)
        self.checkpoints = Checkpoints(report.run_id)
        self.who = audit.who(settings.operator)
        self.done: list[Loaded] = []
        self.dealt: dict[str, Vessel] = {}  # vessels that further processes were given
        self.ended: set[str] = set()  # vessels of which it is known what became of them
        self.renew = False  # what is left needs a new snapshot
        self.outdated = False  # there is one, and nothing was decided under it yet
        self.rows: Shared | None = None
        self.older: set[str] = set()  # vessels that were read in an earlier snapshot
        self.looked: dict[str, Seen] = {}  # what the source's snapshot sees -> what was found in it
        self.verified: set[str] = set()
        self.confirmed = False
        self.after: After | None = None
        self.syncs = False  # it brings up to date what is there
        self.pace = Pace()

    async def decide_as(self, job: Job, vessels: list[Vessel]) -> None:
        """In a further process: decides as the first one did, about its share."""
        self.state = await target_state.read(self.ends.target)
        self.fleet = await decided(
            self.settings, self.ends, vessels, self.state, on_error=self.settings.on_error
        )
        decisions = self.fleet.decisions
        decisions.vessels_due = job.due
        decisions.companies_out.update(dict.fromkeys(job.refused, REFUSED))
        # Only users whom the parent has written: those that the target refused are not there.
        written = list(self.state.identities.get("user", {}))
        users = decisions.identity("user")
        decisions.identities["user"] = users.filter(pl.col("source_id").is_in(written))
        self.rows = Shared(self.fleet, failures=job.refused)

    def sessions(self, due: Sequence[Vessel]) -> int:
        """How many sessions the workers open at each end."""
        settings = self.settings
        if settings.dry_run or self.crew is not None:
            return min(len(due), 1)
        units = len(cut(due, settings.batch_bytes))
        if settings.processes == 1:
            return min(units, settings.loaders)
        return min(len(due), settings.processes)  # one each for certain, besides what their workers open

    async def step(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """A step of the whole run, on sessions that are opened anew when they are lost."""

        async def attempt(number: int) -> None:
            if number > 1:
                await self._mend()
            await work()

        await self.ends.patience.work(name, attempt, worth=worth_mending)

    async def _mend(self) -> None:
        await self._reopen()
        if self.outdated and self.rows is not None:
            self.state = await target_state.read(self.ends.target)
            await self._shared()

    async def _reopen(self) -> None:
        mended = await self.ends.mend()
        if self.ends.foreign:
            return  # a further process: the run's lock and its snapshot are the first one's
        if "target" in mended and not self.settings.dry_run:
            await runs.hold(self.ends.target, self.report.run_id)
            if self.crew is not None:
                await self.crew.hold(self.ends.target)
        if "source" in mended:
            self.outdated = True
            self.site.snapshot = self.ends.snapshot
            self.older = {result.vessel.id for result in self.done}

    async def begin(self, selection: str) -> None:
        """Records the run."""
        if not self.settings.dry_run:
            await self.step("the beginning", lambda: self._begin(selection))

    async def _begin(self, selection: str) -> None:
        await runs.begin(
            self.ends.target,
            self.report.run_id,
            self.report.command,
            operator=self.settings.operator,
            selection=selection,
            version=__version__,
        )

    async def shared(self, due: list[Vessel], *, everything: bool, companies: Collection[str] = ()) -> None:
        """Companies and users of all vessels that are due, then rows that belong to no vessel at all."""
        self.listen(PhaseStarted("companies and users"))
        self.asked = due, everything, companies
        await self.step("companies and users", self._shared)

    async def _shared(self) -> None:
        started = time.perf_counter()
        due, everything, companies = self.asked
        fleet = await decided(
            self.settings,
            self.ends,
            due,
            self.state,
            on_error=self.settings.on_error,
            companies=companies,
            after=self.after,
        )
        # Users whom the portal deleted are the conflict strategy's to bring back; so are companies in a sync.
        for of in ("company", "user") if self.syncs else ("user",):
            fleet.present[of] = fleet.present.get(of, frozenset()) | fleet.deleted[of]
        if not self.syncs:
            users = fleet.decisions.identity("user")
            there = ~pl.col("source_id").is_in(list(fleet.deleted["user"]))
            fleet.decisions.identities["user"] = users.filter(there)
        rows = Shared(fleet, before=self.rows)
        nowhere = await orphans.find(self.ends.holder) if everything and self.rows is None else None
        if not self.settings.dry_run:
            await numbers.assign(self.ends.holder, self.ends.target, fleet)
            try:
                await rows.load(self.ends.target, self.checkpoints, nowhere, self.ends.seen)
            except CommitUnknown:
                seen = self.ends.seen
                await self._reopen()
                if not await runs.has_snapshot(self.ends.target, self.report.run_id, seen):
                    raise
        inserted, updated = rows.counts() if self.settings.dry_run else (rows.inserted, rows.updated)
        self.report.inserted.update(inserted)
        self.report.updated.update(updated)
        for findings in rows.findings():
            self.report.count_findings(findings)
        if self.rows is not None:
            self._count_shared(self.rows, -1)
        self._count_shared(rows, 1)
        for orphan in nowhere or ():
            self.report.count_findings(orphan.findings)
            self.report.quarantined[orphan.source] += orphan.quarantined.height
        self.fleet, self.rows, self.outdated = fleet, rows, False
        self.report.phases["load"] += time.perf_counter() - started

    async def late_users(self) -> None:
        """Users whose e-mails were somebody else's until those who were there had changed."""
        if self.rows is not None and self.fleet.late and not self.settings.dry_run:
            before = self.rows.inserted.copy()
            await self.rows.load_late(self.ends.target, self.checkpoints)
            self.report.inserted.update(self.rows.inserted - before)

    def _count_shared(self, rows: Shared, sign: int) -> None:
        """What a look at the same companies and users under a new snapshot replaces."""
        for outcome in rows.fleet.shared:
            for code, n in outcome.lossiness.items():
                self.report.lossiness[code] += sign * n
            self.report.quarantined[outcome.entity.source] += sign * rows.quarantined(outcome).height
            self.report.read[outcome.entity.source] += sign * outcome.rows

    async def vessels(self, due: list[Vessel]) -> None:
        """The vessels, `parallel_vessels` units at a time."""
        self.listen(PhaseStarted("vessels", len(due)))
        await self._until_none_waits(due, self.report)
        if not self.settings.dry_run and not self.syncs:
            await self._confirm()

    async def _until_none_waits(self, due: list[Vessel], tally: Report) -> None:
        """These vessels, with a new snapshot for those that didn't get theirs before the old one was lost."""
        rounds = 0
        while due or (self.crew is not None and self.crew.unheard):
            self.renew = False
            if self.crew is not None:
                self.dealt |= {vessel.id: vessel for vessel in due}
                await self.crew.work(self, "migrate", units_of(due, self.settings.batch_bytes))
            elif self.settings.processes > 1 and not self.settings.dry_run:
                await self._spread(due)
            else:
                await self.here(due, tally)
            if not self.renew:
                return
            left = [vessel for vessel in due if vessel.id not in self.ended]
            rounds = rounds + 1 if len(left) == len(due) else 0
            if rounds >= self.settings.attempts:
                raise ServerLost("the source's snapshot is lost again and again", "see the source's log")
            await self.step("a new snapshot", self._mend)
            due = left

    async def _confirm(self) -> None:
        """Makes durable what was committed, and does again what a crash of the target has undone."""
        for _ in range(self.settings.attempts):
            undone = await self._undone()
            if not undone:
                self.confirmed = True
                return
            # Under the same snapshot they count as before; what was read of them is counted already.
            await self._until_none_waits([result.vessel for result in undone], Report("migrate"))
        if await self._undone():
            raise ServerLost("the target loses what it has committed", "see the target's log")

    async def _undone(self) -> list[Loaded]:
        undone: list[Loaded] = []

        async def compare() -> None:
            safe = await runs.durable(self.ends.target, self.report.run_id)
            undone[:] = [result for result in self.done if result.vessel.id not in safe]

        if self.done:
            await self.step("what is durable", compare)
        self._uncount(undone)
        return undone

    async def here(self, due: list[Vessel], tally: Report | None = None) -> None:
        """The vessels in this process. `tally`: where what is read of them is counted."""
        if self.settings.window is not None and not self.settings.dry_run:
            await self.step("the pace so far", self.read_pace)
        assert self.rows is not None
        queue = Queue(cut(due, self.settings.batch_bytes), go=self.may_start)
        work = migrate_units.work(
            self.options(),
            self.rows,
            queue,
            tally or self.report,
            self.finished,
            continue_on_error=self.settings.continue_on_error,
        )
        # A dry run writes a company in each of its vessels' transactions: those would wait for each other.
        parallel = 1 if self.settings.dry_run else self.settings.loaders
        await run_units(self.site, queue, parallel, work)
        self.report.peak_in_flight = self.site.memory.peak
        self.renew = queue.renew and (self.settings.continue_on_error or not self.report.failed)
        if queue.stopped and not self.renew and not self.report.failed:
            self.report.status = "stopped"

    async def read_pace(self) -> None:
        """Reads how long vessels take."""
        self.pace = await from_history(self.ends.target)

    async def _spread(self, due: list[Vessel]) -> None:
        settings = self.settings
        assert self.rows is not None
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

        self.dealt |= {vessel.id: vessel for vessel in due}

        def collect(share: Share) -> None:
            self.report.merge(share.report)
            self.done += share.done
            self.ended |= share.ended
            self.renew |= share.renew

        await spread(job, due, collect, self.listen, continue_on_error=self.settings.continue_on_error)
        if self.report.failed and not self.settings.continue_on_error and not self.stop.requested:
            self.report.status = "completed"  # the failure is why the others stopped; `finish` says so
            self.renew = False

    def options(self) -> LoadOptions:
        """How this run's rows get in."""
        assert self.rows is not None
        limit = self.settings.max_rows_per_second
        return LoadOptions(
            run_id=self.report.run_id,
            decisions=self.fleet.decisions,
            dry_run=self.settings.dry_run,
            fk_set=self.settings.fk_check == "set",
            limiter=AsyncLimiter(limit, 1) if limit else None,
            shared=self.rows,
            checkpoints=self.checkpoints,
            who=self.who,
            snapshot=self.ends.seen,
        )

    def may_start(self, vessels: Sequence[Vessel]) -> bool:
        """Whether the window and whoever asked for an end let these be started."""
        if self.stop.draining:
            return False
        if self.settings.window is None:
            return True
        elapsed = time.perf_counter() - self.report.began
        return elapsed + self.pace.expected(vessels) < self.settings.window

    def finished(self, results: list[Loaded], queue: Queue) -> None:
        for result in results:
            self.count(result)
            if result.state == "failed" and not self.settings.continue_on_error:
                queue.stopped = True

    def count(self, result: Loaded) -> None:
        """Adds what became of a vessel to the report, and tells whoever listens."""
        report, vessel = self.report, result.vessel
        self.ended.add(vessel.id)
        report.findings.update(result.findings)
        report.elsewhere += result.elsewhere
        result.elsewhere = []
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
            report.deleted.update(result.deleted)
            report.unchanged.update(result.unchanged)
            report.conflicts.update(result.conflicts)
            report.held_back += result.held_back
            report.quarantined.update(result.quarantined)
            report.pending += result.pending
            rows = (result.inserted + result.updated + result.deleted).total()
            report.slowest = sorted(
                [*report.slowest, (vessel.name, result.seconds, rows)], key=lambda entry: -entry[1]
            )[:SLOWEST]
            self.done.append(result)
            event = VesselDone(
                vessel.id,
                vessel.name,
                result.state,
                rows,
                result.seconds,
                sum(n for (severity, _), n in result.findings.items() if severity == "warning"),
                result.quarantined.total(),
            )
        self.listen(event)

    def finished_again(self, results: list[Loaded], queue: Queue) -> None:
        """For vessels that had to be looked at twice: what they wrote is added up, what is kept out and what
        was found is as it was the second time."""
        for result in results:
            first = next((one for one in self.done if one.vessel.id == result.vessel.id), None)
            if result.state == "failed" or first is None:
                self.finished([result], queue)
                self.report.done -= result.state != "failed"
                continue
            self._uncount([first])
            for now, before in (
                (result.inserted, first.inserted),
                (result.updated, first.updated),
                (result.deleted, first.deleted),
                (result.conflicts, first.conflicts),
            ):
                now.update(before)
            result.unchanged = first.unchanged
            self.count(result)

    def _uncount(self, undone: Sequence[Loaded]) -> None:
        """These were committed, and a crash of the target has undone it."""
        report = self.report
        lost = {result.vessel.id for result in undone}
        for result in undone:
            report.done -= 1
            report.findings.subtract(result.findings)
            report.inserted.subtract(result.inserted)
            report.updated.subtract(result.updated)
            report.deleted.subtract(result.deleted)
            report.unchanged.subtract(result.unchanged)
            report.conflicts.subtract(result.conflicts)
            report.held_back -= result.held_back
            report.quarantined.subtract(result.quarantined)
            report.pending -= result.pending
            self.listen(VesselUndone(result.vessel.id, result.vessel.name))
        if lost:
            self.done = [result for result in self.done if result.vessel.id not in lost]
            self.ended -= lost
            self.older -= lost

    async def waiting(self) -> None:
        """Rows between vessels, now that all of this run are there; findings that several came across."""
        elsewhere = self.report.count_elsewhere()
        await self.step("findings", lambda: self._record_elsewhere(elsewhere))
        self.listen(PhaseStarted("waiting rows"))
        settled = Settled()

        async def look() -> None:
            await settle(
                self.ends.holder,
                self.ends.target,
                self.fleet.decisions,
                self.checkpoints,
                self.who,
                settled,
            )

        await self.step("waiting rows", look)
        self.report.inserted.update(settled.inserted)
        self.report.quarantined.update(settled.quarantined)
        for findings in settled.findings:
            self.report.count_findings(findings)
        self.report.pending = settled.pending
        await self.step("what was seen", self._remember)
        self.report.failures += [
            Failure(vessel, "", None, "load", f"{entity} {source_id}: {cause}")
            for entity, source_id, vessel, cause in settled.refused
        ]

    async def _remember(self) -> None:
        """From here the next sync looks for changes in the vessels that are up to date now."""
        due = [
            result.vessel.id
            for result in self.done
            if result.state == "migrated"
            and not (result.held_back or result.unsettled)
            and result.vessel.id not in self.older
        ]
        if due and self.report.command in ("migrate", "sync"):
            now = self.looked.get(self.ends.seen) or Seen("", 0)
            new = [vessel for vessel in due if vessel not in now.keys]
            if new:
                found, _ = await see(self.ends.holder, dict.fromkeys(new, 0))
                now = replace(found, keys=now.keys | found.keys)
            await seen.remember(self.ends.target, now, due)

    async def _record_elsewhere(self, findings: pl.DataFrame) -> None:
        await write.findings(self.ends.target, self.report.run_id, [findings])

    async def verify(self) -> None:
        """Compares every cell of this run's vessels, companies and users, seen in the same snapshot; where
        there had to be a second one, with what the source has now."""
        self.listen(PhaseStarted("verification", len(self.done)))
        await self.step("verification", self._verify)

    async def _verify(self) -> None:
        decisions = replace(self.fleet.decisions, on_error="quarantine")
        for same in (True, False):
            vessels = [r.vessel for r in self.done if (r.vessel.id not in self.older) == same]
            if same or vessels:
                await verify_fleet(
                    self.site,
                    self.settings,
                    self.ends,
                    replace(self.fleet, decisions=decisions),
                    vessels,
                    self.report,
                    same_snapshot=same,
                    listen=self.listen,
                    behind=self.verified,
                )

    async def undo(self) -> None:
        """With `--rollback-on-error`, vessels that differ go back to what they were and have failed."""
        if self.settings.rollback_on_error and self.report.differing:
            self.listen(PhaseStarted("rollback", len(self.report.differing)))
            await self.step("rollback", self._undo)

    async def _undo(self) -> None:
        report = self.report
        done = {result.vessel.id: result for result in self.done}
        wrong = [(done[id_].vessel, first) for id_, first in report.differing.items() if id_ in done]
        undo = Undo(self.ends, report.run_id, self.settings.operator, self.ends.seen)
        known = {id_: result.vessel for id_, result in done.items()}
        undone, report.pending = await undo.vessels(wrong, known)
        for one in undone:
            if one.back is None:
                report.failures.append(
                    Failure(one.vessel.id, one.vessel.name, one.vessel.imo_number, "verify", one.error)
                )
                continue
            result = done[one.vessel.id]
            # Rows that waited went in after the vessel was counted; others wait for it again.
            for table in WAITING:
                late = one.back.restored.deleted[table] - one.back.waiting - result.inserted[table]
                report.inserted[table] -= max(late, 0) + one.back.waiting
            pending = report.pending
            self._uncount([result])
            report.pending = pending
            self.count(Loaded(one.vessel, "failed", phase="verify", error=one.error))

    @asynccontextmanager
    async def to_its_end(self) -> AsyncIterator[None]:
        """Runs a block that whoever stops the run cancels; whatever ends it, report and ledger say so. Errors
        that tell of a server or of data that gave up are in the report, others are raised."""
        report = self.report
        try:
            with self.stop.scope() as scope:
                yield
            if scope.cancelled_caught:
                report.status = "stopped"
        except (UsageError, PreflightError, asyncpg.InsufficientPrivilegeError):
            report.status = "failed"
            raise
        except (BulkmigError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            report.fail(describe(error), getattr(error, "hint", "") or "run the same command again to go on")
        except BaseException:
            report.status = "failed"
            raise
        finally:
            await self.end()
            self.listen(RunEnded(report.command, report.run_id, report.status))

    async def end(self) -> None:
        """Records how the run ended, as far as the target lets it."""
        try:
            if self.report.status != "failed":
                with self.stop.scope():
                    await self.step("the end", self._end)
                    return
            with anyio.fail_after(END_SECONDS, shield=True):
                await self._reopen()
                await self._end()
        except (BulkmigError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            self._uncount(list(self.done) if not self.confirmed else [])
            self.report.fail(
                f"how the run ended could not be recorded: {describe(error)}",
                "run the same command again to go on",
            )

    async def _end(self) -> None:
        report = self.report
        if self.crew is not None:
            await self.crew.close(self)
        if not self.settings.dry_run:
            if not self.confirmed:
                unheard = [vessel for vessel in self.dealt.values() if vessel.id not in self.ended]
                for result in await recount(self.ends.target, report.run_id, unheard):
                    self.count(result)
                safe = await runs.durable(self.ends.target, report.run_id)
                self._uncount([result for result in self.done if result.vessel.id not in safe])
            self.confirmed = True
            await shown.in_report(self.ends.target, report)
            report.finish()
            await runs.end(self.ends.target, report.run_id, report.status, report.document())
        report.finish()
