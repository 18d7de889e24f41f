"""Runs in the ledger: begun, ended, listed."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from bulkmig.entities import ENTITIES
from bulkmig.ledger import audit, chain, keys
from bulkmig.ledger.read import MASK
from bulkmig.postgres.session import Connection, transaction

_PERSONAL = {
    (table.name, name)
    for entity in ENTITIES
    for table in entity.tables
    for name, cell in table.cells.items()
    if cell.personal
}


async def begin(
    connection: Connection, run_id: str, command: str, *, operator: str, selection: str, version: str
) -> None:
    """Records that a run has started, and runs of processes that are gone as interrupted. May be called
    again where the answer was lost."""
    await hold(connection, run_id)
    await keys.register(connection)
    await _find_interrupted(connection, run_id)
    by, said = audit.who(operator), f"{command} {selection}"
    await connection.execute(
        "WITH begun AS (INSERT INTO bulkmig.runs (id, command, status, operator, host, version, selection)"
        " VALUES ($1::text::uuid, $2, 'running', $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING RETURNING id)"
        " INSERT INTO bulkmig.audit (run_id, action, operator, host, summary, mac)"
        " SELECT id, 'started', $3, $4, $7, $8 FROM begun",
        run_id,
        command,
        by.operator,
        by.host,
        version,
        selection,
        said,
        audit.signature(connection, by, "started", said, run_id, None),
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
    async with transaction(connection):
        await chain.seal(connection)


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
    async with transaction(connection):
        (row,) = await connection.fetch(
            "SELECT operator, host, command FROM bulkmig.runs WHERE id = $1::text::uuid", run_id
        )
        by, action = audit.Who(row["operator"], row["host"]), status.replace("_", " ")
        said = _said(row["command"], document)
        await connection.execute(
            "WITH ended AS (UPDATE bulkmig.runs SET status = $2, finished_at = clock_timestamp(), report = $3"
            " WHERE id = $1::text::uuid)"
            " INSERT INTO bulkmig.audit (run_id, action, operator, host, summary, mac)"
            " SELECT id, $4, $5, $6, $7, $8 FROM bulkmig.runs WHERE id = $1::text::uuid"
            " AND (finished_at IS NULL OR status <> $2)",
            run_id,
            status,
            orjson.dumps(_without_values(document)).decode(),
            action,
            by.operator,
            by.host,
            said,
            audit.signature(connection, by, action, said, run_id, None),
        )
        await chain.seal(connection, run_id)


def _without_values(document: dict[str, Any]) -> dict[str, Any]:
    """The document without the personal values that `--reveal` showed: others may read it later."""
    found = document.get("verification")
    if not found:
        return document
    hidden = {kind: [_hidden(one) for one in found.get(kind, ())] for kind in ("differences", "drifted")}
    return {**document, "verification": {**found, **hidden}}


def _hidden(deviation: dict[str, Any]) -> dict[str, Any]:
    if (deviation["table"], deviation["field"]) not in _PERSONAL:
        return deviation
    return {**deviation, **{k: MASK for k in ("expected", "actual") if deviation[k] is not None}}


def _said(command: str, document: dict[str, Any]) -> str:
    vessels = document.get("vessels", {})
    counts = ", ".join(
        f"{vessels[name]} {name}" for name in ("done", "failed", "remaining") if vessels.get(name)
    )
    return f"{command}: {counts}" if counts else command


async def durable(connection: Connection, run_id: str) -> set[str]:
    """The vessels that this run has done and that no crash of the target can undo any more."""
    # A commit that waits for the disk: every earlier one is on it as well.
    await connection.execute("UPDATE bulkmig.runs SET status = status WHERE id = $1::text::uuid", run_id)
    rows = await connection.fetch(
        "SELECT vessel_id::text FROM bulkmig.vessels WHERE run_id = $1::text::uuid AND state <> 'failed'",
        run_id,
    )
    return {row["vessel_id"] for row in rows}


async def open_conflicts(connection: Connection) -> int:
    """How many conflicts wait for a decision, those of earlier runs among them."""
    found = await connection.fetchval("SELECT count(*) FROM bulkmig.conflicts WHERE status = 'open'")
    return int(found)


def _lock_key(run_id: str) -> int:
    return int(hashlib.sha256(b"bulkmig run " + run_id.encode()).hexdigest()[:16], 16) - 2**63
