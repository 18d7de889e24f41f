"""Gathers, while a vessel's rows stream by, which are new, changed or gone since they were last written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Unit
from bulkmig.encode import parcels
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import base
from bulkmig.postgres.session import Connection
from bulkmig.sync.moves import Moves
from bulkmig.target.postgres import ends
from bulkmig.transform import Outcome

HASH = "~hash"


@dataclass
class Found:
    """What became of one entity's rows of one vessel. `new` and `changed` are images; `gone`: source ids that
    are written and that the source has no more; `held`: written ones that would now be kept out;
    `with_parent`: rows, written or new, that stay with a parent which is held."""

    new: list[pl.DataFrame] = field(default_factory=list)
    changed: list[pl.DataFrame] = field(default_factory=list)
    unchanged: Counter[str] = field(default_factory=Counter)  # target table
    gone: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    with_parent: set[str] = field(default_factory=set)
    written: int = 0
    findings: list[pl.DataFrame] = field(default_factory=list)
    quarantined: list[pl.DataFrame] = field(default_factory=list)
    waiting: list[pl.DataFrame] = field(default_factory=list)
    elsewhere: list[pl.DataFrame] = field(default_factory=list)


def rows_of(entity: Entity, image: pl.DataFrame) -> Counter[str]:
    """How many rows of each of the entity's tables an image stands for."""
    return Counter(
        {
            table.name: image.height if table.when is None else int(image[f"?{table.name}"].sum())
            for table in entity.tables
        }
    )


class Gather:
    """A pipeline's sink for one vessel. `found` is complete when `finish` is done."""

    def __init__(self, target: Connection, unit: Unit, vessel: str, moves: Moves) -> None:
        self.target, self.unit, self.vessel = target, unit, vessel
        self.came, self.gone_elsewhere = moves.came[vessel], moves.left[vessel]
        self.vanished = vessel in moves.vanished
        self.found: defaultdict[str, Found] = defaultdict(Found)
        self._session = anyio.Lock()  # two actors ask the one target session
        self._written: dict[str, pl.DataFrame | None] = {}
        self._left: dict[str, pl.DataFrame] = {}  # written and not seen again so far
        self._abroad: dict[str, list[pl.DataFrame]] = {}  # source rows with ends on other vessels of the run

    async def look_up(self, entity: Entity, frame: pl.DataFrame) -> None:
        """Reads what was written of the entity, and what the target knows of other vessels' equipment."""
        if not entity.tables:
            return
        async with self._session:
            await self._written_of(entity)
            if entity.waits is not None:
                wanted: set[str] = set()
                for reference in entity.references:
                    if reference.entity == "equipment":
                        own = self.unit.keys.find(frame[reference.column], frame["vessel_id"])
                        wanted.update(frame.filter(own.is_null())[reference.column].drop_nulls())
                self.unit.ends = await ends(self.target, sorted(wanted)) if wanted else None

    async def _written_of(self, entity: Entity) -> pl.DataFrame | None:
        if entity.name not in self._written:
            frames = []
            left, came = list(self.gone_elsewhere[entity.name]), self.came[entity.name]
            for vessel, which in (
                (self.vessel, ~pl.col("source_id").is_in(left)),
                *((other, pl.col("source_id").is_in(list(came))) for other in sorted(set(came.values()))),
            ):
                frame = await base.read(self.target, [vessel], entity.name, shape=_index(entity, which))
                if frame is not None:
                    frames.append(frame)
            self._written[entity.name] = pl.concat(frames) if frames else None
        return self._written[entity.name]

    def pack(self, outcome: Outcome) -> list[Parcel]:
        made = parcels(outcome, self.unit.vessels)
        for parcel in made:
            parcel.image = normal(outcome.entity, parcel.image)
        if outcome.entity.waits is not None and self.unit.decisions.on_error == "quarantine":
            self._abroad.setdefault(outcome.entity.name, []).append(self._named_abroad(outcome))
        held = self._held_back(outcome)
        if held:
            for parcel in made:
                parcel.image = parcel.image.filter(~pl.col("source_id").is_in(held))
                self.found[outcome.entity.name].with_parent.update(held)
        return made

    def _named_abroad(self, outcome: Outcome) -> pl.DataFrame:
        due = list(self.unit.decisions.vessels_due - {self.vessel})
        others = (pl.col(vessel).is_in(due) for _, vessel in abroad(outcome.raw.columns))
        rows = outcome.raw.filter(pl.col("id").is_in(outcome.image["source_id"].to_list()))
        return rows.filter(pl.any_horizontal(*others))

    def _held_back(self, outcome: Outcome) -> list[str]:
        """Rows that would lose what they hang on only because that is kept as it was last written: they keep
        it (mapping.md: "so do its loaded children; new children wait")."""
        entity = outcome.entity
        written = self._written.get("equipment")
        spare = any(table.when is not None for table in entity.tables)
        if written is None or not spare:
            return []
        column = next((r.column for r in entity.references if r.entity == "equipment"), None)
        if column is None:
            return []
        out = self.unit.keys.find(outcome.raw[column], outcome.raw["vessel_id"]).fill_null(value=False)
        kept = outcome.raw.filter(out & outcome.raw[column].is_in(written["source_id"].to_list()))
        return kept["id"].to_list()

    async def accept(self, parcel: Parcel) -> None:
        entity, found = parcel.entity, self.found[parcel.entity.name]
        found.findings.append(parcel.findings)
        found.quarantined.append(parcel.quarantined)
        found.waiting.append(parcel.waiting)
        if parcel.elsewhere is not None:
            found.elsewhere.append(parcel.elsewhere)
        written = self._written.get(entity.name)
        image = parcel.image
        if not image.height:
            return
        if written is None:
            found.new.append(image)
            return
        image = image.join(written, on="source_id", how="left", maintain_order="left")
        kept = kept_cells(entity)
        image = image.with_columns(pl.coalesce(f"{cell}~kept", cell).alias(cell) for cell in kept)
        there = image[HASH].is_not_null()
        same = (hashes(entity, image) == image[HASH]).fill_null(value=False)
        if self.came[entity.name]:  # also what is as it was there: it is this vessel's from now on
            same &= ~image["source_id"].is_in(list(self.came[entity.name]))
        image = image.drop(HASH, *(f"{cell}~kept" for cell in kept))
        found.unchanged += rows_of(entity, image.filter(same))
        found.new.append(image.filter(~there))
        found.changed.append(image.filter(there & ~same))
        self._seen(entity, image["source_id"])

    def _seen(self, entity: Entity, source_ids: pl.Series) -> None:
        written = self._written[entity.name]
        assert written is not None
        seen = pl.DataFrame({"source_id": source_ids})
        self._left[entity.name] = self._left.get(entity.name, written.select("source_id")).join(
            seen, on="source_id", how="anti"
        )

    @property
    def out(self) -> set[str]:
        """The vessel's equipment that is quarantined (source ids)."""
        return {id_ for frame in self.found["equipment"].quarantined for id_ in frame["source_id"]}

    def abroad(self, entity: Entity) -> pl.DataFrame | None:
        """Source rows that are new or have changed and name equipment of other vessels of this run."""
        found = self.found[entity.name]
        ids = [id_ for frame in (*found.new, *found.changed) for id_ in frame["source_id"]]
        rows = [frame.filter(pl.col("id").is_in(ids)) for frame in self._abroad.get(entity.name, ())]
        rows = [frame for frame in rows if frame.height]
        return pl.concat(rows) if rows else None

    def keep_out(self, entity: Entity, quarantined: pl.DataFrame, findings: pl.DataFrame) -> None:
        """These rows are not written after all; what is written of them is kept as it is."""
        found, out = self.found[entity.name], quarantined["source_id"].to_list()
        found.new = [frame.filter(~pl.col("source_id").is_in(out)) for frame in found.new]
        found.changed = [frame.filter(~pl.col("source_id").is_in(out)) for frame in found.changed]
        found.quarantined.append(quarantined)
        found.findings.append(findings)
        written = self._written.get(entity.name)
        found.held |= set(out) & set(() if written is None else written["source_id"])

    async def keep_orphans(self, source: Connection) -> None:
        """Rows whose parent the source has no more belong to no vessel, but they are there: written ones are
        kept as they are."""
        for entity in PER_VESSEL:
            found = self.found[entity.name]
            if entity.through is not None and found.gone:
                rows = await source.fetch(
                    f"SELECT id::text FROM {entity.source} WHERE id = ANY ($1::text[]::uuid[])",
                    sorted(found.gone),
                )
                there = {row["id"] for row in rows}
                found.gone -= there
                found.held |= there

    async def finish(self) -> None:
        """Tells what is gone from what would now be kept out."""
        for entity in (entity for entity in PER_VESSEL if entity.tables):
            written = await self._written_of(entity)
            if written is None:
                continue
            found = self.found[entity.name]
            found.written = written.height
            left = set(self._left.get(entity.name, written)["source_id"])
            out = {id_ for frame in found.quarantined for id_ in frame["source_id"]}
            out |= {id_ for frame in found.waiting for id_ in frame["id"]}
            found.held = (found.with_parent | out) & set(written["source_id"])
            found.gone = left - found.held
            if self.vessel in self.unit.whole:  # a vessel that is kept out keeps all of it
                found.with_parent |= found.gone
                found.held |= found.gone
            if self.vanished or self.vessel in self.unit.whole:
                found.gone = set()  # gone.py is about those of a vessel that vanished


