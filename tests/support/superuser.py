"""A session of a server's superuser that stays: tests make and drop several databases each, and a session for
each statement would cost half of what the statement does."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from bulkmig.embedded import Server

# A test has stopped the server since, or killed its processes.
_GONE = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError, OSError)


class Superuser:
    """Executes statements outside of transactions. The session is opened when first needed, and again where
    it was lost."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # A thread of its own: the caller may be inside an event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="superuser")
        self._runner = asyncio.Runner()
        self._session: asyncpg.Connection | None = None

    def execute(self, statement: str) -> None:
        self._thread.submit(lambda: self._runner.run(self._execute(statement))).result()

    async def _execute(self, statement: str) -> None:
        if self._session is not None:
            try:
                await self._session.execute(statement)
            except _GONE:
                self._session.terminate()
            else:
                return
        self._session = await asyncpg.connect(self._server.url(), ssl=False)
        await self._session.execute(statement)

    def close(self) -> None:
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _close(self) -> None:
        if self._session is not None:
            self._session.terminate()
        self._runner.close()
