"""Serves the dashboard beside whatever the program does: in a thread and an event loop of its own."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from bulkmig.config import Settings
from bulkmig.errors import UsageError
from bulkmig.monitor.board import Board
from bulkmig.monitor.feed import Feed

DEFAULT = "127.0.0.1:8642"
TOKEN = "BULKMIG_DASHBOARD_TOKEN"
_START_SECONDS = 10.0


@dataclass(frozen=True)
class Place:
    """Where the dashboard listens. `token`: what who looks must know; none on loopback."""

    host: str
    port: int
    token: str

    def url(self, port: int) -> str:
        """Where to look; `port` as it was given by the system, where the place says 0."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}/" + (f"?token={self.token}" if self.token else "")


def place(text: str) -> Place:
    """Reads HOST:PORT, :PORT or PORT. Raises UsageError."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{text!r} is no address for the dashboard", f"e.g. {DEFAULT}, or 0.0.0.0:8642")
    token = os.environ.get(TOKEN, "")
    if not _is_loopback(host):
        token = token or secrets.token_urlsafe(18)
    return Place(host, int(port), token)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def serving(where: Place, settings: Settings, board: Board | None = None) -> Iterator[str]:
    """Serves until the block ends; gives the URL. Raises UsageError where that can't be."""
    try:
        import uvicorn

        from bulkmig.monitor import web
    except ImportError as error:
        raise UsageError(
            f"the dashboard needs a package that is not installed: {error.name}",
            "pip install 'bulkmig[dashboard]'",
        ) from None
    listener = _listen(where)
    feed = Feed(settings, board)
    ending = threading.Event()
    config = uvicorn.Config(
        web.build(feed, token=where.token, closing=ending.is_set),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        loop="asyncio",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="dashboard", daemon=True
    )
    thread.start()
    try:
        yield where.url(listener.getsockname()[1])
    finally:
        ending.set()
        server.should_exit = True
        thread.join(_START_SECONDS)
        listener.close()


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
