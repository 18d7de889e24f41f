"""Opens both ends for a command and checks that they are as it needs them, before anything is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg

from bulkmig import ends
from bulkmig.config import Settings
from bulkmig.ends import Ends
from bulkmig.entities import ENTITIES
from bulkmig.errors import PreflightError, UsageError
from bulkmig.events import Listener, Retrying, silent
from bulkmig.ledger import access, schema
from bulkmig.ledger import keys as ledger_keys
from bulkmig.postgres import dsn
from bulkmig.postgres.again import Patience
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import DURABLE, Connection, session, transaction
from bulkmig.security import keys
from bulkmig.security.seal import NO_KEYS
from bulkmig.source import onboarding
from bulkmig.sqlite.address import FileAddress, is_file, parse
from bulkmig.sqlite.session import on_file
from bulkmig.target import postgres


def address(settings: Settings, role: str, *, sealed: bool = True) -> dsn.Address:
    """The address of the source or the target, with the keys of the ledger unless nothing that is `sealed` is
    read. Raises UsageError where there is none."""
    url = settings.source if role == "source" else settings.target
    if not url:
        variable = "ONBOARDING_DB_URL" if role == "source" else "MAINTENANCE_DB_URL"
        raise UsageError(f"no {role} is given", f"say --{role} URL or set {variable}")
    if role == "target" and is_file(url):
        return replace(parse(url), keys=keys.from_settings(settings) if sealed else NO_KEYS)
    return dsn.parse(
        url,
        allow_insecure=settings.allow_insecure,
        connect_timeout=settings.connect_timeout,
        network_timeout=settings.network_timeout,
        password_command=settings.password_command,
        end=role,
        keys=keys.from_settings(settings) if role == "target" and sealed else NO_KEYS,
    )


def patience(settings: Settings, listen: Listener = silent) -> Patience:
    """How much a run puts up with; whoever listens hears of every failure that it did."""
    return Patience(
        settings.attempts,
        settings.outage,
        lambda what, attempt, error: listen(Retrying(what, attempt, describe(error))),
    )


# The tightest of the server's, the database's and the role's limits. Of other roles' sessions only the number
# may be known: what is counted here is there for certain, so no more is free than this.
_FREE = """
SELECT least(
    current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend')
      - CASE WHEN r.rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int END,
    CASE WHEN d.datconnlimit >= 0 AND NOT r.rolsuper
         THEN d.datconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                                   AND backend_type = 'client backend') END,
    CASE WHEN r.rolconnlimit >= 0 AND NOT r.rolsuper
         THEN r.rolconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user
                                   AND backend_type = 'client backend') END)
  FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()
