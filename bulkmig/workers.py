"""Workers: each takes one unit of vessels after the other through a pipeline, with sessions of its own."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import anyio
from msgspec import Struct

from bulkmig._core.memory import Memory, give_back, resident
from bulkmig.entities import PER_VESSEL
from bulkmig.events import Listener, Sampled, silent
from bulkmig.pipeline import Line, UnitTooLarge, first_error
from bulkmig.postgres.again import Patience
from bulkmig.postgres.dsn import Address
from bulkmig.postgres.session import SOURCE, TARGET, Connection, close, reach
from bulkmig.selection import Vessel
from bulkmig.source.onboarding import SnapshotGone, join
from bulkmig.turns import Turn, Turns
from bulkmig.units import keys_bytes

SAMPLE_SECONDS = 0.5
# Worker threads: more than cores only push each other aside. polars itself uses one per core.
THREADS = min(max(os.cpu_count() or 2, 2), 4)


class Site(Struct):
    """What all workers share: addresses, the snapshot, the memory bound, the worker threads, how much they
    put up with, and who hears of it."""

    source: Address
    target: Address
    snapshot: str
    memory: Memory
    batch_bytes: int
    threads: anyio.CapacityLimiter
    patience: Patience
    listen: Listener = silent
    tag: str = ""  # the end of the names of all workers' sessions

    def named(self, session: Mapping[str, str]) -> dict[str, str]:
        """The settings of a session, with its name."""
        return {**session, "application_name": f"{session['application_name']} {self.tag}".rstrip()}


class Lane:
    """A worker's two sessions, opened when first needed, and anew when they are lost."""

    def __init__(self, site: Site, turns: Turns | None = None) -> None:
        self.site = site
        self.turn = Turn(turns or Turns(1))
        self._source: Connection | None = None
        self._target: Connection | None = None

    async def line(self) -> Line:
        """The pipeline's means, with an open source session. Raises SnapshotGone, and what `reach` raises."""
        if self._source is None or self._source.is_closed():
            self._source = await reach(
                self.site.source,
                self.site.named(SOURCE),
                role="source",
                patience=self.site.patience,
                instead_of=self._source,
            )
            await join(self._source, self.site.snapshot)
        return Line(self._source, PER_VESSEL, self.site.memory.flow, self.site.batch_bytes, self.site.threads)

    async def target(self) -> Connection:
        """An open target session. Raises what `reach` raises."""
        if self._target is None or self._target.is_closed():
            self._target = await reach(
                self.site.target,
                self.site.named(TARGET),
                role="target",
                patience=self.site.patience,
                instead_of=self._target,
            )
        return self._target

    async def close_target(self) -> None:
        """Ends the target session alone; the next one opens anew."""
        if self._target is not None:
            await close(self._target)

    async def close(self) -> None:
        """Ends both sessions, whatever state a failed pipeline left them in; the next unit opens new ones."""
        for connection in (self._source, self._target):
            if connection is not None:
                await close(connection)


class Queue(Struct):
    """Units still to be done. `stopped`: no unit is started any more; `go`: asked before each unit. `renew`:
    what is left needs a new snapshot of the source; `failed`: what was only read isn't written any more."""

    units: list[list[Vessel]]
    go: Callable[[Sequence[Vessel]], bool] = lambda vessels: True
    stopped: bool = False
    renew: bool = False
    failed: bool = False
    _next: int = 0

    def take(self) -> list[Vessel] | None:
        if self.stopped or self._next >= len(self.units):
            return None
        unit = self.units[self._next]
        if not self.go(unit):
            self.stopped = True
            return None
        self._next += 1
        return unit

    def may_go_on(self, unit: Sequence[Vessel]) -> bool:
        """Whether these of a unit that was taken may be started, or tried again: the window may be over
        meanwhile."""
        return not self.stopped and self.go(unit)

    def fail(self) -> None:
        """After a failure nothing more is started."""
        self.stopped = self.failed = True

    def split(self, unit: Sequence[Vessel]) -> None:
        """Puts the vessels of a unit that is too large back, one by one."""
        self.put_back([vessel] for vessel in unit)

    def put_back(self, units: Iterable[list[Vessel]]) -> None:
        """Puts parts of a unit back, to be taken next."""
        self.units[self._next : self._next] = units


Work = Callable[[Lane, list[Vessel]], Awaitable[None]]


async def take_all(lane: Lane, queue: Queue, work: Work) -> None:
    """Runs `work` over one unit after the other."""
    while await _take_one(lane, queue, work):
        pass


async def _take_one(lane: Lane, queue: Queue, work: Work) -> bool:
    async with lane.turn:
        if (unit := queue.take()) is None:
            return False
        if len(unit) == 1:
            await lane.turn.write(alone=True)  # it streams, and may need all the memory
            if queue.failed:
                return False
        async with lane.site.memory.held.leased(keys_bytes(unit)):
            try:
                await work(lane, unit)
            except UnitTooLarge:
                await lane.close()
                queue.split(unit)
            except SnapshotGone:
                # What is left has to wait for a new one; units under way have theirs still.
                queue.renew = queue.stopped = True
    return True


async def run_units(site: Site, queue: Queue, parallel: int, work: Work, *, ahead: int = 0) -> None:
    """Runs `work` over every unit, `parallel` at a time; so many more are read `ahead`, where `work` says by
    its lane's turn when it writes. What `work` raises ends the run."""
    turns = Turns(parallel)

    async def worker() -> None:
        lane = Lane(site, turns)
        try:
            await take_all(lane, queue, work)
        finally:
            await lane.close()

    try:
        async with anyio.create_task_group() as sampling:
            sampling.start_soon(sample, site)
            async with anyio.create_task_group() as group:
                for _ in range(min(parallel + ahead, max(len(queue.units), 1))):
                    group.start_soon(worker)
            sampling.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        cause = first_error(errors)
        raise cause from cause.__cause__  # which tells whether it may pass


async def sample(site: Site) -> None:
    """Tells of the memory in use, the last time when all workers have ended, and gives back what is free."""
    try:
        while True:
            site.listen(sampled := _memory(site))
            # Pages that are given back are taken again: done all the time it costs 7 % of a migration's CPU.
            if site.memory.is_exceeded_by(sampled.resident):
                await anyio.to_thread.run_sync(give_back)
            await anyio.sleep(SAMPLE_SECONDS)
    finally:
        site.listen(_memory(site))


def _memory(site: Site) -> Sampled:
    return Sampled(os.getpid(), site.memory.in_flight, site.memory.bound, resident())
