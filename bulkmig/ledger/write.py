"""What a transaction records about itself: marks, findings, quarantine, pending rows, the base."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl
from msgspec import Struct

from bulkmig._core.frames import to_csv
from bulkmig._core.parcel import Parcel
from bulkmig.ledger.audit import Who, signature
from bulkmig.ledger.base import place
from bulkmig.postgres.session import Connection, keys_of
from bulkmig.target.postgres import copy_in

NIL = "00000000-0000-0000-0000-000000000000"
_FINDINGS = ("run_id", "severity", "code", "vessel_id", "entity", "source_id", "field", "message")


async def findings(connection: Connection, run_id: str, frames: Iterable[pl.DataFrame]) -> None:
    """Adds findings to a run."""
    frame = _joined(frames)
    if frame is not None:
        rows = frame.with_columns(pl.lit(run_id).alias("run_id")).select(_FINDINGS)
        await copy_in(connection, "bulkmig.findings", _FINDINGS, to_csv(rows))


def quarantine_place(entity: str, source_id: str, vessel_id: str | None, run_id: str) -> bytes:
    """What ties the sealed values of a quarantined row to it, its vessel and its run."""
    return f"quarantine/{entity}/{source_id}/{vessel_id}/{run_id}".encode()


async def quarantine(connection: Connection, run_id: str, frames: Iterable[pl.DataFrame]) -> None:
    """Records rows that are not loaded; an entry that is there already keeps its first date, and the run is
    the last one that found it so."""
    frame = _joined(frames)
    if frame is None:
        return
    keys, columns = keys_of(connection), ("entity", "source_id", "vessel_id", "code", "message", "row")
    await connection.execute(
        "INSERT INTO bulkmig.quarantine (run_id, entity, source_id, vessel_id, code, message, row)"
        " SELECT $1::uuid, e, s::uuid, v::uuid, c, m, r FROM unnest($2::text[], $3::text[], $4::text[],"
        " $5::text[], $6::text[], $7::text[]) AS u (e, s, v, c, m, r)"
        " ON CONFLICT (entity, source_id) DO UPDATE SET run_id = excluded.run_id,"
        " vessel_id = excluded.vessel_id, code = excluded.code, message = excluded.message,"
        " row = excluded.row",
        run_id,
        *[frame[column].to_list() for column in columns[:-1]],
        [
            keys.close_text(row, quarantine_place(entity, source_id, vessel, run_id))
            for entity, source_id, vessel, row in frame.select(*columns[:3], "row").iter_rows()
        ],
    )


async def release(connection: Connection, entity: str, source_ids: Sequence[str]) -> None:
    """These rows are no longer listed."""
    await connection.execute(
        "DELETE FROM bulkmig.quarantine WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[])",
        entity,
        source_ids,
    )


async def left_quarantine(
    connection: Connection,
    run_id: str,
    vessels: Sequence[str],
    entity: str | None = None,
    *,
    but: Sequence[str] = (),
) -> int:
    """Forgets the entries of these vessels (or of none) that the run didn't find again, `but` these; returns
    how many."""
    status = await connection.execute(
        "DELETE FROM bulkmig.quarantine WHERE (vessel_id = ANY ($1::text[]::uuid[])"
        " OR vessel_id IS NULL AND cardinality($1::text[]) = 0)"
        " AND run_id <> $2::text::uuid AND ($3::text IS NULL OR entity = $3)"
        " AND NOT entity || ':' || source_id = ANY ($4::text[])",
        list(vessels),
        run_id,
        entity,
        list(but),
    )
    return int(status.rpartition(" ")[2])


async def pending(connection: Connection, run_id: str, parcels: Iterable[Parcel]) -> int:
    """Records rows that wait for other vessels; returns how many."""
    rows = [
        (parcel.entity.name, source_id, vessel_id, run_id)
        for parcel in parcels
        if parcel.waiting.height
        for source_id, vessel_id in parcel.waiting.select("id", "vessel_id").iter_rows()
    ]
    if rows:
        await connection.executemany(
            "INSERT INTO bulkmig.pending (entity, source_id, vessel_id, run_id)"
            " VALUES ($1, $2::text::uuid, $3::text::uuid, $4::text::uuid) ON CONFLICT DO NOTHING",
            rows,
        )
    return len(rows)


class BasePart(NamedTuple):
    """What was written of a vessel's (or the nil UUID's) rows of an entity. `checkpoint`: the one of this
    change, None for what was written before; `kind` and `holds` as the ledger's table has them."""

    vessel_id: str
    entity: str
    rows: int
    payload: bytes
    checkpoint: str | None
    kind: str = "rows"
    holds: bool = True


