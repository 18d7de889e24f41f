"""A session that never waits for ever: when a statement is silent for long, a second session asks the server.

A network that swallows packets looks like a server that works. TCP can't tell them apart in time: keepalive
covers idle sockets only, and TCP_USER_TIMEOUT would also end a healthy session whose server is too busy to
read. So the server is asked whether it works on this statement; as long as it does, the statement may take
as long as it takes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg

from bulkmig.errors import BulkmigError
from bulkmig.postgres.dsn import Address
from bulkmig.postgres.transient import belongs_to, lost
from bulkmig.security.seal import NO_KEYS, Keyring

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

# Not of the view, for which the server goes through all sessions and more: every session asks this.
_WHO = "SELECT pid, backend_start FROM pg_stat_get_activity(pg_backend_pid())"
# Not: idle, between statements of a transaction, or waiting for this end to read or write.
_WORKS = """
SELECT state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'
  FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2
"""
_DISMISS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2"
_DISMISS_LOOKS = 50
_DISMISS_PAUSE = 0.02
_MOVED = struct.Struct("QQ")
_MOVED_AT = 120  # in Linux's struct tcp_info: tcpi_bytes_acked, tcpi_bytes_received

KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, seconds, probes


class Watched(_Connection):
    """asyncpg's connection with a watch on its statements. `end` (source or target) is how errors of a lost
    session name it; `keys` seal the ledger's values."""

    watch: Watch | None = None
    end: str = ""
    keys: Keyring = NO_KEYS

    async def begin_watch(self, address: Address, end: str) -> None:
        """Starts watching, as soon as the session is open."""
        self.end, self.keys = end, address.keys
        hush(asyncio.get_running_loop())
        row = await super().fetchrow(_WHO)
        assert row is not None
        self.watch = Watch(self, address, row["pid"], row["backend_start"])
        keep_alive(_socket(self))

    async def execute(self, *args: Any, **options: Any) -> str:
        with self._watched():
            return await super().execute(*args, **options)

    async def executemany(self, *args: Any, **options: Any) -> None:
        with self._watched():
            await super().executemany(*args, **options)

    async def fetch(self, *args: Any, **options: Any) -> Any:
        with self._watched():
            return await super().fetch(*args, **options)

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        with self._watched():
            return await super().fetchval(*args, **options)

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        with self._watched():
            return await super().fetchrow(*args, **options)

    async def copy_from_query(self, *args: Any, output: Any, **options: Any) -> str:
        async def held(data: bytes) -> None:
            # While this end holds the rows back, the server has every reason to be silent.
            with self._unwatched():
                await output(data)

        with self._watched():
            return await super().copy_from_query(*args, output=held, **options)

    async def copy_to_table(self, *args: Any, source: Any, **options: Any) -> str:
        paced = self._paced(source) if hasattr(source, "__aiter__") else source
        return await self._copied_in(super().copy_to_table(*args, source=paced, **options))

    async def _paced(self, source: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """While this end has no rows to send, the server has every reason to be silent."""
        rows = aiter(source)
        while True:
            with self._unwatched():
                try:
                    data = await anext(rows)
                except StopAsyncIteration:
                    return
            yield data

    async def copy_records_to_table(self, *args: Any, **options: Any) -> str:
        return await self._copied_in(super().copy_records_to_table(*args, **options))

    async def _copied_in(self, copy: Awaitable[str]) -> str:
        """asyncpg waits for a full socket to drain, and goes on waiting when the connection is lost: it is
        woken here, and finds out."""
        protocol = getattr(self, "_protocol", None)

        def wake(_: object) -> None:
            if protocol is not None:
                protocol.resume_writing()

        self.add_termination_listener(wake)
        try:
            with self._watched():
                return await copy
        except (AttributeError, RuntimeError) as error:  # it writes to a transport that isn't there any more
            if not self.is_closed():
                raise
            raise self._gone("the connection was lost during COPY") from error
        finally:
            self.remove_termination_listener(wake)

    def _gone(self, message: str) -> asyncpg.PostgresError:
        error = asyncpg.ConnectionDoesNotExistError(message)
        belongs_to(error, self.end)
        return error

    @contextmanager
    def _watched(self) -> Iterator[None]:
        if self.watch is None:
            yield
            return
        self.watch.begin()
        try:
            yield
        except asyncpg.InternalClientError as error:
            if "cannot switch to state" not in str(error):
                raise
            # The server ended the session while it was idle, as between two COPYs (57P01). To asyncpg its
            # last message answers nothing: it waits for the end of a statement that nobody made, and refuses
            # the next one in these words where that comes before the end of the stream.
            self.terminate()
            raise self._gone("the server ended the session") from error
        except Exception as error:
            belongs_to(error, self.end)
            raise
        finally:
            self.watch.end()

    @contextmanager
    def _unwatched(self) -> Iterator[None]:
        if self.watch is None:
            yield
            return
        self.watch.end()
        try:
            yield
        finally:
            self.watch.begin()


class Watch:
    """Ends its session when the server has been silent for `network_timeout` seconds and is not at work.

    Beginning and ending a statement cost a look at the clock: one timer serves many statements."""

    def __init__(self, connection: Watched, address: Address, pid: int, started: datetime) -> None:
        self.connection, self.address, self.pid, self.started = connection, address, pid, started
        self._loop = asyncio.get_running_loop()
        self._statement = 0  # the number of the one under way; 0: none is
        self._count = 0
        self._heard = 0.0
        self._moved: tuple[int, ...] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._probe: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._count += 1
        self._statement = self._count
        self._heard = self._loop.time()
        if self._timer is None:
            self._wait()

    def end(self) -> None:
        self._statement = 0

    def _wait(self) -> None:
        self._timer = self._loop.call_later(self.address.network_timeout / 4, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._statement == 0 or self.connection.is_closed():
            return
        now, moved = self._loop.time(), movement(self.connection)
        if moved != self._moved:
            self._moved, self._heard = moved, now
        if now - self._heard < self.address.network_timeout:
            self._wait()
        else:
            self._probe = self._loop.create_task(self._ask(self._statement))

    async def _ask(self, statement: int) -> None:
        at_work = await works(self.address, self.pid, self.started)
        if self.connection.is_closed() or self._statement == 0:
            return
        if at_work or self._statement != statement or movement(self.connection) != self._moved:
            self._heard = self._loop.time()
            self._wait()
        else:
            self.connection.terminate()


def hush(loop: asyncio.AbstractEventLoop) -> None:
    """Keeps asyncio from telling of a COPY's end twice: asyncpg leaves the future behind on which it waited
    when it fails at a transport that is gone, and the statement has raised what there is to say."""
    before = loop.get_exception_handler()
    if isinstance(before, _Hushed):
        return
    loop.set_exception_handler(_Hushed(before))


class _Hushed:
    """A loop's exception handler that passes on everything but errors of lost sessions that nobody awaits."""

    def __init__(self, before: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None) -> None:
        self.before = before

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), asyncpg.ConnectionDoesNotExistError) and "future" in context:
            return
        if self.before is not None:
            self.before(loop, context)
        else:
            loop.default_exception_handler(context)