"""

# By the server's state, or by what the session had by default when it began.
READ_ONLY = """
SELECT pg_is_in_recovery() OR reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only'
"""
WRITABLE = "connect to its primary server, as a role for which default_transaction_read_only is off"


@asynccontextmanager
async def both(
    settings: Settings, *, writing: bool, needs_ledger: bool = False, listen: Listener = silent
) -> AsyncIterator[Ends]:
    """Connects and checks; touches nothing. `writing`: the portal takes writes; `needs_ledger`: the ledger
    must be there and take them. Raises PreflightError."""
    if writing:
        keys.required(settings)
    source, target = address(settings, "source"), address(settings, "target")
    if isinstance(target, FileAddress):
        target = replace(target, scratch=not writing and not needs_ledger)
    async with ends.opened(source, target, patience(settings, listen)) as found:
        await _read_catalogues(found, writing=writing)
        await not_the_same(found.holder, found.target)
        found.ledger = version = await schema.version(found.target)
        await ledger_keys.check(found.target)
        await _may_reveal(found.target, settings)
        if needs_ledger and version == 0:
            raise PreflightError(
                "the target has no ledger: nothing was migrated into it", "run `bulkmig migrate` first"
            )
        if writing or needs_ledger:
            await _writable(found.target)
        yield found


async def _read_catalogues(found: Ends, *, writing: bool) -> None:
    found.source_catalogue = await onboarding.catalogue(found.holder, ENTITIES)
    found.target_catalogue = await postgres.catalogue(found.target, writing=writing)


async def ready(ends: Ends, settings: Settings) -> None:
    """The last checks, and the first write: the ledger is created or brought up to date. A dry run writes as
    well, though it keeps nothing."""
    if settings.dry_run:
        await _writable(ends.target)
        ends.target_catalogue = await postgres.catalogue(ends.target, writing=True)
    if settings.fk_check == "set" and on_file(ends.target) is None:
        await triggers_off(ends.target)
    if not settings.dry_run and ends.ledger != schema.newest(ends.target):
        await schema.upgrade(ends.target)
        ends.ledger = schema.newest(ends.target)


async def triggers_off(target: Connection) -> None:
    """Raises PreflightError where the role may not load by `--fk-check set`."""
    try:
        async with transaction(target, commit=False):
            await target.execute("SET LOCAL session_replication_role = replica")
    except asyncpg.InsufficientPrivilegeError:
        raise PreflightError(
            "the role may not turn off triggers, which --fk-check set does for the load",
            "GRANT SET ON PARAMETER session_replication_role (from PostgreSQL 15), or --fk-check row",
        ) from None


async def free_connections(connection: Connection) -> int | None:
    """How many sessions more the role may open, at most."""
    if on_file(connection) is not None:
        return None
    free: int | None = await connection.fetchval(_FREE)
    return free


async def room(found: Ends, sessions: int) -> None:
    """Raises PreflightError where an end certainly has fewer connections free than the run opens besides the
    ones that it has."""
    for role, connection in (("source", found.holder), ("target", found.target)):
        free = await free_connections(connection)
        if free is not None and free < sessions:
            raise PreflightError(
                f"the {role} has {max(free, 0)} connections free, this run needs {sessions} more",
                f"raise max_connections of the {role} or end other sessions,"
                " or lower --parallel-vessels and --processes",
            )


@asynccontextmanager
async def joined(
    settings: Settings, snapshot: str, *, listen: Listener = silent, writing: bool = False
) -> AsyncIterator[Ends]:
    """Both ends for a further process of a run that was checked already, on the run's snapshot."""
    source, target = address(settings, "source"), address(settings, "target")
    async with ends.joined(source, target, snapshot, patience(settings, listen)) as found:

        async def read(number: int) -> None:
            if number > 1:
                await found.mend()
            await _read_catalogues(found, writing=writing)

        await found.patience.work("the catalogues", read)
        yield found


@asynccontextmanager
async def target_only(
    settings: Settings,
    *,
    needs_ledger: bool = True,
    unsealed: bool = False,
    current: bool = False,
    writing: bool = False,
) -> AsyncIterator[Connection]:
    """The target alone, for commands that read the ledger. `unsealed`: they read what may be encrypted, or
    sign what they add, and must have the keys; `current`: they need what only the newest ledger has;
    `writing`: the target must take writes."""
    async with session(address(settings, "target"), DURABLE, role="target") as connection:
        version = await schema.version(connection)
        if version == 0 and needs_ledger:
            raise PreflightError("the target has no ledger yet", "run `bulkmig init` or `bulkmig migrate`")
        if current and version < schema.newest(connection):
            raise PreflightError("the target's ledger is of an older bulkmig", "run `bulkmig init`")
        if unsealed:
            await ledger_keys.check(connection)
            await _may_reveal(connection, settings)
        if writing:
            await _writable(connection)
        yield connection


async def _may_reveal(connection: Connection, settings: Settings) -> None:
    if settings.reveal:
        await access.check(connection, settings.operator, "administer", "--reveal")


async def _writable(connection: Connection) -> None:
    if (file := on_file(connection)) is not None:
        try:
            async with transaction(connection, commit=False):
                await file.touch()
            return
        except (asyncpg.ReadOnlySQLTransactionError, asyncpg.UndefinedFileError):
            raise PreflightError(
                "the target is read-only", "check the rights to the file and its directory"
            ) from None
        except asyncpg.LockNotAvailableError:
            raise PreflightError(
                "the target is locked: another program is writing to it and doesn't finish",
                "end that program, or wait for it, then run the command again",
            ) from None
    if await connection.fetchval(READ_ONLY):
        raise PreflightError("the target is read-only", WRITABLE)


async def not_the_same(source: Connection, target: Connection) -> None:
    """Raises PreflightError where both are one: two portals in one database would share table names."""
    if on_file(target) is not None:
        return
    query = (
        "SELECT current_database() || '/' || coalesce(inet_server_port()::text, '') || '/' ||"
        " pg_postmaster_start_time()::text || '/' || current_schema()"
    )
    if await source.fetchval(query) == await target.fetchval(query):
        raise PreflightError("source and target are the same database", "check --source and --target")
