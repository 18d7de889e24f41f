"""A worker's one session for the queue: takes and gives back jobs, shows that the worker lives, and hears
when the run is to end. Every call is tried again on a new session, since all of them may be made twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID, uuid4

import anyio

from bulkmig.cluster import outcome, roster, runs
from bulkmig.cluster.jobs import Job, Jobs
from bulkmig.cluster.rate import draw
from bulkmig.cluster.roster import QUEUE_NAME, Named
from bulkmig.cluster.runs import QueueRun, Taking
from bulkmig.postgres.again import Patience
from bulkmig.postgres.dsn import Address
from bulkmig.postgres.session import SOURCE, TARGET, Connection, close, reach, transaction

T = TypeVar("T")
GRACE = 1.0  # seconds at most between looking for silent workers and taking a job
IDLE_BEAT = 5.0  # seconds between two heartbeats of a worker that has no run
EMPTY_SECONDS = 0.5  # for which a queue that had no job for this worker isn't asked again


class Desk:
    """`me`: this worker; `held`: the jobs that it has. `source`: where its sessions on the source go.
    `generation`: of the run's plans, when it took the last job; `lost`: whether a worker was lost by then."""

    def __init__(self, source: Address, target: Address, patience: Patience) -> None:
        self.source, self.target, self.patience = source, target, patience
        self.me = Named(uuid4())
        self.held: dict[int, anyio.CancelScope] = {}
        self._connection: Connection | None = None
        self._lock = anyio.Lock()
        self.generation, self.lost = 0, False
        self._empty_until = self._waits_until = 0.0

    @property
    def id(self) -> UUID:
        return self.me.id

    async def _do(self, what: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Raises what `reach` raises."""

        async def attempt(number: int) -> T:
            try:
                return await work(await self._session())
            except Exception:
                if self._connection is not None:
                    await close(self._connection)
                raise

        async with self._lock:
            return await self.patience.work(what, attempt)

    async def _session(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            name = f"{QUEUE_NAME} {self.me.tag}"
            self._connection = await reach(
                self.target,
                {**TARGET, "application_name": name, "plan_cache_mode": "force_generic_plan"},
                role="target",
                patience=self.patience,
                instead_of=self._connection,
            )
        return self._connection

    async def enrol(self) -> None:
        """Puts the worker on the list."""
        await self._do("the list of workers", lambda c: roster.enrol(c, self.me))

    async def leave(self) -> None:
        """Takes it off, and ends the session."""
        try:
            await self._do("the list of workers", lambda c: roster.leave(c, self.me))
        finally:
            if self._connection is not None:
                await close(self._connection)

    async def wait(self) -> None:
        """Shows that the worker lives, and has no run."""
        if anyio.current_time() >= self._waits_until:
            await self.ask(lambda c: roster.seen(c, self.me, None))
            self._waits_until = anyio.current_time() + IDLE_BEAT

    async def ask(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Asks anything of the target."""
        return await self._do("the queue", work)

    async def take(self, run: QueueRun) -> Job | None:
        """A job, where the run is open and there is one; workers that went silent are ended before theirs is
        begun."""
        if anyio.current_time() < self._empty_until:
            return None

        async def looked(connection: Connection) -> Taking | None:
            return await runs.taking(connection, run.run_id, self.id)

        asked = anyio.current_time()
        now = await self._do("taking a job", looked)
        if now is not None and now.silent:
            await self._end(now.silent)
            return None
        if now is None or now.state != "open" or anyio.current_time() - asked > GRACE:
            return None
        self.generation, self.lost = now.generation, now.lost

        async def taken(connection: Connection) -> Job | None:
            jobs = Jobs(connection, run.run_id)
            # By then every worker that is silent was found so above.
            return await jobs.take(self.id, at_once=now.at_once, heartbeat=now.heartbeat + 2 * GRACE)

        job = await self._do("taking a job", taken)
        if job is None:
            self._empty_until = anyio.current_time() + EMPTY_SECONDS
        return job

    async def _end(self, tags: list[str]) -> None:
        """Ends what is left of silent workers on both servers, before anyone does their jobs."""
        await self._do("a silent worker", lambda c: roster.dismiss(c, tags))
        connection = await reach(self.source, SOURCE, role="source", patience=self.patience)
        try:
            await roster.dismiss(connection, tags)
        finally:
            await close(connection)
        await self._do("a silent worker", lambda c: roster.lost(c, tags))

    async def done(self, run: QueueRun, job: Job, payload: bytes) -> None:
        """Stores what became of a job, and takes it out of the queue."""

        async def store(connection: Connection) -> None:
            # In this order, so that whatever has left the queue has an outcome.
            await outcome.store(connection, run.run_id, job.id, payload)
            await Jobs(connection, run.run_id).done(job)

        await self._do("an outcome", store)

    async def give_back(self, run: QueueRun, job: Job) -> None:
        """For whoever takes it next, unless somebody has it already."""

        async def back(connection: Connection) -> None:
            jobs = Jobs(connection, run.run_id)
            if await jobs.beat(self.id, [job.id]):
                await jobs.give_back(job)

        await self._do("giving a job back", back)

    async def beat(self, run: QueueRun) -> None:
        """Shows that the worker and its jobs live; ends the work on those that others have by now."""
        held = dict(self.held)
        self._waits_until = 0.0

        async def show(connection: Connection) -> set[int]:
            async with transaction(connection):
                await roster.seen(connection, self.me, run.run_id)
                return await Jobs(connection, run.run_id).beat(self.id, held)

        mine = await self._do("the heartbeat", show)
        for job, scope in held.items():
            if job not in mine and self.held.get(job) is scope:
                scope.cancel()

    async def draw(self, run_id: str, seconds: float) -> float:
        """Draws from the fleet's rate."""
        return await self._do("the rate", lambda c: draw(c, run_id, seconds))

    async def drain(self, run: QueueRun) -> None:
        """The window leaves no time for the next job."""
        await self._do("the window's end", lambda c: runs.drain(c, run.run_id, runs.WINDOW))
