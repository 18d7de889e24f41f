"""A gate between a program and its server, as small as these tests need it: it swallows, cuts and refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

CHUNK = 64 * 1024
# What to do with a piece of data: pass it on, swallow it and all that follows, not even read what follows, or
# cut the connection.
PASS, SWALLOW, HANG, CUT, CUT_AFTER = "pass", "swallow", "hang", "cut", "cut after"
HANG_AFTER = "hang after"  # the other end never hears that the connection is over
Rule = Callable[[str, bytes], str]  # (who sent it, data)


class Gate:
    """`rule` decides about every piece of data; whoever changes it changes it for open connections too."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url, self._host, self._to = url, parts.hostname or "", parts.port or 0
        self.rule: Rule = lambda sender, data: PASS
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        await self.open()
        parts = urlsplit(self.url)
        user = parts.netloc.rpartition("@")[0]
        self.url = parts._replace(netloc=f"{user}@127.0.0.1:{self.port}").geturl()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def open(self) -> None:
        """Takes connections, again on the same port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Takes no more connections."""
        if self._server is not None:
            self._server.close()

    def cut(self) -> None:
        """Cuts every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._to)
        self._writers += [writer, back]
        for pump in (self._pump("program", reader, back), self._pump("server", there, writer)):
            task = asyncio.ensure_future(pump)
            self._tasks.add(task)

    async def _pump(self, sender: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        swallowed = False
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                what = SWALLOW if swallowed else self.rule(sender, data)
                swallowed = what == SWALLOW
                if what == HANG:
                    await asyncio.Event().wait()
                if what == CUT:
                    self.cut()
                elif what != SWALLOW:
                    writer.write(data)
                    await writer.drain()
                    if what == CUT_AFTER:
                        self.cut()
                    if what == HANG_AFTER:
                        await asyncio.Event().wait()
        if not swallowed:
            writer.transport.abort()
