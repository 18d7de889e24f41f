"""The record of conflicts: what both sides did to a row, and what was made of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import uuid4

import orjson

from bulkmig._core.declare import Entity
from bulkmig._core.stored import document
from bulkmig.entities import entity as entity_of
from bulkmig.ledger.read import MASK
from bulkmig.postgres.session import Connection, keys_of
from bulkmig.sync.decide import Conflict
from bulkmig.sync.row import Row, cells_of, differing, field_names

Fields = dict[str, dict[str, str | None]]  # field -> side -> value

#: Of these vessels, or of companies and users where there are none.
OF_THESE = "(vessel_id = ANY ($1::text[]::uuid[]) OR vessel_id IS NULL AND cardinality($1::text[]) = 0)"
_OPEN = """
SELECT id::text, entity, source_id::text FROM bulkmig.conflicts
 WHERE status = 'open' AND source_id = ANY ($1::text[]::uuid[])
"""
_RECORD = """
INSERT INTO bulkmig.conflicts (id, run_id, vessel_id, entity, source_id, target_id, kind, status, strategy,
                               resolved_at, fields)
VALUES ($1::text::uuid, $2::text::uuid, $3::text::uuid, $4, $5::text::uuid, $6::text::uuid, $7, $8, $9,
        CASE WHEN $8 = 'resolved' THEN clock_timestamp() END, $10)
    ON CONFLICT (entity, source_id) WHERE status = 'open'
    DO UPDATE SET kind = excluded.kind, fields = excluded.fields
"""
_SEALED = """
SELECT id::text, vessel_id::text, fields FROM bulkmig.conflicts WHERE id = ANY ($1::text[]::uuid[])
"""
_MOVE = "UPDATE bulkmig.conflicts SET vessel_id = $2::text::uuid, fields = $3 WHERE id = $1::text::uuid"


def fields(entity: Entity, conflict: Conflict) -> Fields:
    """Field -> base, source, target and result, for each that the sides don't agree on."""
    sides = {"base": conflict.base, "source": conflict.source, "target": conflict.target}
    empty = Row(frozenset(), {})
    wanted = {
        cell
        for one in sides.values()
        for other in sides.values()
        for cell in differing(entity, one or empty, other or empty)
    }
    names = field_names(entity)
    return {
        names[cell]: {
            **{side: row[cell] if row is not None else None for side, row in sides.items()},
            "result": None if conflict.open or conflict.result is None else conflict.result[cell],
        }
        for cell in cells_of(entity)
        if cell in wanted
    }


def seal(connection: Connection, id_: str, vessel: str | None, found: Fields) -> str:
    """The fields as the ledger keeps them, tied to their conflict and its vessel."""
    return keys_of(connection).close_text(orjson.dumps(found).decode(), place(id_, vessel))


def unseal(connection: Connection, id_: str, vessel: str | None, stored: str) -> Fields:
    """The fields that `seal` packed. Raises CheckpointError."""
    return document(keys_of(connection).open_text(stored, place(id_, vessel)), f"conflict {id_}")


def place(id_: str, vessel: str | None) -> bytes:
    """What ties the sealed fields of a conflict to it and its vessel."""
    return f"conflict/{id_}/{vessel}".encode()


#: Vessel, entity, source id, target id, and what happened.
Found = tuple[str | None, Entity, str, str, Conflict]


async def record(connection: Connection, run_id: str, found: Sequence[Found]) -> None:
    """Records conflicts. One that is open already is brought up to date."""
    if not found:
        return
    rows = await connection.fetch(_OPEN, [source_id for _, _, source_id, _, _ in found])
    known = {(row["entity"], row["source_id"]): row["id"] for row in rows}
    entries = []
    for vessel, entity, source_id, target_id, conflict in found:
        id_ = known.get((entity.name, source_id)) or str(uuid4())
        status = "open" if conflict.open else "resolved"
        said = seal(connection, id_, vessel, fields(entity, conflict))
        entries.append(
            (
                *(id_, run_id, vessel, entity.name, source_id, target_id, conflict.kind, status),
                *(conflict.strategy, said),
            )
        )
    await connection.executemany(_RECORD, entries)


async def move(connection: Connection, vessel: str, ids: Collection[str]) -> None:
    """Makes conflicts this vessel's. Raises CheckpointError."""
    rows = await connection.fetch(_SEALED, sorted(ids)) if ids else ()
    for row in rows:
        found = unseal(connection, row["id"], row["vessel_id"], row["fields"])
        await connection.execute(_MOVE, row["id"], vessel, seal(connection, row["id"], vessel, found))


async def open_ones(connection: Connection, vessels: Sequence[str]) -> dict[tuple[str, str], str]:
    """(entity, source id) -> id of the open conflicts of these vessels, or of companies and users."""
    rows = await connection.fetch(
        "SELECT id::text, entity, source_id::text FROM bulkmig.conflicts"
        f" WHERE status = 'open' AND {OF_THESE}",
        list(vessels),
    )
    return {(row["entity"], row["source_id"]): row["id"] for row in rows}


async def kept(connection: Connection) -> list[str]:
    """Target ids of rows that stay because of a conflict that was decided so, or as long as it is open."""
    rows = await connection.fetch(
        "SELECT target_id::text AS id FROM bulkmig.retained WHERE reason = 'conflict'"
        " UNION SELECT target_id::text FROM bulkmig.conflicts WHERE status = 'open'"
    )
    return [row["id"] for row in rows]


async def listed(
    connection: Connection,
    *,
    status: str | None = None,
    ids: Collection[str] | None = None,
    reveal: bool = False,
) -> list[dict[str, Any]]:
    """Conflicts as cli.md lists them, the oldest first; personal values masked unless revealed."""
    rows = await connection.fetch(
        "SELECT id::text, run_id::text, vessel_id::text, entity, source_id::text, target_id::text, kind,"
        " status, strategy, detected_at, resolved_at, fields FROM bulkmig.conflicts"
        " WHERE ($1::text IS NULL OR status = $1) AND ($2::text[] IS NULL OR id::text = ANY ($2))"
        " ORDER BY detected_at, id",
        status,
        None if ids is None else list(ids),
    )
    return [
        {
            **dict(row),
            "detected_at": row["detected_at"].isoformat(),
            "resolved_at": row["resolved_at"].isoformat() if row["resolved_at"] else None,
            "fields": _shown(
                entity_of(row["entity"]),
                unseal(connection, row["id"], row["vessel_id"], row["fields"]),
                reveal=reveal,
            ),
        }
        for row in rows
    ]


def _shown(entity: Entity, found: Fields, *, reveal: bool) -> Fields:
    personal = {field_names(entity)[name] for name, (_, cell) in cells_of(entity).items() if cell.personal}
    return {
        name: {
            side: MASK if name in personal and value is not None and not reveal else value
            for side, value in values.items()
        }
        for name, values in found.items()
    }