async def works(address: Address, pid: int, started: datetime) -> bool:
    """Whether a session's server process is at work, asked on a new session; also True where the server is
    there and doesn't say."""
    seconds = address.connect_timeout
    try:
        probe = await asyncpg.connect(
            address.url,
            timeout=seconds,
            ssl=address.tls,
            password=await address.secret(),
            statement_cache_size=0,
        )
        try:
            return bool(await probe.fetchval(_WORKS, pid, started, timeout=seconds))
        finally:
            probe.terminate()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, BulkmigError) as error:
        return not lost(error)


async def dismiss(connection: asyncpg.Connection[asyncpg.Record], before: object) -> None:
    """Ends the server's side of a session that was lost, so that it gives its locks back. It may be waiting
    for packets that never come. A commit that is under way is finished, and waited for."""
    watch = getattr(before, "watch", None)
    if not isinstance(watch, Watch):
        return
    for _ in range(_DISMISS_LOOKS):
        if not await connection.fetch(_DISMISS, watch.pid, watch.started):
            return
        await asyncio.sleep(_DISMISS_PAUSE)


def movement(connection: Watched) -> tuple[int, ...]:
    """Bytes that the other end has acknowledged, and bytes received; nothing where the system can't tell."""
    found = _socket(connection)
    if found is None or not hasattr(socket, "TCP_INFO"):
        return ()
    try:
        info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MOVED_AT + _MOVED.size)
    except (OSError, NotImplementedError):
        return ()
    return _MOVED.unpack_from(info, _MOVED_AT) if len(info) >= _MOVED_AT + _MOVED.size else ()


def keep_alive(found: socket.socket | None) -> None:
    """Asks the system to look after an idle socket."""
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _socket(connection: Watched) -> socket.socket | None:
    """The session's TCP socket; None for a socket of this machine's file system."""
    transport = getattr(connection, "_transport", None)
    found: socket.socket | None = transport.get_extra_info("socket") if transport is not None else None
    inet = found is not None and found.family in (socket.AF_INET, socket.AF_INET6)
    return found if inet else None
