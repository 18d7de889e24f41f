"""`bulkmig worker`: takes jobs of the run that is open, one after the other, until it is told to stop.

wait for a run ▶ refuse it, or read its plan ▶ lanes: take ▶ the unit code ▶ outcome ▶ take …
                                               pulse: heartbeat, and what the run's entry says
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
import asyncpg

from bulkmig._core import program
from bulkmig._core.memory import Memory
from bulkmig._core.stop import Stop
from bulkmig.cluster import plan, runs
from bulkmig.cluster.desk import Desk
from bulkmig.cluster.jobs import Job
from bulkmig.cluster.runs import QueueRun
from bulkmig.cluster.unit import Errand, Hand
from bulkmig.cluster.view import View, own, shared
from bulkmig.config import Settings, check
from bulkmig.entities import ENTITIES
from bulkmig.errors import BulkmigError, PreflightError, UsageError
from bulkmig.events import Listener, RunEnded, RunStarted, silent
from bulkmig.ledger import chain, schema
from bulkmig.ledger import keys as ledger_keys
from bulkmig.pipeline import first_error
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import SOURCE, Connection, session, transaction
from bulkmig.preflight import address, patience, target_only, triggers_off
from bulkmig.report import Report
from bulkmig.security import keys
from bulkmig.source import onboarding
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.target import postgres
from bulkmig.workers import THREADS, Lane, Site, sample

GIVE_BACK_SECONDS = 10.0
PULSE_SECONDS = 1.0  # at most between two looks at the run's entry
_FAILURES = (BulkmigError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
_IDLE = 1.0  # seconds, with some chance in them, between two looks for a run


async def work(
    settings: Settings, *, once: bool = False, listen: Listener = silent, stop: Stop | None = None
) -> Report:
    """Works until it is stopped, or with `once` until the run that it found is over. Raises UsageError, and
    PreflightError where this worker can't or may not do the run's work."""
    check(settings)
    if settings.target.startswith("sqlite:"):
        raise UsageError("workers need a target in PostgreSQL, where the queue lies", "check --target")
    keys.required(settings)
    source, target = address(settings, "source"), address(settings, "target")
    # Refused at once, where an end can't be reached or isn't as it must be: else every vessel would fail.
    async with session(source, SOURCE, role="source") as connection:
        await onboarding.catalogue(connection, ENTITIES)
    async with target_only(settings, needs_ledger=False) as connection:
        await postgres.catalogue(connection, writing=True)
        await schema.upgrade(connection)
    report = Report("worker", memory_bound=settings.memory)
    listen = report.timeline.hearing(listen)
    stop = stop or Stop()
    desk = Desk(source, target, patience(settings, listen))
    report.run_id = str(desk.id)
    await desk.enrol()
    try:
        with stop.scope() as scope:
            while not stop.draining:
                run = await desk.ask(runs.current)
                if run is None or run.state == "stopping":
                    await desk.wait()
                    await anyio.sleep(_IDLE * random.uniform(0.5, 1.5))
                    continue
                program.check(run.version, run.rules)
                listen(RunStarted("worker", run.run_id, 0, 0))
                await _Shift(settings, desk, run, report, listen, stop).work()
                listen(RunEnded("worker", run.run_id, report.status))
                if once:
                    break
        if scope.cancelled_caught:
            report.status = "stopped"
    except _FAILURES as error:
        if isinstance(error, (UsageError, PreflightError)):
            raise
        report.fail(describe(error), getattr(error, "hint", "") or "start the worker again")
    finally:
        with anyio.move_on_after(GIVE_BACK_SECONDS, shield=True):
            with suppress(*_FAILURES):  # it will be found silent
                await desk.leave()
    report.selected = report.done + report.skipped + report.failed
    report.finish()
    return report


@dataclass
class _Shift:
    """A worker's work on one run."""

    settings: Settings
    desk: Desk
    run: QueueRun
    report: Report
    listen: Listener
    stop: Stop
    hands: dict[str, Hand] = field(default_factory=dict)  # by kind
    over: bool = False

    async def work(self) -> None:
        """Takes jobs until the run is over. Raises what a unit raises that is nobody's vessel's fault."""
        run, settings = self.run, self.settings
        self.site = Site(
            self.desk.source,
            self.desk.target,
            run.snapshot,
            Memory(settings.memory),
            settings.batch_bytes,
            anyio.CapacityLimiter(THREADS),
            self.desk.patience,
            self.listen,
            self.desk.me.tag,
        )
        self.view: View | None = None
        self.viewing = anyio.Lock()
        self.handing = anyio.Lock()
        try:
            await self.desk.beat(run)  # who has a job is a worker of the run, whose silence tells
            async with anyio.create_task_group() as group:
                group.start_soon(self._pulse, group.cancel_scope)
                if self.listen is not silent:
                    group.start_soon(sample, self.site)
                async with anyio.create_task_group() as lanes:
                    for _ in range(settings.parallel_vessels):
                        lanes.start_soon(self._lane)
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            cause = first_error(errors)
            raise cause from cause.__cause__
        finally:
            self.report.peak_in_flight = max(self.report.peak_in_flight, self.site.memory.peak)
            if self.view is not None:
                await self.view.close()
        if self.over and self.hands:  # with the run's key
            await self.desk.ask(self._seal)

    async def _seal(self, connection: Connection) -> None:
        """Takes vessels into the audit log's chain that were committed when the run had ended already."""
        async with transaction(connection):
            await chain.seal(connection, self.run.run_id)

    async def _pulse(self, everything: anyio.CancelScope) -> None:
        """Heartbeats, and what becomes of the run."""
        pause = min(self.run.heartbeat / 4, PULSE_SECONDS)
        beat = anyio.current_time() + self.run.heartbeat / 4
        while True:
            if anyio.current_time() >= beat:
                await self.desk.beat(self.run)
                beat = anyio.current_time() + self.run.heartbeat / 4
            now = await self.desk.ask(lambda c: runs.look(c, self.run.run_id))
            if now is None or now.state in ("closed", "stopping"):
                self.over = True
                everything.cancel()
                return
            await anyio.sleep(pause)

    async def _lane(self) -> None:
        lane, seen = Lane(self.site), ""
        try:
            while not (self.over or self.stop.draining):
                job = await self.desk.take(self.run)
                if job is None:
                    await lane.close()  # a session that does nothing is one that others may need
                    await anyio.sleep(_IDLE / 4 * random.uniform(0.5, 1.5))
                    continue
                async with self._holding(job):
                    view = await self._see()
                    if seen not in ("", view.seen):
                        await lane.close()
                    seen = view.seen
                    await self._do(lane, job, view)
        finally:
            await lane.close()

    @asynccontextmanager
    async def _holding(self, job: Job) -> AsyncIterator[None]:
        """A job is done, or it is given back; or it is somebody else's by now."""
        with anyio.CancelScope() as scope:
            self.desk.held[job.id] = scope
            try:
                yield
            except BaseException:
                with anyio.move_on_after(GIVE_BACK_SECONDS, shield=True):
                    await self._give_back(job)
                raise
            finally:
                del self.desk.held[job.id]

    async def _give_back(self, job: Job) -> None:
        with suppress(*_FAILURES):  # when this worker has been silent for long enough, others take it
            await self.desk.give_back(self.run, job)

    async def _do(self, lane: Lane, job: Job, view: View) -> None:
        hand = await self._hand(job.kind)
        if not hand.fits(job.vessels):
            await self.desk.drain(self.run)
            await self._give_back(job)
            return
        for _ in range(self.settings.attempts):
            errand = Errand(hand, job, view, self.report, self.listen)
            if await errand.run(lane, self.desk):
                break
            view = await self._see(instead_of=view)
            await lane.close()
        else:
            raise SnapshotGone("the source's snapshot is lost again and again", "see the source's log")
        if errand.unfinished:  # the window is over, and what failed may not be tried again
            await self.desk.drain(self.run)
            await self._give_back(job)
            return
        payload = await errand.outcome(self.desk)
        if self.run.at_once is not None:
            await lane.close()  # whoever gets this job's place opens sessions of its own
        await self.desk.done(self.run, job, payload)
        errand.count()

    async def _hand(self, kind: str) -> Hand:
        """What is known of a kind of jobs; anew where the run was taken over and decided again."""
        async with self.handing:
            known = self.hands.get(kind)
            generation = self.desk.generation
            if known is None or known.generation < generation:
                found = await self.desk.ask(lambda c: plan.read(c, self.run.run_id, kind))
                writer = keys.from_settings(self.settings).writer
                if found.manner.key != (writer.id.hex() if writer is not None else ""):
                    raise PreflightError(
                        "the run encrypts with another key than this worker",
                        "give every worker the submitter's key: key_file, key_command or BULKMIG_KEY",
                    )
                await self.desk.ask(ledger_keys.check)
                if found.manner.fk_set:
                    await self.desk.ask(triggers_off)
                known = self.hands[kind] = await Hand.make(
                    kind, found, generation, self.run, self.settings, self.desk
                )
            return known

    async def _see(self, *, instead_of: View | None = None) -> View:
        """The snapshot to read in."""
        async with self.viewing:
            if self.view is None or self.view is instead_of:
                if self.view is not None:
                    await self.view.close()
                self.view = await self._look(joining=instead_of is None)
                self.site.snapshot = self.view.snapshot
            return self.view

    async def _look(self, *, joining: bool) -> View:
        desk = self.desk
        # A submitter that has taken the run over has a snapshot of its own.
        run = await desk.ask(lambda c: runs.look(c, self.run.run_id)) or self.run
        if joining or run.snapshot != self.run.snapshot:
            self.run = run
            try:
                return await shared(desk.source, desk.patience, run.snapshot, run.seen)
            except SnapshotGone:
                pass
        return await own(desk.source, desk.patience, run.place, wait=self.settings.outage)
