"""Workers: each takes one unit of vessels after the other through a pipeline, with sessions of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio

from bulkmig._core.memory import Memory
from bulkmig.entities import PER_VESSEL
from bulkmig.pipeline import Line, UnitTooLarge, first_error
from bulkmig.postgres.dsn import Address
from bulkmig.postgres.session import TARGET, Connection, close, connect
from bulkmig.selection import Vessel
from bulkmig.source.onboarding import reader
from bulkmig.units import keys_bytes


@dataclass
class Site:
    """What all workers share: addresses, the snapshot, the memory bound, the worker threads."""

    source: Address
    target: Address
    snapshot: str
    memory: Memory
    batch_bytes: int
    threads: anyio.CapacityLimiter


class Lane:
    """A worker's two sessions, opened when first needed."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._source: Connection | None = None
        self._target: Connection | None = None

    async def line(self) -> Line:
        """The pipeline's means, with an open source session."""
        if self._source is None or self._source.is_closed():
            self._source = await reader(self.site.source, self.site.snapshot)
        return Line(self._source, PER_VESSEL, self.site.memory.flow, self.site.batch_bytes, self.site.threads)

    async def target(self) -> Connection:
        """An open target session."""
        if self._target is None or self._target.is_closed():
            self._target = await connect(self.site.target, TARGET, role="target")
        return self._target

    async def close(self) -> None:
        """Ends both sessions, whatever state a failed pipeline left them in; the next unit opens new ones."""
        for connection in (self._source, self._target):
            if connection is not None:
                await close(connection)
        self._source = self._target = None


@dataclass
class Queue:
    """Units still to be done. `stopped`: no unit is started any more; `go`: asked before each unit."""

    units: list[list[Vessel]]
    go: Callable[[Sequence[Vessel]], bool] = lambda vessels: True
    stopped: bool = False
    _next: int = field(default=0, repr=False)

    def take(self) -> list[Vessel] | None:
        if self.stopped or self._next >= len(self.units):
            return None
        unit = self.units[self._next]
        if not self.go(unit):
            self.stopped = True
            return None
        self._next += 1
        return unit

    def split(self, unit: Sequence[Vessel]) -> None:
        """Puts the vessels of a unit that is too large back, one by one."""
        self.units[self._next : self._next] = [[vessel] for vessel in unit]


Work = Callable[[Lane, list[Vessel]], Awaitable[None]]


async def run_units(site: Site, queue: Queue, parallel: int, work: Work) -> None:
    """Runs `work` over every unit, `parallel` at a time. What `work` raises ends the run."""

    async def worker() -> None:
        lane = Lane(site)
        try:
            while (unit := queue.take()) is not None:
                async with site.memory.held.leased(keys_bytes(unit)):
                    try:
                        await work(lane, unit)
                    except UnitTooLarge:
                        await lane.close()
                        queue.split(unit)
        finally:
            await lane.close()

    try:
        async with anyio.create_task_group() as group:
            for _ in range(min(parallel, max(len(queue.units), 1))):
                group.start_soon(worker)
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None
