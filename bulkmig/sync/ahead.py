"""The look at all vessels' rows begins as soon as the vessels are known: the source sums up their keys while
this process reads and writes companies and users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import anyio
import asyncpg

from bulkmig.errors import BulkmigError
from bulkmig.pipeline import first_error
from bulkmig.postgres.session import SOURCE, close, connect
from bulkmig.source.changes import Looked, look
from bulkmig.source.onboarding import join
from bulkmig.workers import Site

WORTH = 100  # vessels: a look at fewer takes no longer than another session to begin


class Ahead:
    """A look in a session of its own."""

    def __init__(self, site: Site, vessels: Collection[str]) -> None:
        self._site, self._vessels, self._snapshot = site, vessels, site.snapshot
        self._found: Looked | None = None
        self._over = anyio.Event()

    async def found(self, snapshot: str) -> Looked | None:
        """Waits for the end of the look. None where there is none in that snapshot."""
        await self._over.wait()
        return self._found if snapshot == self._snapshot else None

    async def look(self) -> None:
        """Whatever fails here is looked at again when its turn comes, and may fail there."""
        try:
            if len(self._vessels) < WORTH:
                return
            session = await connect(self._site.source, self._site.named(SOURCE), role="source")
            try:
                await join(session, self._snapshot, index_paths_only=False)
                self._found = await look(session, self._vessels)
            finally:
                await close(session)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, BulkmigError):
            pass
        finally:
            self._over.set()


@asynccontextmanager
async def looking_ahead(site: Site, vessels: Collection[str]) -> AsyncIterator[Ahead]:
    """Looks at these vessels' rows beside what is done within."""
    ahead = Ahead(site, vessels)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(ahead.look)
            try:
                yield ahead
            finally:
                group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        cause = first_error(errors)
        raise cause from cause.__cause__
