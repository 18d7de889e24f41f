"""What the ledger tells: runs, vessels, quarantined rows."""

from __future__ import annotations

from typing import Any

from asyncpg import Record

from bulkmig._core.stored import document
from bulkmig.entities import entity
from bulkmig.errors import UsageError
from bulkmig.ledger.write import quarantine_place
from bulkmig.postgres.session import Connection, keys_of

MASK = "(masked)"
NEWEST = 50  # runs that are listed


async def one_run(connection: Connection, beginning: str) -> str:
    """The id of the only run whose id begins so. Raises UsageError."""
    rows = await connection.fetch(
        "SELECT id::text FROM bulkmig.runs WHERE substr(id::text, 1, length($1)) = lower($1) LIMIT 2",
        beginning,
    )
    if len(rows) != 1:
        several = "several runs begin with" if rows else "the ledger has no run"
        raise UsageError(f"{several} {beginning}", "see `bulkmig status`")
    found: str = rows[0]["id"]
    return found


async def run_list(connection: Connection, run_id: str | None = None) -> list[dict[str, Any]]:
    """Runs, the newest first, each with the report of how it ended; `run_id` may be a beginning of an id."""
    rows = await connection.fetch(
        "SELECT id::text, command, status, started_at, finished_at, operator, host, version, selection,"
        " report FROM bulkmig.runs WHERE $1::text IS NULL OR substr(id::text, 1, length($1)) = lower($1)"
        " ORDER BY started_at DESC LIMIT $2",
        run_id,
        NEWEST,
    )
    return [
        {
            **{
                key: value for key, value in row.items() if key not in ("report", "started_at", "finished_at")
            },
            "started_at": row["started_at"].isoformat(),
            "finished_at": row["finished_at"].isoformat() if row["finished_at"] else None,
            "report": document(row["report"], "the report of a run") if row["report"] else None,
        }
        for row in rows
    ]


async def vessel_list(connection: Connection, run_id: str | None = None) -> list[dict[str, Any]]:
    """The marks of vessels, of one run or of all."""
    rows = await connection.fetch(
        "SELECT vessel_id::text, name, state, run_id::text, phase, error, rows, seconds, finished_at"
        " FROM bulkmig.vessels WHERE $1::text IS NULL OR run_id::text = $1 ORDER BY name, vessel_id",
        run_id,
    )
    return [{**dict(row), "finished_at": row["finished_at"].isoformat()} for row in rows]


async def quarantine_list(
    connection: Connection,
    *,
    vessel_id: str | None = None,
    code: str | None = None,
    entry: str | None = None,
    reveal: bool = False,
) -> list[dict[str, Any]]:
    """Quarantined rows with the reason and the source's values, personal ones masked unless revealed. An
    entry's id is `entity:source id`."""
    rows = await connection.fetch(
        "SELECT entity || ':' || source_id AS id, run_id::text, vessel_id::text, entity, source_id::text,"
        " code, message, row, since FROM bulkmig.quarantine"
        " WHERE ($1::text IS NULL OR vessel_id::text = $1) AND ($2::text IS NULL OR code = $2)"
        " AND ($3::text IS NULL OR entity || ':' || source_id = $3) ORDER BY vessel_id, entity, source_id",
        vessel_id,
        code,
        entry,
    )
    return [
        {
            **dict(row),
            "since": row["since"].isoformat(),
            "row": _row(row["entity"], values(connection, row), reveal=reveal),
        }
        for row in rows
    ]


def values(connection: Connection, row: Record) -> str:
    """What the source held of a quarantined row, as JSON, decrypted. Raises CheckpointError."""
    place = quarantine_place(row["entity"], row["source_id"], row["vessel_id"], row["run_id"])
    return keys_of(connection).open_text(row["row"], place)


def _row(name: str, text: str, *, reveal: bool) -> dict[str, Any]:
    values = document(text, "a quarantined row")
    if not reveal:
        for column in entity(name).columns:
            if column.personal and values.get(column.name) is not None:
                values[column.name] = MASK
    return values
