"""The integer ids of a SQLite portal: assigned before anything is written, in order of source id within
vessels in order of source id, so that they depend on nothing else (mapping.md, "Ids").

Every source row of the vessels that are due gets its number, also one that is quarantined or waits: when it
comes in later, it stands where it belongs. Numbers are recorded for good.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
import polars as pl
from anyio import to_thread
from anyio.streams.memory import MemoryObjectSendStream

from bulkmig._core import ids
from bulkmig._core.declare import Entity
from bulkmig._core.frames import from_csv, runs, spread
from bulkmig.decide.fleet import Fleet
from bulkmig.entities import PER_VESSEL
from bulkmig.pipeline import first_error
from bulkmig.postgres.session import Connection, transaction
from bulkmig.selection import Vessel
from bulkmig.source import queries
from bulkmig.source.onboarding import copy_out
from bulkmig.sqlite.session import Session, on_file
from bulkmig.sqlite.tables import BORN
from bulkmig.sqlite.values import store

_VESSELS = 1000  # at once
_BYTES = 4 * 1024 * 1024  # of ids read before they are recorded


async def assign(source: Connection, target: Connection, fleet: Fleet, vessels: Sequence[Vessel]) -> None:
    """Records the numbers of all companies and users of the fleet and of all rows of these vessels that have
    none yet. Nothing on PostgreSQL."""
    file = on_file(target)
    if file is None:
        return
    async with transaction(target):
        for outcome in fleet.shared:
            known = dict(fleet.decisions.identity(outcome.entity.name).iter_rows())
            owner = outcome.entity.owner
            rows = sorted(
                outcome.raw.select("id", pl.col(owner).alias("@owner"), _born(outcome.entity)).iter_rows()
            )
            await _number(
                file,
                outcome.entity,
                [
                    (known.get(id_) or ids.derive_one(of, id_, outcome.entity.digit)) + id_ + born
                    for id_, of, born in rows
                ],
            )
        out, into = anyio.create_memory_object_stream[tuple[Entity, bytes]](1)
        try:
            async with into, anyio.create_task_group() as group:
                group.start_soon(_read, source, sorted(vessel.id for vessel in vessels), out)
                async for entity, data in into:
                    keys = await to_thread.run_sync(_keys, entity, data, fleet)
                    await _number(file, entity, keys)
        except BaseExceptionGroup as errors:
            cause = first_error(errors)
            raise cause from cause.__cause__
    # Its pages won't be wanted: workers write, on sessions of their own.
    await file.pragma("PRAGMA shrink_memory")


async def _number(file: Session, entity: Entity, rows: Sequence[str]) -> None:
    await file.work(lambda: file.ids.number(file.tables[entity.tables[0].name], rows))


def _born(entity: Entity) -> pl.Expr:
    """What tells a row from a later one with its number, as the file will have it."""
    return store("timestamptz", BORN) if BORN in entity.column_names else pl.lit("").alias(BORN)


async def _read(
    source: Connection, vessels: Sequence[str], out: MemoryObjectSendStream[tuple[Entity, bytes]]
) -> None:
    """The keys of each entity, some vessels at a time, while those before are recorded."""
    chunks: list[bytes] = []
    async with out:
        for entity in (entity for entity in PER_VESSEL if entity.tables):

            async def send(of: Entity = entity) -> None:
                data = b"".join(chunks)
                chunks.clear()
                await out.send((of, data))

            async def take(data: bytes, send: Callable[[], Awaitable[None]] = send) -> None:
                chunks.append(data)
                if sum(map(len, chunks)) > _BYTES:
                    await send()

            for start in range(0, len(vessels), _VESSELS):
                query = queries.keys(entity, vessels[start : start + _VESSELS], *_also(entity))
                await copy_out(source, f"{query} ORDER BY 2, 1", take)
                await send()


def _also(entity: Entity) -> list[str]:
    return [BORN] if BORN in entity.column_names else []


def _keys(entity: Entity, data: bytes, fleet: Fleet) -> list[str]:
    """Keys as `Ids.number` takes them."""
    kept = fleet.decisions.kept_ids.get(entity.name, {})
    if entity.name == "vessel":
        kept = dict(fleet.decisions.identity("vessel").iter_rows())
    frame = from_csv(data, ("id", "owner", *_also(entity)))
    row = pl.concat_str(_uuid(frame, entity.digit, kept), "id", _born(entity))
    return frame.select(row)["id"].to_list()


def _uuid(frame: pl.DataFrame, digit: str, kept: Mapping[str, str]) -> pl.Series:
    """The UUIDs of rows (id, owner)."""
    found = runs(frame["owner"])
    prefixes = pl.Series([of and ids.prefix(of) for of, _ in found], dtype=pl.String)
    owners = spread(prefixes, [length for _, length in found])
    made = frame.with_columns(owners.alias("@owner"), ids.digest("id").alias("@digest"))
    uuid = ids.derive(pl.col("@owner"), pl.col("@digest"), digit)
    if kept:
        recorded = pl.col("id").replace_strict(kept, default=None, return_dtype=pl.String)
        uuid = pl.coalesce(recorded, uuid)
    return made.select(uuid.alias("id"))["id"]
