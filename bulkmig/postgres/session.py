"""Sessions: every setting that matters is set by bulkmig, none is the server's default."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import asyncpg

from bulkmig.errors import PreflightError
from bulkmig.postgres.dsn import Address

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

# What a value looks like as text must not depend on a server's configuration (mapping.md, "All sessions").
_TEXT = {
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",
}
SOURCE = {
    **_TEXT,
    "application_name": "bulkmig source",
    "default_transaction_read_only": "on",
    # Rows that a policy hides would be missing without a word: refused instead.
    "row_security": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "statement_timeout": "0",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "0",
}
TARGET = {
    **_TEXT,
    "application_name": "bulkmig target",
    "jit": "off",
    "statement_timeout": "0",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "0",
    # Safe because the ledger mark travels in the same transaction and a run ends with one durable commit.
    "synchronous_commit": "off",
}
# Time-outs that only newer servers have; and the search path without bulkmig's own schema, whose tables
# would hide the portal's from a role of that name.
_WHERE_THERE = """
SELECT set_config(name, '0', false) FROM pg_settings
 WHERE name IN ('idle_session_timeout', 'transaction_timeout');
SELECT set_config('search_path', string_agg(quote_ident(s), ', '), false)
  FROM unnest(current_schemas(false)) AS found (s) WHERE s <> 'bulkmig' HAVING count(*) > 0
"""
CLOSE_SECONDS = 5.0


async def connect(address: Address, settings: Mapping[str, str], *, role: str) -> Connection:
    """Opens a session; `role` (source or target) is how errors name it. Raises PreflightError."""
    try:
        connection: Connection = await asyncpg.connect(
            address.url, timeout=address.connect_timeout, statement_cache_size=200, ssl=address.tls
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        reason = getattr(error, "sqlstate", None) or type(error).__name__
        detail = "timed out" if isinstance(error, TimeoutError) else str(error).splitlines()[0]
        if isinstance(error, ValueError):
            detail = "the URL can't be read: escape special characters as %XX"
        raise PreflightError(
            f"can't connect to the {role} {address.shown}: {detail} ({reason})",
            f"check the {role}'s address, that its server runs, and the user's rights",
        ) from error
    # SET rather than start-up parameters: connection poolers refuse unknown ones.
    await connection.execute(";".join(f"SET {key} = '{value}'" for key, value in settings.items()))
    await connection.execute(_WHERE_THERE)
    return connection


async def close(connection: Connection) -> None:
    """Closes a session even while a scope is being cancelled; never takes longer than CLOSE_SECONDS.

    The ROLLBACK first waits for the server's answer to a cancelled statement: `close` alone would not."""
    if connection.is_closed():
        return
    with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLOSE_SECONDS):
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
            await connection.close()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass
    if not connection.is_closed():
        connection.terminate()


@asynccontextmanager
async def session(address: Address, settings: Mapping[str, str], *, role: str) -> AsyncIterator[Connection]:
    """`connect` and `close` around a block."""
    connection = await connect(address, settings, role=role)
    try:
        yield connection
    finally:
        await close(connection)


@asynccontextmanager
async def transaction(
    connection: Connection, begin: str = "BEGIN", *, commit: bool = True
) -> AsyncIterator[None]:
    """A transaction whose rollback also happens while a scope is being cancelled.

    anyio cancels by level, so a ROLLBACK inside a cancelled scope would itself be cancelled and leave the
    session idle in an aborted transaction."""
    await connection.execute(begin)
    try:
        yield
        if commit:
            await connection.execute("COMMIT")
    except BaseException:
        await _rollback(connection)
        raise
    if not commit:
        await _rollback(connection)


async def _rollback(connection: Connection) -> None:
    with anyio.CancelScope(shield=True):
        try:
            with anyio.fail_after(CLOSE_SECONDS):
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()


def pairs(rows: Iterable[asyncpg.Record]) -> dict[str, str]:
    """Rows of two columns as a dictionary."""
    return {row[0]: row[1] for row in rows}
