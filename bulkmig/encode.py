"""Turns images into what COPY and the ledger's base take. CPU work, done beside the event loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

import msgspec
import polars as pl
from msgspec.structs import replace

from bulkmig._core.declare import Entity
from bulkmig._core.frames import from_csv, runs, to_csv
from bulkmig._core.ids import canonical, raw
from bulkmig._core.parcel import Parcel, TableLoad
from bulkmig._core.stored import compress, expand, unreadable
from bulkmig.sqlite.contract import contract
from bulkmig.sqlite.values import store

if TYPE_CHECKING:
    from bulkmig.transform import Outcome

# Rows of an image or a table that belong to one vessel: vessel -> (first row, number of rows).
Places = dict[str | None, tuple[int, int]]

_NOWHERE = (0, 0)
_A_PART = "a part of the base"
_pack = msgspec.msgpack.Encoder()
_Part = tuple[bytes, dict[str, list[bool]], list[tuple[str, list[str], bytes]]]
_unpack = msgspec.msgpack.Decoder(_Part)


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
    outcome.image, places = _together(outcome.image)
    findings, quarantined, waiting = (
        _by_vessel(frame) for frame in (own, outcome.quarantined, outcome.waiting)
    )
    return [
        Parcel(
            outcome.entity,
            vessel,
            outcome.image.slice(*places.get(vessel, _NOWHERE)),
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


def _together(image: pl.DataFrame) -> tuple[pl.DataFrame, Places]:
    """The image with each vessel's rows next to each other, and where they are. In order of their ids they
    are so already, unless two vessels' prefixes begin alike."""
    found = runs(image["vessel_id"])
    if len(found) > len({vessel for vessel, _ in found}):
        image = image.sort("vessel_id", maintain_order=True)
        found = runs(image["vessel_id"])
    return image, _places(found)


def _places(found: list[tuple[str | None, int]]) -> Places:
    starts = accumulate((length for _, length in found), initial=0)
    return {vessel: (start, length) for (vessel, length), start in zip(found, starts, strict=False)}


def encode(outcome: Outcome, vessels: Iterable[str], *, frames: bool = False) -> list[Parcel]:
    """The parcels with their tables' CSV (`frames`: and rows for a file) and their base instead of images.

    Everything is made once for all vessels together and then cut: a call into polars costs as much for one
    vessel's rows as for a hundred's."""
    made = parcels(outcome, vessels)
    image = outcome.image
    if not image.height:
        return made
    whole = table_loads(outcome.entity, image, frames=frames)
    ids, flags = raw(image["source_id"]), _flags(image)
    places = _places(runs(image["vessel_id"])) if len(made) > 1 else {}
    cuts = [_cut(load, image, places) for load in whole] if places else []  # vessel -> its part
    none = image.clear()
    for parcel in made:
        parcel.rows, parcel.image = parcel.image.height, none
        if parcel.rows and outcome.entity.tables:
            begin = places.get(parcel.vessel_id, _NOWHERE)[0]
            end = begin + parcel.rows
            loads = [cut[parcel.vessel_id] for cut in cuts] if cuts else whole
            parcel.loads = [load for load in loads if load.rows]
            held = {name: flag[begin:end] for name, flag in flags.items()}
            parcel.base = _base(ids[16 * begin : 16 * end], held, loads)
    return made


def table_loads(entity: Entity, image: pl.DataFrame, *, frames: bool = False) -> list[TableLoad]:
    """The rows of each of the entity's tables as CSV, in the image's order. Each begins with its own id."""
    loads = []
    for table in entity.tables:
        rows = image.filter(pl.col(f"?{table.name}")) if table.when is not None else image
        names = (table.own_key, *(name for name in table.cells if name != table.own_key))
        frame = rows.select(pl.col(f"{table.name}.{name}").alias(name) for name in names)
        load = TableLoad(table.name, table.key, names, rows["source_id"], to_csv(frame))
        if frames:
            load.frame = frame.select(
                store(contract().get((table.name, name), "text"), name) for name in names
            )
        loads.append(load)
    return loads


