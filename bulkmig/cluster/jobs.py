"""The queue: jobs are put in, taken, given back and done. All that bulkmig uses of pgqueuer stands here.

Jobs of one run share an entrypoint, so that no worker takes those of another run. The library's own loop
(`QueueManager`) isn't used: each of its workers wakes up for every change of the queue, which many workers
with many vessels can't afford, and it runs jobs outside of anyio's task groups.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import msgspec
from pgqueuer import AsyncpgDriver, Queries
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.domain.models import Job as LibraryJob
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel, JobId, QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter

from bulkmig.postgres.session import Connection
from bulkmig.selection import Vessel

_AT_ONCE = 5000  # jobs a statement
_MOST = 2**31 - 1  # of a priority
# Named one by one: the library would take what is not from the environment.
NAMES = DBSettings(
    prefix="",
    db_schema="bulkmig",
    channel=Channel("bulkmig_queue"),
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
    durability=Durability.durable,
)
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


@dataclass(frozen=True)
class Job:
    """A job that was taken."""

    id: int
    kind: str
    vessels: list[Vessel]
    entry: LibraryJob


@dataclass(frozen=True)
class Standing:
    """How many jobs wait and are at work, and which those are."""

    queued: int
    picked: int
    at_work: frozenset[int]


class Jobs:
    """The jobs of one run, through one session."""

    def __init__(self, connection: Connection, run_id: str) -> None:
        self.connection, self.entrypoint = connection, run_id
        self._queries = Queries(
            AsyncpgDriver(connection),
            QueryBuilderEnvironment(NAMES),
            QueryQueueBuilder(NAMES),
            QuerySchedulerBuilder(NAMES),
        )

    async def submit(self, kind: str, units: Sequence[list[Vessel]]) -> list[int]:
        """Puts units in, in the caller's transaction; those with most equipment are taken first. Returns the
        jobs' ids."""
        ids: list[int] = []
        for start in range(0, len(units), _AT_ONCE):
            part = units[start : start + _AT_ONCE]
            ids += await self._queries.enqueue(
                [self.entrypoint] * len(part),
                [msgspec.msgpack.encode(Payload(kind, unit)) for unit in part],
                [min(sum(vessel.equipment for vessel in unit), _MOST) for unit in part],
            )
        return ids

    async def take(self, worker: UUID, *, at_once: int | None, heartbeat: float) -> Job | None:
        """Takes the largest job that waits, or one of a worker that has been silent for so long. `at_once`:
        how many jobs all workers together may have."""
        found = await self._queries.dequeue(
            1,
            {QueueEntrypoint(self.entrypoint): EntrypointExecutionParameter(at_once or 0)},
            QueueManagerId(worker),
            None,
            timedelta(seconds=heartbeat),
        )
        if not found:
            return None
        assert found[0].payload is not None
        payload = msgspec.msgpack.decode(found[0].payload, type=Payload)
        return Job(found[0].id, payload.kind, payload.vessels, found[0])

    async def done(self, job: Job) -> None:
        """The job is behind us."""
        await self._queries.log_jobs([(job.entry, "successful", None)])

    async def give_back(self, job: Job) -> None:
        """The job is for whoever takes it next."""
        await self._queries.retry_job(job.entry, timedelta(0), None)

    async def beat(self, worker: UUID, ids: Collection[int]) -> set[int]:
        """Shows that these jobs are being worked on; returns those that are the worker's still."""
        rows = await self.connection.fetch(_MINE, list(ids), worker)
        mine = {row["id"] for row in rows}
        if mine:
            await self._queries.update_heartbeat([JobId(id_) for id_ in mine])
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
        await self._queries.clear_queue(self.entrypoint)
        await self._queries.clear_queue_log(self.entrypoint)
