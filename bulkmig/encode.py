"""Turns images into what COPY and the ledger's base take. CPU work, done beside the event loop."""

from __future__ import annotations

import io
from collections.abc import Iterable

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.frames import to_csv
from bulkmig._core.parcel import Parcel, TableLoad
from bulkmig.transform import Outcome


def parcels(outcome: Outcome, vessels: Iterable[str]) -> list[Parcel]:
    """Shares an outcome out among the vessels of its unit."""
    ids = list(vessels)
    own, elsewhere = outcome.findings, None
    if outcome.entity.ancestors and own.height:
        here = pl.col("vessel_id").is_in(ids)
        own, elsewhere = own.filter(here), own.filter(~here)
    if len(ids) <= 1:
        one = ids[0] if ids else None
        return [
            Parcel(outcome.entity, one, outcome.image, own, outcome.quarantined, outcome.waiting, elsewhere)
        ]
    image, findings, quarantined, waiting = (
        _by_vessel(frame) for frame in (outcome.image, own, outcome.quarantined, outcome.waiting)
    )
    return [
        Parcel(
            outcome.entity,
            vessel,
            image.get(vessel, outcome.image.clear()),
            findings.get(vessel, outcome.findings.clear()),
            quarantined.get(vessel, outcome.quarantined.clear()),
            waiting.get(vessel, outcome.waiting.clear()),
            elsewhere if vessel == ids[0] else None,
        )
        for vessel in ids
    ]


def _by_vessel(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    if not frame.height:
        return {}
    return {str(key[0]): part for key, part in frame.partition_by("vessel_id", as_dict=True).items()}


def encode(parcel: Parcel) -> Parcel:
    """Adds the tables' CSV and the base to a parcel and lets go of its image."""
    entity, image = parcel.entity, parcel.image
    if image.height:
        parcel.loads = [load for load in table_loads(entity, image) if load.rows]
        parcel.base = base(entity, image)
        parcel.rows = image.height
        parcel.image = image.clear()
    return parcel


def table_loads(entity: Entity, image: pl.DataFrame) -> list[TableLoad]:
    """The rows of each of the entity's tables as CSV, sorted by key as the image is."""
    loads = []
    for table in entity.tables:
        rows = image.filter(pl.col(f"?{table.name}")) if table.when is not None else image
        cells = rows.select(pl.col(f"{table.name}.{name}").alias(name) for name in table.cells)
        loads.append(TableLoad(table.name, table.key, tuple(table.cells), rows["source_id"], to_csv(cells)))
    return loads


def base(entity: Entity, image: pl.DataFrame) -> bytes:
    """What is written, compressed: an Arrow IPC stream of `source_id` and every cell."""
    cells = [column for column in image.columns if "." in column]
    buffer = io.BytesIO()
    image.select("source_id", *cells).write_ipc_stream(buffer, compression="zstd")
    return buffer.getvalue()


def read_base(payload: bytes) -> pl.DataFrame:
    """The frame that `base` wrote."""
    return pl.read_ipc_stream(payload)
