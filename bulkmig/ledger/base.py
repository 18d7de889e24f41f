"""The base: what bulkmig last wrote of every row. It tells which side changed what since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec
import polars as pl
from asyncpg import Record

from bulkmig._core.frames import spread
from bulkmig.encode import read_bases
from bulkmig.postgres.session import Connection, keys_of

OWNER, _PART = "~owner", "~part"  # columns of read rows: the vessel and the id of their part
_PLACE = (OWNER, _PART)
_AT_ONCE = 16  # parts: some megabytes, compressed
TOGETHER = 1024 * 1024  # bytes of them that are unpacked at once
# What it takes to open a part.
SEALED = "vessel_id::text, run_id::text, entity, kind, checkpoint_id::text, payload"
_PARTS = """
SELECT id, {sealed} FROM bulkmig.base
 WHERE {which} AND entity = ANY ($2::text[]) AND kind IN ('rows', 'forgotten') AND id > $3
 ORDER BY id + 0 LIMIT $4 -- not by the key's index: the planner would go through every vessel's parts by it
"""
HOLDING = _PARTS.format(sealed=SEALED, which="vessel_id = ANY ($1::text[]::uuid[]) AND holds")
_THESE = _PARTS.format(sealed=SEALED, which="id = ANY ($1::bigint[])")
Shape = Callable[[pl.DataFrame], pl.DataFrame]
R = TypeVar("R")
_ids = msgspec.msgpack.Decoder(list[str])
_keys = msgspec.msgpack.Decoder(dict[str, list[str]])


def place(vessel_id: str, run_id: str, entity: str, kind: str, checkpoint: str | None) -> bytes:
    """What ties a sealed part to its vessel, its run and its change."""
    return f"base/{vessel_id}/{run_id}/{entity}/{kind}/{checkpoint}".encode()


async def payloads_of(connection: Connection, ids: Sequence[int]) -> AsyncIterator[bytes]:
    """The payloads of these parts in their order, some in memory at once. Raises CheckpointError."""
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        rows = await connection.fetch(
            f"SELECT id, {SEALED} FROM bulkmig.base WHERE id = ANY ($1::bigint[])", some
        )
        found = {row["id"]: row for row in rows}
        for id_ in some:
            yield opened(connection, found[id_])


async def payload_of(connection: Connection, id_: int) -> bytes:
    """The payload of one part, decrypted. Raises CheckpointError."""
    (row,) = await connection.fetch(f"SELECT {SEALED} FROM bulkmig.base WHERE id = $1", id_)
    return opened(connection, row)


def opened(connection: Connection, row: Record) -> bytes:
    """The payload of a row with the columns `SEALED`, decrypted. Raises CheckpointError."""
    return keys_of(connection).open(row["payload"], place_of(row))


def place_of(row: Record) -> bytes:
    """Where a row with the columns `SEALED` belongs."""
    return place(row["vessel_id"], row["run_id"], row["entity"], row["kind"], row["checkpoint_id"])


async def read(
    connection: Connection,
    vessels: Sequence[str],
    entity: str,
    *,
    shape: Shape = lambda frame: frame,
) -> pl.DataFrame | None:
    """The rows of an entity that bulkmig wrote, as it last wrote them: an image (`encode.read_base`), one row
    a source id, with `OWNER`: the vessel that it was written on. None where there are none. `shape` selects
    rows and columns (see `only`) of some parts at a time, so that memory holds only what it leaves."""
    return (await _read(connection, HOLDING, vessels, [entity], shape)).get(entity)


async def read_each(
    connection: Connection, vessels: Sequence[str], entities: Sequence[str]
) -> dict[str, pl.DataFrame]:
    """The same for several entities at once: entity -> its rows, where there are any."""
    return await _read(connection, HOLDING, vessels, entities, lambda frame: frame)


def only(*columns: str | pl.Expr | pl.Series) -> Shape:
    """A shape that leaves these columns."""
    return lambda frame: frame.select(*columns, *_PLACE)


async def read_parts(connection: Connection, ids: Sequence[int], entity: str) -> pl.DataFrame | None:
    """The same for these parts, whether they hold or not."""
    if not ids:
        return None
    return (await _read(connection, _THESE, ids, [entity], lambda frame: frame)).get(entity)


async def _read(
    connection: Connection, query: str, which: Sequence[object], entities: Sequence[str], shape: Shape
) -> dict[str, pl.DataFrame]:
    frames: defaultdict[str, list[pl.DataFrame]] = defaultdict(list)
    # Entity -> vessel, source id -> the part that says so.
    forgotten: defaultdict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    last, at_once = 0, max(_AT_ONCE, 2 * len(which))
    while rows := await connection.fetch(query, list(which), list(entities), last, at_once):
        last = rows[-1]["id"]
        for entity in entities:
            parts = [(row, opened(connection, row)) for row in rows if row["entity"] == entity]
            for together in small_enough(parts):
                written = [part for part in together if part[0]["kind"] != "forgotten"]
                if written:
                    frames[entity].append(shape(_joined(written)))
                for row, payload in together:
                    if row["kind"] == "forgotten":
                        gone = {(row["vessel_id"], id_): row["id"] for id_ in _ids.decode(payload)}
                        forgotten[entity].update(gone)
        if len(rows) < at_once:
            break
    found = {entity: _latest(pl.concat(read), forgotten[entity]) for entity, read in frames.items()}
    return {entity: frame.drop(_PART) for entity, frame in found.items() if frame.height}


def _latest(found: pl.DataFrame, forgotten: Mapping[tuple[str, str], int]) -> pl.DataFrame:
    """Each row as it was written last, unless it was forgotten since."""
    if forgotten:
        # What one vessel has lost to another is forgotten there alone.
        since = pl.DataFrame(
            [(owner, id_, part) for (owner, id_), part in forgotten.items()],
            schema={OWNER: pl.String, "source_id": pl.String, "~since": pl.Int64},
            orient="row",
        )
        found = found.join(since, on=[OWNER, "source_id"], how="left", maintain_order="left")
        found = found.filter(pl.col("~since").fill_null(0) < pl.col(_PART)).drop("~since")
    return found.unique("source_id", keep="last", maintain_order=True)


def small_enough(parts: Iterable[tuple[R, bytes]]) -> Iterator[list[tuple[R, bytes]]]:
    """Parts (what they are of, payload), in their order, that are small enough to be read at once."""
    together: list[tuple[R, bytes]] = []
    size = 0
    for part in parts:
        if together and size + len(part[1]) > TOGETHER:
            yield together
            together, size = [], 0
        together.append(part)
        size += len(part[1])
    yield together


def _joined(parts: Sequence[tuple[Record, bytes]]) -> pl.DataFrame:
    frame, rows = read_bases([payload for _, payload in parts])
    return frame.with_columns(
        spread(pl.Series(_PART, [row["id"] for row, _ in parts], dtype=pl.Int64), rows),
        spread(pl.Series(OWNER, [row["vessel_id"] for row, _ in parts], dtype=pl.String), rows),
    )


async def among(
    connection: Connection, vessels: Sequence[str], entity: str, source_ids: Collection[str]
) -> pl.DataFrame | None:
    """The same for these rows alone."""
    wanted = pl.col("source_id").is_in(list(source_ids))
    return await read(connection, vessels, entity, shape=lambda frame: frame.filter(wanted))


async def forgotten(connection: Connection, ids: Sequence[int]) -> list[str]:
    """The source ids that the `forgotten` ones of these parts name."""
    rows = await connection.fetch(
        "SELECT payload FROM bulkmig.base WHERE id = ANY ($1::bigint[]) AND kind = 'forgotten'", list(ids)
    )
    return sorted({source_id for row in rows for source_id in _ids.decode(row["payload"])})


def pack_ids(ids: Sequence[str]) -> bytes:
    """A `forgotten` part, of source ids; or an `untouched` one, of target ids (`table.column/id`: a cell)."""
    return msgspec.msgpack.encode(list(ids))


def read_ids(payload: bytes) -> list[str]:
    """What `pack_ids` packed."""
    return _ids.decode(payload)


def pack_keys(keys: dict[str, list[str]]) -> bytes:
    """A `removed` part: table -> primary keys, columns of one joined by `/`."""
    return msgspec.msgpack.encode(keys)


def read_keys(payload: bytes) -> dict[str, list[str]]:
    """What `pack_keys` packed."""
    return _keys.decode(payload)
