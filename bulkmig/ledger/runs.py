"""Runs in the ledger: begun, ended, listed."""

from __future__ import annotations

import getpass
import hashlib
import platform
from typing import Any

import orjson

from bulkmig.ledger import keys
from bulkmig.postgres.session import Connection


async def begin(
    connection: Connection, run_id: str, command: str, *, operator: str, selection: str, version: str
) -> None:
    """Records that a run has started, and runs of processes that are gone as interrupted. May be called
    again where the answer was lost."""
    await hold(connection, run_id)
    await keys.register(connection)
    await _find_interrupted(connection, run_id)
    await connection.execute(
        "INSERT INTO bulkmig.runs (id, command, status, operator, host, version, selection)"
        " VALUES ($1::text::uuid, $2, 'running', $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
        run_id,
        command,
        operator or os_user(),
        platform.node(),
        version,
        selection,
    )


async def hold(connection: Connection, run_id: str) -> None:
    """Shows that the run's process lives, by a lock that goes with the session. Called again for every new
    session; another command may have taken the run for dead meanwhile."""
    await connection.execute("SELECT pg_advisory_lock($1)", _lock_key(run_id))
    await connection.execute(
        "UPDATE bulkmig.runs SET status = 'running' WHERE id = $1::text::uuid AND status = 'interrupted'",
        run_id,
    )


async def _find_interrupted(connection: Connection, but: str) -> None:
    rows = await connection.fetch(
        "SELECT id::text FROM bulkmig.runs WHERE status = 'running' AND id <> $1::text::uuid", but
    )
    for (run_id,) in rows:
        key = _lock_key(run_id)
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):
            await connection.execute(
                "UPDATE bulkmig.runs SET status = 'interrupted'"
                " WHERE id = $1::text::uuid AND status = 'running'",
                run_id,
            )
            await connection.execute("SELECT pg_advisory_unlock($1)", key)


async def is_alive(connection: Connection, run_id: str) -> bool:
    """Whether the process of a run that is recorded as running is there still."""
    # A shared lock: of several who look at once, none takes another for the run.
    key = _lock_key(run_id)
    if not await connection.fetchval("SELECT pg_try_advisory_lock_shared($1)", key):
        return True
    await connection.execute("SELECT pg_advisory_unlock_shared($1)", key)
    return False


async def set_snapshot(connection: Connection, run_id: str, snapshot: str) -> None:
    """Records what the run can see of the source, as `pg_current_snapshot()` prints it."""
    await connection.execute(
        "UPDATE bulkmig.runs SET source_snapshot = $2 WHERE id = $1::text::uuid", run_id, snapshot
    )


async def has_snapshot(connection: Connection, run_id: str, snapshot: str) -> bool:
    """Whether the run has recorded that it saw this of the source."""
    return bool(
        await connection.fetchval(
            "SELECT source_snapshot = $2 FROM bulkmig.runs WHERE id = $1::text::uuid", run_id, snapshot
        )
    )


async def end(connection: Connection, run_id: str, status: str, document: dict[str, Any]) -> None:
    """Records how a run ended. The main session's commits wait for the disk, and all that the run committed
    before is durable with it."""
    await connection.execute(
        "UPDATE bulkmig.runs SET status = $2, finished_at = clock_timestamp(), report = $3"
        " WHERE id = $1::text::uuid",
        run_id,
        status,
        orjson.dumps(document).decode(),
    )


async def durable(connection: Connection, run_id: str) -> set[str]:
    """The vessels that this run has done and that no crash of the target can undo any more."""
    # A commit that waits for the disk: every earlier one is on it as well.
    await connection.execute("UPDATE bulkmig.runs SET status = status WHERE id = $1::text::uuid", run_id)
    rows = await connection.fetch(
        "SELECT vessel_id::text FROM bulkmig.vessels WHERE run_id = $1::text::uuid AND state <> 'failed'",
        run_id,
    )
    return {row["vessel_id"] for row in rows}


def _lock_key(run_id: str) -> int:
    return int(hashlib.sha256(b"bulkmig run " + run_id.encode()).hexdigest()[:16], 16) - 2**63


def os_user() -> str:
    """The name of the user that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