async def base_parts(connection: Connection, run_id: str, parts: Iterable[BasePart]) -> None:
    """Records what was written. Later parts replace rows of earlier ones."""
    keys = keys_of(connection)
    records = []
    for part in parts:
        where = place(part.vessel_id, run_id, part.entity, part.kind, part.checkpoint)
        records.append((*part[:3], keys.close(part.payload, where), *part[4:], run_id))
    if records:
        await connection.copy_records_to_table(
            "base",
            schema_name="bulkmig",
            columns=("vessel_id", "entity", "rows", "payload", "checkpoint_id", "kind", "holds", "run_id"),
            records=records,
        )


async def base(
    connection: Connection,
    run_id: str,
    vessel_id: str,
    parts: Iterable[tuple[str, int, bytes]],
    *,
    checkpoint: str | None,
    kind: str = "rows",
) -> None:
    """Records what was written of one vessel: (entity, rows, payload) each."""
    await base_parts(connection, run_id, [BasePart(vessel_id, *part, checkpoint, kind) for part in parts])


async def identities(
    connection: Connection, run_id: str, entity: str, rows: Iterable[tuple[str, str, bool]]
) -> None:
    """Records (source id, target id, adopted) of rows that came with this run. An id that is recorded stays,
    unless its row was rolled back and one of the portal's is adopted now."""
    await connection.executemany(
        "INSERT INTO bulkmig.identities AS i (entity, source_id, target_id, adopted, run_id) VALUES"
        " ($1, $2::text::uuid, $3::text::uuid, $4, $5::text::uuid)"
        " ON CONFLICT (entity, source_id) DO UPDATE SET target_id = excluded.target_id,"
        " adopted = excluded.adopted, run_id = excluded.run_id"
        " WHERE excluded.adopted AND i.target_id <> excluded.target_id"
        " OR NOT excluded.adopted AND NOT i.adopted AND i.target_id = excluded.target_id",
        [(entity, source, target, adopted, run_id) for source, target, adopted in rows],
    )


_MARK = """
WITH marked AS (INSERT INTO bulkmig.vessels AS v
     (vessel_id, state, run_id, name, phase, error, rows, seconds, source_snapshot)
     VALUES ($1::text::uuid, $2, $3::text::uuid, $4, $5, $6, $7, $8, $12)
     ON CONFLICT (vessel_id) DO UPDATE SET state = excluded.state, run_id = excluded.run_id,
     name = excluded.name, phase = excluded.phase, error = excluded.error, rows = excluded.rows,
     seconds = excluded.seconds, source_snapshot = excluded.source_snapshot,
     finished_at = clock_timestamp()
     WHERE v.state <> 'migrated' OR excluded.state = 'migrated')
INSERT INTO bulkmig.audit (run_id, vessel_id, action, operator, host, summary, mac)
VALUES ($3::text::uuid, $1::text::uuid, $2, $9, $10, $11, $13)
"""


class Mark(Struct, frozen=True):
    """What became of a vessel, as its mark says it."""

    vessel_id: str
    name: str
    state: str
    phase: str
    rows: int
    seconds: float
    error: str | None = None


async def mark(
    connection: Connection,
    by: Who,
    run_id: str,
    vessel_id: str,
    name: str,
    *,
    state: str,
    phase: str,
    rows: int,
    seconds: float,
    error: str | None = None,
    snapshot: str | None = None,
) -> None:
    """The vessel's mark, and its entry in the audit log. A vessel that is migrated is never marked as failed.
    `snapshot`: what was seen of the source."""
    made = Mark(vessel_id, name, state, phase, rows, seconds, error)
    await marks(connection, by, run_id, [made], snapshot=snapshot)


async def marks(
    connection: Connection, by: Who, run_id: str, made: Iterable[Mark], *, snapshot: str | None = None
) -> None:
    """The same for several vessels."""
    rows = []
    for one in made:
        said = one.error or f"{one.rows} rows"
        mac = signature(connection, by, one.state, said, run_id, one.vessel_id)
        rows.append(
            (
                *(one.vessel_id, one.state, run_id, one.name, one.phase, one.error, one.rows, one.seconds),
                *(by.operator, by.host, said, snapshot, mac),
            )
        )
    await connection.executemany(_MARK, rows)


def _joined(frames: Iterable[pl.DataFrame]) -> pl.DataFrame | None:
    filled = [frame for frame in frames if frame.height]
    return pl.concat(filled) if filled else None
