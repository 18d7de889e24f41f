"""All that bulkmig uses of pgqueuer. Imported when a queue is used: loading it takes as long as all else.

The library's own loop (`QueueManager`) is not used: each of its workers wakes up for every change of the
queue, which many workers with many vessels can't afford, and it runs jobs outside of anyio's task groups.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from pgqueuer import AsyncpgDriver, Job, Queries
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel, JobId, QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter

from bulkmig.postgres.session import Connection

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


class Library:
    """The library's queries, through one session, for the jobs of one entrypoint."""

    def __init__(self, connection: Connection, entrypoint: str) -> None:
        self.entrypoint = entrypoint
        self.queries = Queries(
            AsyncpgDriver(connection),
            QueryBuilderEnvironment(NAMES),
            QueryQueueBuilder(NAMES),
            QuerySchedulerBuilder(NAMES),
        )

    async def enqueue(self, payloads: Sequence[bytes], priorities: Sequence[int]) -> None:
        """Puts jobs in."""
        await self.queries.enqueue([self.entrypoint] * len(payloads), list(payloads), list(priorities))

    async def dequeue(self, worker: UUID, at_once: int | None, heartbeat: float) -> Job | None:
        """Takes a job."""
        found = await self.queries.dequeue(
            1,
            {QueueEntrypoint(self.entrypoint): EntrypointExecutionParameter(at_once or 0)},
            QueueManagerId(worker),
            None,
            timedelta(seconds=heartbeat),
        )
        return found[0] if found else None

    async def done(self, entry: Job) -> None:
        """Takes it out."""
        await self.queries.log_jobs([(entry, "successful", None)])

    async def give_back(self, entry: Job) -> None:
        """Lets others take it."""
        await self.queries.retry_job(entry, timedelta(0), None)

    async def beat(self, ids: Collection[int]) -> None:
        """Shows that they are being worked on."""
        await self.queries.update_heartbeat([JobId(id_) for id_ in ids])

    async def clear(self) -> None:
        """Forgets all jobs, and what was logged of them."""
        await self.queries.clear_queue(self.entrypoint)
        await self.queries.clear_queue_log(self.entrypoint)
