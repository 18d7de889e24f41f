"""Opens a portal's file, with settings that neither lose nor break anything of it."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from urllib.parse import quote

import asyncpg
from anyio import to_thread

from bulkmig.errors import PreflightError
from bulkmig.sqlite import functions
from bulkmig.sqlite.address import FileAddress
from bulkmig.sqlite.errors import translated
from bulkmig.sqlite.session import BUSY_SECONDS, Session, patiently

_LOG_PAGES = 16_384  # 64 MiB of the write-ahead log
_CHECK = "check the path (an absolute one has four slashes) and the rights to the file and its directory"
_OLDEST = (3, 39)  # FULL JOIN, IS DISTINCT FROM


async def connect(address: FileAddress, *, durable: bool) -> Session:
    """Opens a session. `durable`: its commits wait for the disk, with all that were made before. Raises
    PreflightError."""
    try:
        session = await patiently(partial(to_thread.run_sync, _open, address, durable))
        try:
            await session.look()
        except BaseException:
            session.terminate()
            raise
    except asyncpg.PostgresError as error:
        raise _failed(address, error) from None
    return session


def _open(address: FileAddress, durable: bool) -> Session:
    if sqlite3.sqlite_version_info < _OLDEST:
        raise PreflightError(
            f"this Python has SQLite {sqlite3.sqlite_version}, bulkmig needs {'.'.join(map(str, _OLDEST))}",
            "use a newer Python",
        )
    path = Path(address.path)
    if path.exists() and not path.is_file():
        raise _unusable(address, "it is no regular file")  # to open a pipe would wait for whoever writes it
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise _unusable(address, error.strerror or "it can't be read") from None
    if head not in (b"", b"SQLite format 3\0"):
        raise _unusable(address, "it is no SQLite database")
    connection = None
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=500,
        )
        functions.register(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("PRAGMA cache_size = -65536")
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        # In WAL mode a commit that doesn't wait can be lost with the power, but never breaks the file, and
        # every later one that waits saves it as well.
        relaxed = not durable and journal == "wal"
        if journal == "wal":
            # The log is copied into the file less often than after every vessel.
            connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if relaxed else 'FULL'}")
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise translated(error) from None
    return Session(connection, address)


def _failed(address: FileAddress, error: asyncpg.PostgresError) -> PreflightError:
    if isinstance(error, asyncpg.LockNotAvailableError):
        return _unusable(address, str(error), "end the program that has it for itself, or wait for that")
    return _unusable(address, str(error))


def _unusable(address: FileAddress, why: str, hint: str = _CHECK) -> PreflightError:
    return PreflightError(f"can't open the target {address.shown}: {why}", hint)
