"""One job of a worker: the very unit code of `migrate` and `sync`, and what it ended in."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from bulkmig.checkpoint.take import Checkpoints
from bulkmig.cluster import outcome
from bulkmig.cluster.desk import Desk
from bulkmig.cluster.jobs import Job
from bulkmig.cluster.plan import Plan
from bulkmig.cluster.rate import limited
from bulkmig.cluster.runs import QueueRun
from bulkmig.cluster.view import View
from bulkmig.config import Settings
from bulkmig.counted import add_rows
from bulkmig.decide.fleet import Fleet
from bulkmig.events import Listener, VesselDone, VesselFailed
from bulkmig.ledger import audit
from bulkmig.migrate_units import work as migrate_work
from bulkmig.pace import Pace, from_history
from bulkmig.recount import recount
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.shared import Shared
from bulkmig.sync.moves import Moves
from bulkmig.sync.rules import Rules
from bulkmig.sync.work import work as sync_work
from bulkmig.vessel_load import Loaded, LoadOptions
from bulkmig.workers import Lane, Queue, Work, take_all

_DONE = """
SELECT vessel_id::text AS id FROM bulkmig.vessels
 WHERE run_id = $1::text::uuid AND state <> 'failed' AND vessel_id = ANY ($2::text[]::uuid[])
"""


class Hand(Struct):
    """What a worker knows of a kind of jobs of a run. `generation`: of the run's plans, when it was read;
    `ends`: when the window is over, by this process's clock, None where there is none."""

    kind: str
    generation: int
    options: LoadOptions
    rules: Rules
    ends: float | None
    pace: Pace

    @classmethod
    async def make(
        cls,
        kind: str,
        plan: Plan,
        generation: int,
        run: QueueRun,
        settings: Settings,
        desk: Desk,
    ) -> Hand:
        """Makes the run's options out of its plan and this worker's settings."""
        manner, run_id = plan.manner, run.run_id

        async def drawing(seconds: float) -> float:
            return await desk.draw(run_id, seconds)

        options = LoadOptions(
            run_id=run_id,
            decisions=plan.decisions,
            shared=Shared(Fleet(plan.decisions, []), failures=plan.refused),
            checkpoints=Checkpoints(run_id),
            who=audit.who(manner.operator or settings.operator),
            fk_set=manner.fk_set,
            limiter=limited(drawing, run.max_rows_per_second, settings.max_rows_per_second),
        )
        left = run.seconds_left
        return cls(
            kind,
            generation,
            options,
            Rules.of(manner, plan.decisions.catalogue, spares=manner.spares),
            None if left is None else time.perf_counter() + left,
            Pace() if left is None else await desk.ask(from_history),
        )

    def fits(self, vessels: Sequence[Vessel]) -> bool:
        """Whether the window lets these be started."""
        return self.ends is None or time.perf_counter() + self.pace.expected(vessels) < self.ends


class Errand(Struct):
    """A job under way. `worker`: the worker's own report."""

    hand: Hand
    job: Job
    view: View
    worker: Report
    listen: Listener
    tally: Report = field(default_factory=lambda: Report("worker"))
    results: dict[str, Loaded] = field(default_factory=dict)

    async def run(self, lane: Lane, desk: Desk) -> bool:
        """Does the job; returns False where it needs a new snapshot. Vessels that are done by then are
        done."""
        if not self.results and self.hand.kind == "migrate" and (desk.lost or self.job.returned):
            await self._look_back(desk)
        left = [vessel for vessel in self.job.vessels if vessel.id not in self.results]
        if not left:
            return True
        queue = Queue([left], go=self.hand.fits)
        await take_all(lane, queue, self._work(queue))
        return not queue.renew

    async def _look_back(self, desk: Desk) -> None:
        """Vessels that this run has done already, on a worker that died before it could say so: a second look
        would write nothing of them but their findings."""
        run_id, vessels = self.hand.options.run_id, [vessel.id for vessel in self.job.vessels]
        rows = await desk.ask(lambda c: c.fetch(_DONE, run_id, vessels))
        done = {row["id"] for row in rows}
        self.results |= {v.id: Loaded(v, "skipped") for v in self.job.vessels if v.id in done}

    def _work(self, queue: Queue) -> Work:
        hand = self.hand
        options = replace(hand.options, snapshot=self.view.seen)
        if hand.kind == "sync":
            return sync_work(options, hand.rules, Moves(), queue, self.tally, self._finished)
        # A job is done whole: after a failed vessel it is the submitter that starts no further job.
        return migrate_work(
            options, options.shared, queue, self.tally, self._finished, continue_on_error=True
        )

    def _finished(self, results: list[Loaded], queue: Queue) -> None:
        self.results |= {result.vessel.id: result for result in results}

    @property
    def unfinished(self) -> bool:
        """Whether a vessel is left of which nothing is known."""
        return len(self.results) < len(self.job.vessels)

    async def outcome(self, desk: Desk) -> bytes:
        """What the run's report needs. A vessel that this run has migrated before, on a worker that died or
        was cut off before it could say so, counts as what its mark says."""
        skipped = [result.vessel for result in self.results.values() if result.state == "skipped"]
        if skipped:
            run_id = self.hand.options.run_id
            for found in await desk.ask(lambda c: recount(c, run_id, skipped)):
                self.results[found.vessel.id] = found
        return outcome.pack(self.view.seen, list(self.results.values()), self.tally)

    def count(self) -> None:
        """Adds the job to the worker's own report, and tells whoever listens."""
        report = self.worker
        for result in self.results.values():
            vessel = result.vessel
            if result.state == "failed":
                report.failed += 1
                self.listen(VesselFailed(vessel.id, vessel.name, result.phase, result.error))
                continue
            if result.state == "skipped":
                report.skipped += 1
            else:
                report.done += 1
            add_rows(report, result)
            self.listen(VesselDone(vessel.id, vessel.name, result.state, result.rows, result.seconds))
