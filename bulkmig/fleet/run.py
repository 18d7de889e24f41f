"""A run under way: its ends, what is known so far, and how a step is done again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from aiolimiter import AsyncLimiter

from bulkmig._core.stop import Stop
from bulkmig._version import __version__
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.cluster.submit import Crew
from bulkmig.config import Settings
from bulkmig.counted import Counted
from bulkmig.decide.fleet import After, Fleet
from bulkmig.ends import Ends, worth_mending
from bulkmig.events import Listener
from bulkmig.fleet.ahead import Ahead
from bulkmig.fleet.beginning import site
from bulkmig.ledger import audit, runs
from bulkmig.pace import Pace, from_history
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.shared import Shared
from bulkmig.source.changes import Seen
from bulkmig.target.state import TargetState
from bulkmig.vessel_load import LoadOptions


class Run:
    """What the steps of a run work on; each adds to the report."""

    fleet: Fleet  # once companies and users were decided on

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
        self.counted = Counted(report, listen, continue_on_error=settings.continue_on_error)
        self.dealt: dict[str, Vessel] = {}  # vessels that further processes were given
        self.renew = False  # what is left needs a new snapshot
        self.looked: dict[str, Seen] = {}  # what a snapshot of the source sees -> what was found in it
        self.ahead: Ahead | None = None  # a look that began before its turn
        self.outdated = False  # there is one, and nothing was decided under it yet
        self.decide_again: Callable[[], Awaitable[None]] | None = None
        self.rows: Shared | None = None
        self.verified: set[str] = set()
        self.confirmed = False  # what was committed is durable, and what isn't was taken back
        self.after: After | None = None
        self.syncs = False  # it brings up to date what is there
        self.spares = False  # it leaves alone what was rolled back
        self.grown: Sequence[Vessel] = ()  # vessels that a sync has found to have rows which it doesn't know
        self.pace = Pace()

    async def step(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """A step of the whole run, on sessions that are opened anew when they are lost."""

        async def attempt(number: int) -> None:
            if number > 1:
                await self.mend()
            await work()

        await self.ends.patience.work(name, attempt, worth=worth_mending)

    async def mend(self) -> None:
        """Opens what is lost anew, and decides again where the snapshot is another one."""
        await self.reopen()
        if self.outdated and self.decide_again is not None:
            await self.decide_again()

    async def reopen(self) -> None:
        """Opens sessions anew that are lost, with the locks that show that the run lives."""
        mended = await self.ends.mend()
        if self.ends.foreign:
            return  # a further process: the run's lock and its snapshot are the first one's
        if "target" in mended and not self.settings.dry_run:
            await self.hold()
        if "source" in mended:
            self.outdated = True
            self.site.snapshot = self.ends.snapshot
            self.counted.older = {result.vessel.id for result in self.counted.done}

    async def hold(self) -> None:
        """Shows that the run lives, for as long as the session on the target does."""
        await runs.hold(self.ends.target, self.report.run_id)
        if self.crew is not None:
            await self.crew.hold(self.ends.target)

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

    async def read_pace(self) -> None:
        """Reads how long vessels take."""
        self.pace = await from_history(self.ends.target)

    @property
    def ends_early(self) -> bool:
        """Whether no further vessel is started: someone stopped the run, or a vessel failed and that ends
        it."""
        failed = self.report.failed > 0 and not self.settings.continue_on_error
        return failed or self.report.status == "stopped"

    def not_all_taken(self) -> None:
        """Workers left vessels in their queue: after a failure that ends the run, or else it was stopped."""
        if not self.ends_early:
            self.report.status = "stopped"

    def may_start(self, vessels: Sequence[Vessel]) -> bool:
        """Whether the window and whoever asked for an end let these be started."""
        if self.stop.draining:
            return False
        if self.settings.window is None:
            return True
        elapsed = time.perf_counter() - self.report.began
        return elapsed + self.pace.expected(vessels) < self.settings.window
