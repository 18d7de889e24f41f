"""Sessions in which all vessels are migrated, and model and package agree on that: each is reached once, then
copied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy

from tests.model.databases import Databases
from tests.model.mirror import Mirror
from tests.model.rules import Hits
from tests.model.session import Session
from tests.oracle.fate import OnError
from tests.support.servers import EmbeddedServers


class Beginnings:
    """`async with beginnings("quarantine") as session`."""

    def __init__(self, servers: EmbeddedServers) -> None:
        self._databases = Databases(servers)
        self._reached: dict[OnError, Session] = {}

    @asynccontextmanager
    async def __call__(self, on_error: OnError) -> AsyncIterator[Session]:
        if on_error not in self._reached:
            self._reached[on_error] = await self._reach(on_error)
        first = self._reached[on_error]
        urls = self._databases.copies(first.mirror.source_url, first.mirror.target_url)
        mirror = Mirror(*urls)
        mirror.ids = dict(first.mirror.ids)
        session = deepcopy(first, {id(first.mirror): mirror})  # all but the mirror, which has connections
        await mirror.open()
        yield session
        await mirror.close()
        self._databases.drop(*urls)

    async def _reach(self, on_error: OnError) -> Session:
        session = Session(Mirror(*self._databases.fresh()), Hits(), on_error)
        await session.mirror.open()
        await session.begin()
        await session.migrate(None)
        await session.mirror.close()
        return session
