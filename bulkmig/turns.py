"""Whose turn it is: a unit is read first and written then, and while one is written the next is read.

A SQLite file has one writer. A worker that may write lets the next one read, and nobody else write until
its unit is done: so units are written one at a time, in the order in which they were begun, and at most one
more is in memory. On PostgreSQL as many are written at once as there are workers, and nobody waits.
"""

from __future__ import annotations

from typing import Self

import anyio


class Turns:
    """Of the workers of a run: so many units are written at once."""

    def __init__(self, at_once: int) -> None:
        # No locks: the task that gives back is another than the one that took.
        self.reading, self.writing = anyio.Semaphore(at_once), anyio.Semaphore(at_once)


class Turn:
    """One worker's; a block is one unit."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._reads = self._writes = False

    async def __aenter__(self) -> Self:
        await self._turns.reading.acquire()
        self._reads = True
        return self

    async def write(self, *, alone: bool = False) -> None:
        """Waits until the unit may be written; `alone`: the next one isn't read meanwhile."""
        if not self._writes:
            await self._turns.writing.acquire()
            self._writes = True
        if self._reads and not alone:
            self._turns.reading.release()
            self._reads = False

    async def __aexit__(self, *_: object) -> None:
        if self._reads:
            self._turns.reading.release()
        if self._writes:
            self._turns.writing.release()
        self._reads = self._writes = False
