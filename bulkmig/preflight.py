"""Opens both ends for a command and checks that they are as it needs them, before anything is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from bulkmig._core.unit import Catalogue
from bulkmig.config import Settings
from bulkmig.entities import ENTITIES
from bulkmig.errors import PreflightError, UsageError
from bulkmig.ledger import schema
from bulkmig.postgres import dsn
from bulkmig.postgres.session import TARGET, Connection, close, session, transaction
from bulkmig.source import onboarding
from bulkmig.target import postgres


@dataclass(frozen=True)
class Ends:
    """Both ends, open. `holder` keeps the run's source snapshot, whose name is `snapshot`."""

    source: dsn.Address
    target_address: dsn.Address
    holder: Connection
    snapshot: str
    target: Connection
    source_catalogue: Catalogue
    target_catalogue: Catalogue


def address(settings: Settings, role: str) -> dsn.Address:
    """The address of the source or the target. Raises UsageError where there is none."""
    url = settings.source if role == "source" else settings.target
    if not url:
        variable = "ONBOARDING_DB_URL" if role == "source" else "MAINTENANCE_DB_URL"
        raise UsageError(f"no {role} is given", f"say --{role} URL or set {variable}")
    return dsn.parse(url, allow_insecure=settings.allow_insecure, connect_timeout=settings.connect_timeout)


@asynccontextmanager
async def both(settings: Settings, *, writing: bool, needs_ledger: bool = False) -> AsyncIterator[Ends]:
    """Connects and checks; touches nothing. `writing`: the target must take writes. Raises PreflightError."""
    source, target = address(settings, "source"), address(settings, "target")
    async with (
        onboarding.snapshot(source) as (holder, name),
        session(target, TARGET, role="target") as connection,
    ):
        source_catalogue = await onboarding.catalogue(holder, ENTITIES)
        target_catalogue = await postgres.catalogue(connection, writing=writing)
        await _not_the_same(holder, connection)
        version = await schema.version(connection)
        if writing:
            await _writable(connection)
        elif needs_ledger and version == 0:
            raise PreflightError(
                "the target has no ledger: nothing was migrated into it", "run `bulkmig migrate` first"
            )
        yield Ends(source, target, holder, name, connection, source_catalogue, target_catalogue)


async def ready(ends: Ends, settings: Settings) -> None:
    """The last checks, and the first write: the ledger is created or brought up to date."""
    if settings.fk_check == "set":
        try:
            async with transaction(ends.target, commit=False):
                await ends.target.execute("SET LOCAL session_replication_role = replica")
        except asyncpg.InsufficientPrivilegeError:
            raise PreflightError(
                "the role may not turn off triggers, which --fk-check set does for the load",
                "GRANT SET ON PARAMETER session_replication_role (from PostgreSQL 15), or --fk-check row",
            ) from None
    if not settings.dry_run:
        await schema.upgrade(ends.target)


@asynccontextmanager
async def joined(settings: Settings, snapshot: str) -> AsyncIterator[Ends]:
    """Both ends for a further process of a run that was checked already, on the run's snapshot."""
    source, target = address(settings, "source"), address(settings, "target")
    async with session(target, TARGET, role="target") as connection:
        holder = await onboarding.reader(source, snapshot, index_paths_only=False)
        try:
            source_catalogue = await onboarding.catalogue(holder, ENTITIES)
            target_catalogue = await postgres.catalogue(connection, writing=False)
            yield Ends(source, target, holder, snapshot, connection, source_catalogue, target_catalogue)
        finally:
            await close(holder)


@asynccontextmanager
async def target_only(settings: Settings, *, needs_ledger: bool = True) -> AsyncIterator[Connection]:
    """The target alone, for commands that read the ledger."""
    async with session(address(settings, "target"), TARGET, role="target") as connection:
        if await schema.version(connection) == 0 and needs_ledger:
            raise PreflightError("the target has no ledger yet", "run `bulkmig init` or `bulkmig migrate`")
        yield connection


async def _writable(connection: Connection) -> None:
    if await connection.fetchval(
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool"
    ):
        raise PreflightError("the target is read-only", "connect to its primary server")


async def _not_the_same(source: Connection, target: Connection) -> None:
    """Two portals in one database would share table names: the addresses were mixed up."""
    query = (
        "SELECT current_database() || '/' || coalesce(inet_server_port()::text, '') || '/' ||"
        " pg_postmaster_start_time()::text || '/' || current_schema()"
    )
    if await source.fetchval(query) == await target.fetchval(query):
        raise PreflightError("source and target are the same database", "check --source and --target")
