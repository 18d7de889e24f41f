"""The byte budget: one bound on all rows in flight together, over every vessel and stage of a process.

A batch takes its lease before its rows are read and for all that it will become (text, columns, text
again), so no later stage ever waits for memory while it holds some: that is what rules out deadlock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Lease:
    """Bytes taken from a budget. `shrink` and `release` give back; both may be called again."""

    def __init__(self, budget: ByteBudget, size: int) -> None:
        self._budget = budget
        self.size = size

    def shrink(self, size: int) -> None:
        """Gives back what a batch turned out not to need; never grows."""
        if size < self.size:
            self._budget._give_back(self.size - size)
            self.size = size

    def release(self) -> None:
        self.shrink(0)


class ByteBudget:
    """At most `bound` bytes are leased at once; a lease larger than that passes alone.

    `in_flight` and `peak` are what the budget itself has seen, in bytes."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.in_flight = 0
        self.peak = 0
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    async def lease(self, size: int) -> Lease:
        """Waits, first come first served, until `size` bytes are free."""
        size = min(size, self.bound)
        if self._waiting or self.in_flight + size > self.bound:
            event = anyio.Event()
            entry = (size, event)
            self._waiting.append(entry)
            try:
                await event.wait()
            except BaseException:
                if event.is_set():
                    self._give_back(size)
                else:
                    self._waiting.remove(entry)
                    self._wake()
                raise
        else:
            self._take(size)
        return Lease(self, size)

    @asynccontextmanager
    async def leased(self, size: int) -> AsyncIterator[Lease]:
        """A lease for the length of a block."""
        lease = await self.lease(size)
        try:
            yield lease
        finally:
            lease.release()

    def _take(self, size: int) -> None:
        self.in_flight += size
        self.peak = max(self.peak, self.in_flight)

    def _give_back(self, size: int) -> None:
        self.in_flight -= size
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.in_flight + self._waiting[0][0] <= self.bound:
            size, event = self._waiting.popleft()
            self._take(size)
            event.set()
