"""The look at all vessels' rows begins as soon as the vessels are known: the source sums up their keys while
companies, users and, in a migration, vessels are read and written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import anyio
import asyncpg

from bulkmig.errors import BulkmigError
from bulkmig.pipeline import first_error
from bulkmig.postgres.session import SOURCE, close, connect
from bulkmig.selection import Vessel
from bulkmig.source.changes import Looked, look
from bulkmig.source.onboarding import join
from bulkmig.workers import Site

WORTH = 20_000  # equipment: a look at less takes no longer than another session to begin


class Ahead:
    """A look in a session of its own."""

    def __init__(self, site: Site, vessels: Collection[Vessel]) -> None:
        self._site, self._snapshot = site, site.snapshot
        self._vessels = frozenset(vessel.id for vessel in vessels)
        self._worth = sum(vessel.equipment for vessel in vessels) >= WORTH
        self._found: Looked | None = None
        self._over = anyio.Event()

    async def found(self, snapshot: str, vessels: Collection[str]) -> Looked | None:
        """Waits for the end of the look. None where none is in that snapshot and at all these vessels."""
        if snapshot != self._snapshot or not self._vessels.issuperset(vessels):
            return None
        await self._over.wait()
        return self._found

    async def look(self) -> None:
        """Whatever fails here is looked at again when its turn comes, and may fail there."""
        try:
            if not self._worth:
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
async def looking_ahead(site: Site, vessels: Collection[Vessel]) -> AsyncIterator[Ahead]:
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