def abroad(columns: Sequence[str]) -> list[tuple[str, str]]:
    """Of source rows, the columns that name equipment of whatever vessel, and those that hold its vessel."""
    ends = ((column, column.replace("_equipment_id", "_vessel")) for column in columns)
    return [(column, vessel) for column, vessel in ends if vessel != column and vessel in columns]


def kept_cells(entity: Entity) -> list[str]:
    """The cells that are assigned once."""
    return [f"{t.name}.{name}" for t in entity.tables for name, cell in t.cells.items() if cell.kept]


def normal(entity: Entity, image: pl.DataFrame) -> pl.DataFrame:
    """The image as the base keeps it: null in the cells of tables that a row is not in."""
    return image.with_columns(
        pl.when(f"?{table.name}").then(f"{table.name}.{name}").alias(f"{table.name}.{name}")
        for table in entity.tables
        if table.when is not None
        for name in table.cells
    )


def hashes(entity: Entity, image: pl.DataFrame) -> pl.Series:
    """A hash of each row's cells; the same within a process alone."""
    flags = [f"?{table.name}" for table in entity.tables if table.when is not None]
    cells = [f"{table.name}.{name}" for table in entity.tables for name in table.cells]
    return image.select(*flags, pl.col(cells).cast(pl.String)).hash_rows()


def _index(entity: Entity, which: pl.Expr) -> base.Shape:
    return lambda frame: frame.filter(which).select(
        "source_id",
        pl.Series(HASH, hashes(entity, frame.filter(which))),
        *(pl.col(cell).alias(f"{cell}~kept") for cell in kept_cells(entity)),
    )