def _cut(load: TableLoad, image: pl.DataFrame, places: Places) -> defaultdict[str | None, TableLoad]:
    """Each vessel's part of a table's CSV. A row begins with its id in quotes, and nothing within a value can
    look like that: there every quote is doubled."""
    flag = f"?{load.table}"
    if flag in image.columns:
        image = image.filter(pl.col(flag))
        places = _places(runs(image["vessel_id"]))
    ids, cuts = image["@id"], [0] if places else []
    for start, _ in list(places.values())[1:]:
        cuts.append(load.data.index(f'\n"{ids[start]}"'.encode(), cuts[-1]) + 1)
    none = TableLoad(load.table, load.key, load.columns, load.source_ids.clear(), b"")
    found: defaultdict[str | None, TableLoad] = defaultdict(lambda: none)
    for (vessel, place), begin, end in zip(places.items(), cuts, [*cuts[1:], None], strict=False):
        frame = load.frame.slice(*place) if load.frame is not None else None
        ids_of = load.source_ids.slice(*place)
        found[vessel] = replace(none, source_ids=ids_of, data=load.data[begin:end], frame=frame)
    return found


def base(entity: Entity, image: pl.DataFrame) -> bytes:
    """What is written, compressed: `source_id`, every cell, and for tables that hold only some of the rows
    (`?table`) whether this is one. What `read_base` returns is such an image."""
    return _base(raw(image["source_id"]), _flags(image), table_loads(entity, image))


def bases(entity: Entity, image: pl.DataFrame) -> dict[str | None, tuple[int, bytes]]:
    """By `vessel_id`, whose rows lie next to each other, how many rows it has and their `base`."""
    whole = table_loads(entity, image)
    ids, flags = raw(image["source_id"]), _flags(image)
    main = entity.tables[0]
    image = image.with_columns(pl.col(f"{main.name}.{main.own_key}").alias("@id"))
    places = _places(runs(image["vessel_id"]))
    cuts = [_cut(load, image, places) for load in whole]
    return {
        vessel: (
            rows,
            _base(
                ids[16 * begin : 16 * (begin + rows)],
                {name: flag[begin : begin + rows] for name, flag in flags.items()},
                [cut[vessel] for cut in cuts],
            ),
        )
        for vessel, (begin, rows) in places.items()
    }


def _flags(image: pl.DataFrame) -> dict[str, list[bool]]:
    return {name: image[name].to_list() for name in image.columns if name.startswith("?")}


def _base(ids: bytes, flags: dict[str, list[bool]], loads: Sequence[TableLoad]) -> bytes:
    """The very CSV that is loaded, at zstd's fastest level: a third of the CPU that a frame of its own takes,
    and less room, since an id that two tables have costs next to nothing the second time."""
    tables = [(load.table, load.columns, load.data) for load in loads]
    return compress(_pack.encode((ids, flags, tables)))


def read_base(payload: bytes) -> pl.DataFrame:
    """The image that `base` was made of; where a row is not in a table, that table's cells are null. Raises
    CheckpointError for what is no such thing."""
    return read_bases([payload])[0]


def read_bases(payloads: Sequence[bytes]) -> tuple[pl.DataFrame, list[int]]:
    """The images of several parts of one entity, one below the other, and how many rows each has. Raises as
    `read_base`. Their CSV is read at once: many small parts cost little more than one large one."""
    try:
        parts = [_unpack.decode(expand(payload, _A_PART)) for payload in payloads]
        frames = [_read(list(alike)) for _, alike in groupby(parts, key=_layout)]
        rows = [len(ids) // 16 for ids, _, _ in parts]
    except (msgspec.MsgspecError, pl.exceptions.PolarsError, ValueError):
        raise unreadable(_A_PART) from None
    return pl.concat(frames), rows


def _layout(part: _Part) -> tuple[list[str], list[tuple[str, list[str]]]]:
    _, flags, tables = part
    return list(flags), [(table, columns) for table, columns, _ in tables]


def _read(parts: Sequence[_Part]) -> pl.DataFrame:
    """Parts with the same tables and columns."""
    frame = pl.DataFrame({"source_id": canonical(b"".join(ids for ids, _, _ in parts))})
    flags, tables = _layout(parts[0])
    frame = frame.with_columns(
        pl.Series(name, [held for _, all_held, _ in parts for held in all_held[name]], dtype=pl.Boolean)
        for name in flags
    )
    for index, (table, columns) in enumerate(tables):
        data = b"".join(loads[index][2] for _, _, loads in parts)
        cells = from_csv(data, [f"{table}.{column}" for column in columns])
        if f"?{table}" in flags:
            rows = frame.with_row_index("~row").select("~row", f"?{table}").filter(pl.col(f"?{table}"))
            cells = (
                frame.with_row_index("~row")
                .select("~row")
                .join(cells.with_columns(rows["~row"]), on="~row", how="left", maintain_order="left")
                .drop("~row")
            )
        frame = frame.hstack(cells)
    return frame
