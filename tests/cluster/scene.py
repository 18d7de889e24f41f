"""A run over workers, as tests disturb it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from bulkmig.generate import FleetSpec
from tests.cluster.conftest import MIGRATE, Fleet
from tests.cluster.machines import Machine, plain
from tests.support.aftermath import left_behind, until
from tests.support.programs import LIMIT, Program, program

SMALL = FleetSpec(seed=9, vessels=20, equipment=20, nasty=0.1, least=0)
LARGE = FleetSpec(seed=9, vessels=500, equipment=60, nasty=0.02, least=1)
BEAT = ("--heartbeat", "2")


@dataclass
class Scene:
    """A target under way. `limit`: seconds in which a run of this fleet has long ended."""

    fleet: Fleet
    target: str
    limit: float
    stack: AsyncExitStack
    session: asyncpg.Connection
    workers: list[Program] = field(default_factory=list)

    async def worker(self, machine: Machine | None = None) -> Program:
        """One more worker."""
        machine = machine or plain(1, self.fleet.source, self.target)[0]
        self.workers.append(await self.stack.enter_async_context(machine.worker()))
        return self.workers[-1]

    async def submitter(self, *more: str) -> Program:
        return await self.stack.enter_async_context(
            program(self.fleet.source, self.target, *MIGRATE, *BEAT, *more)
        )

    async def ask(self, query: str, *values: object) -> object:
        """Asks the target anything; None before there is such a table."""
        try:
            return await self.session.fetchval(query, *values)
        except asyncpg.UndefinedTableError:
            return None

    async def reached(self, share: float) -> None:
        """Waits until this share of the vessels is done."""
        wanted = int(self.fleet.approved * share)

        async def enough() -> bool:
            return bool(await self.ask("SELECT count(*) >= $1 FROM bulkmig.vessels", max(wanted, 1)))

        assert await until(enough, self.limit)

    async def busy(self, worker: Program) -> None:
        """Waits until this worker has a job."""

        async def has() -> bool:
            return bool(
                await self.ask(
                    "SELECT EXISTS (SELECT FROM bulkmig.pgqueuer j JOIN bulkmig.queue_workers w"
                    " ON w.id = j.queue_manager_id WHERE j.status = 'picked' AND w.pid = $1)",
                    worker.pid,
                )
            )

        assert await until(has, self.limit)

    async def judge(self, submitter: Program) -> None:
        """The run ends as one process does; then its workers end in good order and leave nothing behind."""
        ended = await submitter.ended(self.limit)
        # What a worker had read and not told when it was killed is in no figure but the ledger's.
        await self.fleet.same(self.target, ended, but=("stats", "lossiness"))
        for worker in self.workers:
            if worker.is_running:
                await worker.kill(signal.SIGTERM)
                assert (await worker.ended()).status == 4
        assert await left_behind(self.target, self.fleet.source) == []


@asynccontextmanager
async def scene(fleet: Fleet, target: str, limit: float = LIMIT) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        session = await asyncpg.connect(target)
        stack.push_async_callback(session.close)
        yield Scene(fleet, target, limit, stack, session)
