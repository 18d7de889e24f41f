"""Serves the dashboard beside whatever the program does: in a thread and an event loop of its own."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.parse import quote

import anyio
from anyio.from_thread import start_blocking_portal
from msgspec import Struct

from bulkmig.config import Settings
from bulkmig.errors import UsageError
from bulkmig.monitor.board import Board
from bulkmig.monitor.feed import Feed
from bulkmig.monitor.loopback import is_loopback

DEFAULT = "127.0.0.1:8642"
TOKEN = "BULKMIG_DASHBOARD_TOKEN"
_PACKAGES = ("uvicorn", "starlette", "prometheus_client")  # of the extra
_END_SECONDS = 10.0


class Place(Struct, frozen=True):
    """Where the dashboard listens. `token`: what who looks must know; none on loopback."""

    host: str
    port: int
    token: str

    def url(self, port: int) -> str:
        """Where to look; `port` as it was given by the system, where the place says 0."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}/" + (f"?token={quote(self.token, safe='')}" if self.token else "")


def place(text: str) -> Place:
    """Reads HOST:PORT, :PORT or PORT. Raises UsageError."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{text!r} is no address for the dashboard", f"e.g. {DEFAULT}, or 0.0.0.0:8642")
    token = os.environ.get(TOKEN, "")
    if not (token.isascii() and token.isprintable()):
        raise UsageError(f"{TOKEN} can't be sent in a header", "take ASCII letters, digits and signs")
    if not is_loopback(host):
        token = token or secrets.token_urlsafe(18)
    return Place(host, int(port), token)


@contextmanager
def serving(where: Place, settings: Settings, board: Board | None = None) -> Iterator[str]:
    """Serves until the block ends; gives the URL. Raises UsageError where that can't be.

    Whoever asks before the server is loaded waits for it; the block does not."""
    missing = next((name for name in _PACKAGES if find_spec(name) is None), None)
    if missing is not None:
        raise UsageError(
            f"the dashboard needs a package that is not installed: {missing}",
            "pip install 'bulkmig[dashboard]'",
        )
    with _listen(where) as listener, start_blocking_portal(name="dashboard") as portal:
        closing = anyio.Event()
        served = portal.start_task_soon(_serve, listener, settings, board, where.token, closing)
        try:
            yield where.url(listener.getsockname()[1])
        finally:
            portal.call(closing.set)
            wait([served])


async def _serve(
    listener: socket.socket, settings: Settings, board: Board | None, token: str, closing: anyio.Event
) -> None:
    import uvicorn

    from bulkmig.monitor import web

    app = web.build(Feed(settings, board), token=token, closing=closing)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            loop="asyncio",
        )
    )
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [listener])
        await closing.wait()
        server.should_exit = True
        group.cancel_scope.deadline = anyio.current_time() + _END_SECONDS


def _listen(where: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((where.host, where.port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"the dashboard can't listen on {where.host}:{where.port}: {error.strerror}",
            "name another address, or port 0 for any that is free",
        ) from None
    return listener
