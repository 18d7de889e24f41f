"""The ledger and what it says: its version, runs that never ended, what lies encrypted."""

from __future__ import annotations

import asyncpg

from bulkmig.config import Settings
from bulkmig.doctor.check import Check
from bulkmig.errors import BulkmigError, PreflightError
from bulkmig.ledger import schema
from bulkmig.ledger.runs import is_alive
from bulkmig.postgres.session import Connection
from bulkmig.security.keys import VARIABLE, from_settings
from bulkmig.security.seal import missing
from bulkmig.sqlite.session import on_file

_NONE = Check("ledger version", True, "there is no ledger yet: the first writing command makes it")


async def look(connection: Connection) -> list[Check]:
    """Version, and runs left `running` by a process that is gone."""
    if not await connection.fetchval("SELECT has_schema_privilege(to_regnamespace('bulkmig'), 'USAGE')"):
        return [_NONE]
    return await look_into(connection, schema.migrations()[-1][0])


async def look_into(connection: Connection, newest: int) -> list[Check]:
    """The same where nothing keeps from looking. `newest`: the version that this bulkmig brings it to."""
    try:
        version = await schema.version(connection)
    except PreflightError as error:
        return [Check("ledger version", False, error.message, error.hint)]
    if version == 0:
        return [_NONE]
    text = "up to date" if version == newest else f"the next writing command brings it to {newest}"
    return [Check("ledger version", True, f"version {version}, {text}"), await runs_left(connection)]


async def runs_left(connection: Connection) -> Check:
    """Whether runs are recorded as running whose process is gone."""
    rows = await connection.fetch("SELECT id::text, command FROM bulkmig.runs WHERE status = 'running'")
    dead = [row for row in rows if not await is_alive(connection, row["id"])]
    living = len(rows) - len(dead)
    return Check(
        "runs left running",
        not dead,
        "; ".join(f"{row['command']} {row['id'][:8]} has no process any more" for row in dead)
        or (f"{living} at work now" if living else "none"),
        "run the same command again: it goes on, and the old run is marked as interrupted",
        needed=False,
    )


async def encryption(connection: Connection | None, settings: Settings) -> Check:
    """Encryption at rest, as far as it can be seen from here: of checkpoints, not of disks."""
    name = "encryption at rest"
    remedy = f"make a key (openssl rand -base64 32) and name its file: key_file, --key-file or {VARIABLE}"
    try:
        seal = from_settings(settings)
    except BulkmigError as error:
        return Check(name, False, error.message, error.hint)
    try:
        in_use, plain = await _in_use(connection) if connection is not None else ([], 0)
    except (PreflightError, asyncpg.PostgresError):  # no ledger as it should be: that is for another check
        in_use, plain = [], 0
    if lacking := [id_ for id_ in in_use if id_ not in seal.ids]:
        told = missing(lacking, seal)
        return Check(name, False, f"the ledger holds values {told.message}", told.hint)
    detail = (
        "a key is configured: what the ledger keeps of rows is encrypted"
        if seal
        else "no key: what the ledger keeps of rows lies in the clear"
    )
    if seal and plain:
        detail += f", {plain} older checkpoints are not"
    return Check(
        name,
        bool(seal) and not plain,
        f"{detail}; whether the servers' disks are encrypted can't be seen from here",
        "bulkmig keys rotate" if seal else remedy,
        needed=False,
    )


async def _in_use(connection: Connection) -> tuple[list[bytes], int]:
    """The keys of the ledger, and how many of its checkpoints lie in the clear."""
    ids, plain = [], 0
    if await _readable(connection, "bulkmig.keys"):
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM bulkmig.keys ORDER BY since, id")]
    if await _readable(connection, "bulkmig.checkpoints"):
        plain = await connection.fetchval("SELECT count(*) FROM bulkmig.checkpoints WHERE NOT encrypted")
    return ids, plain


async def _readable(connection: Connection, table: str) -> bool:
    if on_file(connection) is not None:
        return await schema.version(connection) > 0
    return bool(
        await connection.fetchval(
            "SELECT CASE WHEN has_schema_privilege(to_regnamespace('bulkmig'), 'USAGE')"
            " THEN has_table_privilege(to_regclass($1), 'SELECT') END",
            table,
        )
    )
