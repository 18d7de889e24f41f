"""What passes by itself and is worth another attempt: a list of SQLSTATEs and error classes, nothing else.

Whatever isn't named here is final: a full disk (53100), a time-out that the server sets (57014), a constraint
or a trigger that refuses, a read-only target (25006)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import asyncpg

from bulkmig.errors import BulkmigError

# The session is over, whatever it was doing.
LOST = {
    "08000": "connection exception",
    "08001": "the client can't connect",
    "08003": "the connection is gone",
    "08004": "the server rejects the connection",
    "08006": "connection failure",
    "25P03": "the server's time-out of idle transactions",
    "57P01": "the server shuts down, or an administrator ends the session",
    "57P02": "the server crashed",
    "57P03": "the server starts up or shuts down",
    "57P05": "the server's time-out of idle sessions",
}
# The transaction is over, the session goes on.
UNLUCKY = {
    "40001": "serialization failure",
    "40P01": "deadlock",
    "55P03": "lock time-out",
}
FULL = {"53300": "no connection is free"}
RETRIED = LOST | UNLUCKY | FULL
# InterfaceErrors are asyncpg's own; these are the ones about a session that is gone or about to be.
_CLOSED = ("connection is closed", "another operation is cancelling")


def transient(error: BaseException) -> bool:
    """Whether the same work may succeed if it is tried again."""
    return any(lost(cause) or _sqlstate(cause) in RETRIED for cause in causes(error))


def lost(error: BaseException) -> bool:
    """Whether the error says that the session, or the way to its server, is gone."""
    if isinstance(error, asyncpg.InterfaceError):
        return any(text in str(error) for text in _CLOSED)
    if isinstance(error, OSError):  # TimeoutError is one
        return not isinstance(error, (ssl.SSLCertVerificationError, PermissionError))
    return _sqlstate(error) in LOST


def belongs_to(error: BaseException, end: str) -> None:
    """Notes on an error of a session whose it was: source or target."""
    if end and lost(error):
        error.end = end  # type: ignore[attr-defined]


def end_of(error: BaseException) -> str:
    """Which end's session was lost; nothing where the error is no such loss."""
    return getattr(error, "end", "")


def full(error: BaseException) -> bool:
    """Whether a server has no connection free."""
    return any(_sqlstate(cause) in FULL for cause in causes(error))


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and where bulkmig put words of its own to it, what it was raised from."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ if isinstance(current, BulkmigError) else None


def _sqlstate(error: BaseException) -> str:
    return (isinstance(error, asyncpg.PostgresError) and error.sqlstate) or ""
