"""Sessions: every setting that matters is set by bulkmig, none is the server's default."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import anyio
import asyncpg

from bulkmig.errors import BulkmigError, PreflightError, ServerLost
from bulkmig.postgres.again import Patience
from bulkmig.postgres.dsn import Address
from bulkmig.postgres.errors import describe
from bulkmig.postgres.tls import reason
from bulkmig.postgres.transient import end_of, full, lost, transient
from bulkmig.postgres.watch import Watched, dismiss
from bulkmig.security.seal import NO_KEYS, Keyring
from bulkmig.sqlite.address import FileAddress
from bulkmig.sqlite.opening import connect as open_file

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
    "quote_all_identifiers": "off",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "default_transaction_isolation": "read committed",
    # Rows that a policy hides would be missing without a word, from a copy or before a deletion: refused.
    "row_security": "off",
    # When this end is gone without a word, the server's side goes too, with its locks and its snapshot.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
SOURCE = {
    **_TEXT,
    "application_name": "bulkmig source",
    "default_transaction_read_only": "on",
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
# The run's main session on the target: what it commits is on disk, with all that was committed before.
DURABLE = {**TARGET, "synchronous_commit": "on"}
# Time-outs that only newer servers have; and the search path without bulkmig's own schema, whose tables
# would hide the portal's from a role of that name, and with `public` as its end, also where a role's path
# is empty.
_WHERE_THERE = """
SELECT set_config(name, '0', false) FROM pg_settings
 WHERE name IN ('idle_session_timeout', 'transaction_timeout');
SELECT set_config('search_path', string_agg(quote_ident(s), ', '), false)
  FROM unnest(current_schemas(false) || CASE WHEN 'public' = ANY (current_schemas(false)) THEN NULL
                                             ELSE '{public}'::name[] END) AS found (s) WHERE s <> 'bulkmig'
"""
CLOSE_SECONDS = 5.0


# What a server that starts up or is full for a moment gets before a command gives up on its first session.
_FIRST = Patience(outage=3.0)


class NoConnection(BulkmigError):
    """A server has no connection free, and had none for as long as an outage may last."""


class CommitUnknown(BulkmigError):
    """The session was lost while COMMIT was under way: the server alone knows whether it happened."""


async def connect(address: Address, settings: Mapping[str, str], *, role: str) -> Connection:
    """Opens a command's first session; `role` (source or target) is how errors name it. Raises
    PreflightError, at once unless the server says that it will be there soon."""
    if isinstance(address, FileAddress):
        return await _open_file(address, settings)

    async def attempt() -> Connection | BaseException:
        try:
            return await _open(address, settings, role)
        except asyncpg.PostgresError as error:
            if not (full(error) or error.sqlstate == "57P03"):
                return error
            raise
        except (OSError, asyncpg.InterfaceError, ValueError) as error:
            return error

    try:
        opened = await _FIRST.server(f"connecting to the {role}", attempt)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        opened = error
    if not isinstance(opened, BaseException):
        return opened
    why, hint = reason(opened) or (_reason(opened), "")
    raise PreflightError(
        f"can't connect to the {role} {address.shown}: {why}",
        hint or f"check the {role}'s address, that its server runs, and the user's rights",
    ) from opened


async def reach(
    address: Address,
    settings: Mapping[str, str],
    *,
    role: str,
    patience: Patience,
    instead_of: Connection | None = None,
) -> Connection:
    """Opens a session in mid-run, where a server that is away comes back. `instead_of`: the lost session that
    this one replaces; what is left of it on the server ends. Raises ServerLost and NoConnection."""
    if isinstance(address, FileAddress):
        return await _open_file(address, settings)

    async def attempt() -> Connection:
        connection = await _open(address, settings, role)
        try:
            await dismiss(connection, instead_of)
        except BaseException:
            connection.terminate()
            raise
        return connection

    try:
        return await patience.server(f"connecting to the {role}", attempt)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if full(error):
            # Not "from error": it was tried long enough.
            raise NoConnection(
                f"the {role} has no connection free: {describe(error)}",
                f"raise max_connections of the {role}, or lower --parallel-vessels and --processes",
            ) from None
        if not transient(error):
            raise
        raise ServerLost(
            f"the {role} {address.shown} can't be reached any more: {_reason(error)}",
            "run the same command again when its server is back: it goes on",
        ) from None


async def _open_file(address: FileAddress, settings: Mapping[str, str]) -> Connection:
    durable = settings.get("synchronous_commit", "on") == "on"
    return cast(Connection, await open_file(address, durable=durable))


async def _open(address: Address, settings: Mapping[str, str], role: str) -> Connection:
    connection = await asyncpg.connect(
        address.url,
        timeout=address.connect_timeout,
        statement_cache_size=200,
        ssl=address.tls,
        password=await address.secret(),
        connection_class=Watched,
    )
    # SET rather than start-up parameters: connection poolers refuse unknown ones.
    sets = ";".join(f"SET {key} = '{value}'" for key, value in settings.items())
    try:
        with anyio.fail_after(2 * address.connect_timeout + address.network_timeout):
            await connection.begin_watch(address, role)
            await connection.execute(f"{sets};{_WHERE_THERE}")
    except BaseException:
        connection.terminate()
        raise
    return connection


def _reason(error: BaseException) -> str:
    """Why a connection failed. What the driver says of a URL may quote its password."""
    kind = getattr(error, "sqlstate", None) or type(error).__name__
    if isinstance(error, ValueError) and not isinstance(error, ssl.SSLError):
        return f"the URL can't be read: escape special characters as %XX ({kind})"
    text = "timed out" if isinstance(error, TimeoutError) else (str(error).splitlines() or ["failed"])[0]
    return f"{text} ({kind})"


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
    session idle in an aborted transaction. Raises CommitUnknown where the answer to COMMIT is lost."""
    await connection.execute(begin)
    try:
        yield
    except BaseException:
        await _rollback(connection)
        raise
    if not commit:
        await _rollback(connection)
        return
    try:
        await connection.execute("COMMIT")
    except Exception as error:
        await _rollback(connection)
        if lost(error):
            raise CommitUnknown(
                f"the session on the {end_of(error) or 'database'} was lost during COMMIT",
                "run the same command again: it goes on",
            ) from error
        raise
    except BaseException:
        await _rollback(connection)
        raise


async def _rollback(connection: Connection) -> None:
    with anyio.CancelScope(shield=True):
        try:
            with anyio.fail_after(CLOSE_SECONDS):
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()


def keys_of(connection: Connection) -> Keyring:
    """The keys that a session seals the ledger's values with, and opens them."""
    keys: Keyring = getattr(connection, "keys", NO_KEYS)
    return keys


def pairs(rows: Iterable[asyncpg.Record]) -> dict[str, str]:
    """Rows of two columns as a dictionary."""
    return {row[0]: row[1] for row in rows}
