"""The submitter's part: hands a run's decisions over, fills the queue, and follows it to its end.

A submitter that dies leaves the run open: workers go on, and the same command again takes the run over. It
decides anew (that changes nothing of what is decided), counts what was done meanwhile, and puts in what is
missing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio

from bulkmig._core.stop import Stop
from bulkmig.cluster import outcome, plan, roster, runs, view
from bulkmig.cluster.jobs import Jobs, Standing
from bulkmig.cluster.outcome import Beginning
from bulkmig.cluster.plan import Manner, Plan
from bulkmig.config import Settings
from bulkmig.counted import Counted
from bulkmig.decide.fleet import Fleet
from bulkmig.ends import Ends
from bulkmig.errors import PreflightError
from bulkmig.events import Listener, QueueMoved, VesselStarted
from bulkmig.postgres.session import Connection, transaction
from bulkmig.recount import recount
from bulkmig.report import Report
from bulkmig.security.keys import from_settings
from bulkmig.selection import Selection, Vessel
from bulkmig.shared import Shared
from bulkmig.target.state import Mark, TargetState
from bulkmig.units import cut

PLENTY = 256  # small vessels come together only where there are so many jobs all the same
STOP_SECONDS = 20.0  # for workers to give back what they have
_HOLD_LOOKS = 25
_SHARE = 0.05  # of the time that looking at the queue may take
_SHORTEST, _LONGEST = 0.2, 2.0  # seconds between two looks


class Run(Protocol):
    """What of a run the submitter works on (`bulkmig/fleet/run.py`)."""

    settings: Settings
    ends: Ends
    report: Report
    stop: Stop
    listen: Listener
    fleet: Fleet
    rows: Shared | None
    counted: Counted
    spares: bool

    async def step(self, name: str, work: Callable[[], Awaitable[None]]) -> None: ...


class Crew:
    """The workers of a run, as its submitter sees them. `before`: vessels that the run has marked already,
    where it was taken over."""

    def __init__(self, run_id: str, command: str, selection: str) -> None:
        self.run_id, self.command, self.selection = run_id, command, selection
        self.taken_over = False
        self.before: list[Vessel] = []
        self._opened = self._counted = False
        self._old: set[int] = set()  # jobs whose outcomes were stored under a submitter before this one
        self._at_work: frozenset[int] = frozenset()
        self._vessels: dict[int, list[Vessel]] = {}
        self._said: QueueMoved | None = None

    @property
    def unheard(self) -> bool:
        """Whether there may be something to be counted though no vessel is due."""
        return bool(self.before) and not self._opened

    def before_of(self, selected: Sequence[Vessel], state: TargetState) -> list[Vessel]:
        """The vessels that this very run has marked as migrated before it was taken over."""
        if self.taken_over:
            mine = {id_ for id_, mark in state.marks.items() if mark == Mark("migrated", self.run_id)}
            self.before = [vessel for vessel in selected if vessel.id in mine]
        return self.before

    async def work(self, run: Run, kind: str, units: Sequence[list[Vessel]]) -> None:
        """Lets workers do these units and counts what became of them; returns when nothing is at work."""
        wanted = [vessel for unit in units for vessel in unit]
        await run.step("the run in the queue", lambda: self._open(run, kind))
        await run.step("filling the queue", lambda: self._fill(run, kind, units))
        try:
            await self._follow(run)
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_SECONDS, shield=True):
                await self._call_back(run)
            raise
        left = [vessel for vessel in [*wanted, *self.before] if vessel.id not in run.counted.ended]
        await run.step("what workers left", lambda: self._recount(run, left))

    async def _open(self, run: Run, kind: str) -> None:
        """The run's entry and its plan; of a run that was taken over, what became of its jobs meanwhile."""
        settings, target = run.settings, run.ends.target
        assert run.rows is not None
        at = await view.place(run.ends.holder)
        limits = [n for n in (settings.max_source_connections, settings.max_target_connections) if n]
        async with transaction(target):
            await runs.put(
                target,
                run.ends,
                at,
                self.run_id,
                self.command,
                self.selection,
                heartbeat=settings.heartbeat,
                at_once=min(limits, default=None),
                max_rows_per_second=settings.max_rows_per_second,
                seconds_left=_seconds_left(run),
            )
            made = Plan(manner_of(settings, spares=run.spares), run.fleet.decisions, run.rows.failures)
            await plan.publish(target, self.run_id, kind, made)
            if not self._opened:
                self._old = await outcome.recall(target, self.run_id)
                await self._begin(run)
        self._opened = True

    async def _fill(self, run: Run, kind: str, units: Sequence[list[Vessel]]) -> None:
        target = run.ends.target
        jobs = Jobs(target, self.run_id)
        # The queue first: whatever has left it by then has stored its outcome.
        there = {vessel.id for unit in (await jobs.units()).values() for vessel in unit}
        await self._hear(run)
        # What a submitter before this one has put in is not put in again.
        new = [[v for v in unit if v.id not in there and v.id not in run.counted.ended] for unit in units]
        async with transaction(target):
            await jobs.submit(kind, [unit for unit in new if unit])
        await target.execute("ANALYZE bulkmig.pgqueuer")
        self._vessels = await jobs.units()

    async def _begin(self, run: Run) -> None:
        """What was written of companies and users before this submitter belongs to the run as well."""
        report, rows = run.report, run.rows
        assert rows is not None
        target = run.ends.target
        lost = Counter[str]()
        for one in rows.fleet.shared:
            lost.update(one.lossiness)
        before = await outcome.begun(target, self.run_id)
        if before is not None and not self._counted:
            before.add_to(report)
            for frame in rows.findings():
                report.findings.subtract(frame.select("severity", "code").iter_rows())
            report.findings.update(await outcome.found(target, self.run_id))
            for one in rows.fleet.shared:
                report.quarantined[one.entity.source] -= rows.quarantined(one).height
            report.quarantined.update(await outcome.kept_out(target, self.run_id))
            report.lossiness.subtract(lost)
            report.lossiness.update(before.lossiness)
        self._counted = True
        lossiness = lost if before is None else before.lossiness
        await outcome.begin(target, self.run_id, Beginning(report.inserted, report.updated, lossiness))

    async def _follow(self, run: Run) -> None:
        while True:
            started = time.perf_counter()
            over = False

            async def look() -> None:
                nonlocal over
                over = await self._look(run)

            await run.step("following the queue", look)
            if over:
                return
            took = time.perf_counter() - started
            await anyio.sleep(min(max(_SHORTEST, took / _SHARE), _LONGEST))

    async def _look(self, run: Run) -> bool:
        """Counts what is new. Returns whether no job is left that will be done."""
        target = run.ends.target
        jobs = Jobs(target, self.run_id)
        entry = await runs.look(target, self.run_id)
        # The queue first: whatever has left it by then has stored its outcome.
        standing = await jobs.standing()
        await self._hear(run)
        await self._tell(run, standing)
        draining = entry is None or entry.state != "open"
        if not draining:
            left = entry.seconds_left if entry is not None else None
            if run.report.failed and not run.settings.continue_on_error:
                await runs.drain(target, self.run_id, runs.FAILURE)
            elif left is not None and left <= 0:
                await runs.drain(target, self.run_id, runs.WINDOW)
        elif standing.queued:
            await jobs.withdraw()
            if entry is None or entry.reason != runs.FAILURE:
                run.report.status = "stopped"
        return not standing.queued and not standing.picked

    async def _hear(self, run: Run) -> None:
        target = run.ends.target
        while found := await outcome.unheard(target, self.run_id):
            for job, one in found:
                fresh = [r for r in one.results() if r.vessel.id not in run.counted.ended]
                if job in self._old:  # what failed then is tried again
                    fresh = [r for r in fresh if r.state != "failed"]
                if fresh:
                    one.add_to(run.report)
                for result in fresh:
                    run.counted.add(result)
                    if one.seen != run.ends.seen:
                        run.counted.older.add(result.vessel.id)
                self._vessels.pop(job, None)
            # What was counted stands in this process's report: it is noted, not proved.
            await outcome.heard(target, self.run_id, [job for job, _ in found])

    async def _tell(self, run: Run, standing: Standing) -> None:
        for job in standing.at_work - self._at_work:
            for vessel in self._vessels.get(job, ()):
                run.listen(VesselStarted(vessel.id, vessel.name))
        self._at_work = standing.at_work
        workers = await roster.at_work(run.ends.target, self.run_id, run.settings.heartbeat)
        moved = QueueMoved(standing.queued, standing.picked, workers)
        if self._said is None or moved.workers != self._said.workers:
            run.listen(moved)
            self._said = moved

    async def _call_back(self, run: Run) -> None:
        """Has workers give back what they have, and waits until they did."""
        await run.ends.mend()
        await runs.stop(run.ends.target, self.run_id)
        jobs = Jobs(run.ends.target, self.run_id)
        while (await jobs.standing()).picked:  # noqa: ASYNC110 (it is another machine that moves)
            await anyio.sleep(_SHORTEST)
        await self._hear(run)

    async def _recount(self, run: Run, left: Sequence[Vessel]) -> None:
        for result in await recount(run.ends.target, self.run_id, left):
            run.counted.add(result)

    async def close(self, run: Run) -> None:
        """Takes the run out of the queue, with what became of its jobs counted. What is left of its workers
        on the target ends first."""
        target = run.ends.target
        await roster.dismiss(target, await roster.holding(target, self.run_id))
        await self._hear(run)
        async with transaction(target):
            await runs.close(target, self.run_id)
            await Jobs(target, self.run_id).clear()

    async def hold(self, target: Connection) -> None:
        """Keeps other submitters away, for as long as the session lives. Raises PreflightError where one is
        at work."""
        for _ in range(_HOLD_LOOKS):  # the server may not have noticed yet that another one is gone
            if await target.fetchval("SELECT pg_try_advisory_lock($1)", runs.ONE_SUBMITTER):
                return
            await anyio.sleep(_SHORTEST)
        raise PreflightError(
            "another run fills this target's queue", "wait for its end, or stop it: bulkmig status"
        )


