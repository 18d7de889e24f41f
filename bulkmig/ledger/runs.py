"""Runs in the ledger: begun, ended, listed."""

from __future__ import annotations

import getpass
import platform
from typing import Any

import orjson

from bulkmig.postgres.session import Connection


async def begin(
    connection: Connection, run_id: str, command: str, *, operator: str, selection: str, version: str
) -> None:
    """Records that a run has started."""
    await connection.execute(
        "INSERT INTO bulkmig.runs (id, command, status, operator, host, version, selection)"
        " VALUES ($1::text::uuid, $2, 'running', $3, $4, $5, $6)",
        run_id,
        command,
        operator or _os_user(),
        platform.node(),
        version,
        selection,
    )


async def set_snapshot(connection: Connection, run_id: str, snapshot: str) -> None:
    """Records what the run can see of the source, as `pg_current_snapshot()` prints it."""
    await connection.execute(
        "UPDATE bulkmig.runs SET source_snapshot = $2 WHERE id = $1::text::uuid", run_id, snapshot
    )


async def end(connection: Connection, run_id: str, status: str, document: dict[str, Any]) -> None:
    """Records how a run ended. Waits for the disk: all that the run committed before is durable after it."""
    await connection.execute("SET synchronous_commit = on")
    await connection.execute(
        "UPDATE bulkmig.runs SET status = $2, finished_at = clock_timestamp(), report = $3"
        " WHERE id = $1::text::uuid",
        run_id,
        status,
        orjson.dumps(document).decode(),
    )
    await connection.execute("SET synchronous_commit = off")


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
