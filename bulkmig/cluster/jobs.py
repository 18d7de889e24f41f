"""The queue: jobs are put in, taken, given back and done. Jobs of one run share an entrypoint, so that no
worker takes those of another run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from bulkmig.postgres.session import Connection
from bulkmig.selection import Vessel

if TYPE_CHECKING:
    import pgqueuer

_AT_ONCE = 5000  # jobs a statement
_MOST = 2**31 - 1  # of a priority
_STANDING = """
SELECT count(*) FILTER (WHERE status = 'queued'), count(*) FILTER (WHERE status = 'picked'),
       array_agg(id) FILTER (WHERE status = 'picked')
  FROM bulkmig.pgqueuer WHERE entrypoint = $1
"""
_MINE = "SELECT id FROM bulkmig.pgqueuer WHERE id = ANY ($1::bigint[]) AND queue_manager_id = $2"
_UNITS = "SELECT id, payload FROM bulkmig.pgqueuer WHERE entrypoint = $1"
_FREE = "DELETE FROM bulkmig.pgqueuer WHERE entrypoint = $1 AND status = 'queued'"


class Payload(msgspec.Struct, array_like=True):
    """What a job carries: which plan it belongs to, and its vessels, which are one unit of work."""

    kind: str
    vessels: list[Vessel]


class Job(Struct, frozen=True):
    """A job that was taken."""

    id: int
    kind: str
    vessels: list[Vessel]
    entry: pgqueuer.Job

    @property
    def returned(self) -> bool:
        """Whether a worker has had it and given it back."""
        return self.entry.attempts > 0


class Standing(Struct, frozen=True):
    """How many jobs wait and are at work, and which those are."""

    queued: int
    picked: int
    at_work: frozenset[int]


class Jobs:
    """The jobs of one run, through one session."""

    def __init__(self, connection: Connection, run_id: str) -> None:
        from bulkmig.cluster.library import Library  # see there why only now

        self.connection, self.entrypoint = connection, run_id
        self._library = Library(connection, run_id)

    async def submit(self, kind: str, units: Sequence[list[Vessel]]) -> None:
        """Puts units in, in the caller's transaction; those with most equipment are taken first."""
        for start in range(0, len(units), _AT_ONCE):
            part = units[start : start + _AT_ONCE]
            await self._library.enqueue(
                [msgspec.msgpack.encode(Payload(kind, unit)) for unit in part],
                [min(sum(vessel.equipment for vessel in unit), _MOST) for unit in part],
            )

    async def take(self, worker: UUID, *, at_once: int | None, heartbeat: float) -> Job | None:
        """Takes the largest job that waits, or one of a worker that has been silent for so long. `at_once`:
        how many jobs all workers together may have."""
        entry = await self._library.dequeue(worker, at_once, heartbeat)
        if entry is None:
            return None
        assert entry.payload is not None
        payload = msgspec.msgpack.decode(entry.payload, type=Payload)
        return Job(entry.id, payload.kind, payload.vessels, entry)

    async def done(self, job: Job) -> None:
        """The job is behind us."""
        await self._library.done(job.entry)

    async def give_back(self, job: Job) -> None:
        """The job is for whoever takes it next."""
        await self._library.give_back(job.entry)

    async def beat(self, worker: UUID, ids: Collection[int]) -> set[int]:
        """Shows that these jobs are being worked on; returns those that are the worker's still."""
        rows = await self.connection.fetch(_MINE, list(ids), worker)
        mine = {row["id"] for row in rows}
        if mine:
            await self._library.beat(mine)
        return mine

    async def standing(self) -> Standing:
        """What is in the queue."""
        row = await self.connection.fetchrow(_STANDING, self.entrypoint)
        assert row is not None
        return Standing(row[0], row[1], frozenset(row[2] or ()))

    async def units(self) -> dict[int, list[Vessel]]:
        """The vessels of each job that is in the queue."""
        rows = await self.connection.fetch(_UNITS, self.entrypoint)
        return {row["id"]: msgspec.msgpack.decode(row["payload"], type=Payload).vessels for row in rows}

    async def withdraw(self) -> None:
        """Takes out what waits; jobs at work stay."""
        await self.connection.execute(_FREE, self.entrypoint)

    async def clear(self) -> None:
        """Forgets the run's jobs, those at work too, and what the library logged of them."""
        await self._library.clear()