def _seconds_left(run: Run) -> float | None:
    window = run.settings.window
    return None if window is None else max(window - (time.perf_counter() - run.report.began), 0.0)


def manner_of(settings: Settings, *, spares: bool) -> Manner:
    """How rows get in, as these settings have it. `spares`: what was rolled back is left alone."""
    writer = from_settings(settings).writer
    return Manner(
        settings.operator,
        settings.fk_check == "set",
        writer.id.hex() if writer is not None else "",
        settings.conflict,
        settings.allow_deletions,
        settings.brake_share,
        settings.brake_least,
        spares,
    )


def units_of(vessels: Sequence[Vessel], batch_bytes: int) -> list[list[Vessel]]:
    """Jobs, largest first. Small vessels come together where all workers find enough jobs all the same."""
    return cut(vessels, batch_bytes, most_together=max(len(vessels) // PLENTY, 1))


async def crew(ends: Ends, settings: Settings, report: Report, selection: Selection) -> Crew | None:
    """None without `--queue`. Takes over the run that a dead submitter of the same command has left open, and
    then the report is that run's. Raises PreflightError where another submitter is at work."""
    if not settings.queue:
        return None
    found = Crew(report.run_id, report.command, str(selection))
    await found.hold(ends.target)
    entry = await runs.current(ends.target)
    if entry is not None and (entry.command, entry.selection) == (found.command, found.selection):
        found.run_id = report.run_id = entry.run_id
        found.taken_over = True
    elif entry is not None:
        async with transaction(ends.target):
            await runs.close(ends.target, entry.run_id)
            await Jobs(ends.target, entry.run_id).clear()
    return found
