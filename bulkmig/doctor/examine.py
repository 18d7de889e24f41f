"""All checks, in the order in which a person would solve them."""

from __future__ import annotations

from contextlib import AsyncExitStack

import asyncpg

from bulkmig.config import Settings
from bulkmig.doctor import file, indexes, ledger, privileges, schemas, server
from bulkmig.doctor.check import Check
from bulkmig.errors import PreflightError, UsageError
from bulkmig.postgres.dsn import Address
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import SOURCE, TARGET, Connection, session
from bulkmig.preflight import address, not_the_same
from bulkmig.sqlite.session import on_file

# Read-only for both: whoever examines can't change anything.
_LOOK = {"default_transaction_read_only": "on"}


async def examine(settings: Settings) -> list[Check]:
    """Looks at both ends; what can't be looked at is a check that failed. Raises UsageError for settings
    that can't be meant."""
    checks: list[Check] = []
    async with AsyncExitStack() as stack:
        source, source_address = await _open(stack, settings, "source", checks)
        target, target_address = await _open(stack, settings, "target", checks)
        try:
            if source is not None and source_address is not None:
                checks += await server.look(source, source_address, "source", settings)
                checks += await schemas.source(source)
                checks += await privileges.source(source)
                checks += await indexes.look(source)
            opened = on_file(target)
            if opened is not None and target is not None:
                checks += await file.look(target, opened)
            elif target is not None and target_address is not None:
                checks += await server.look(target, target_address, "target", settings)
                checks += await server.takes(target)
                checks += await schemas.target(target)
                checks += await privileges.target(target, settings)
                checks += await ledger.look(target)
            if source is not None and target is not None:
                checks.append(await _apart(source, target))
                if opened is None:
                    checks += await server.clocks(source, target)
            encryption = await ledger.encryption(target, settings)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            checks.append(Check("connections", False, describe(error), "look again"))
            encryption = await ledger.encryption(None, settings)
    return [*checks, encryption]


async def _open(
    stack: AsyncExitStack, settings: Settings, role: str, checks: list[Check]
) -> tuple[Connection | None, Address | None]:
    name = f"{role} connection"
    try:
        where = address(settings, role, sealed=False)
        options = {**(SOURCE if role == "source" else TARGET), **_LOOK}
        connection = await stack.enter_async_context(session(where, options, role=role))
    except UsageError:
        raise
    except PreflightError as error:
        checks.append(Check(name, False, error.message, error.hint))
        return None, None
    checks.append(Check(name, True, f"connected to {where.shown}"))
    return connection, where


async def _apart(source: Connection, target: Connection) -> Check:
    try:
        await not_the_same(source, target)
    except PreflightError as error:
        return Check("two databases", False, error.message, error.hint)
    return Check("two databases", True, "source and target are two databases")
