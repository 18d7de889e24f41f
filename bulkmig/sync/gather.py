"""Gathers, while a unit's rows stream by, which are new, changed or gone since they were last written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

import anyio
import polars as pl
from msgspec import Struct, field

from bulkmig._core.declare import Entity
from bulkmig._core.frames import any_true
from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Unit
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import base
from bulkmig.postgres.session import Connection
from bulkmig.sync.hashes import HASH, hashes, index, indexed, kept_cells, normal
from bulkmig.sync.kept import pending
from bulkmig.sync.moves import Moves
from bulkmig.sync.orphans import elsewhere, orphans
from bulkmig.target.postgres import ends
from bulkmig.transform import Outcome


class Found(Struct):
    """What became of one entity's rows of some vessels. `new` and `changed` are images. Source id -> vessel:
    `gone` are written and the source has them no more; `held`: written ones that would now be kept out;
    `with_parent`: rows, written or new, that stay with a parent which is held; `ids`: their target ids.
    `left`: rows of which nothing is decided; `back`: rows that stay on the vessel that they would leave;
    `waits`: written ones that went with their ends, so that they aren't there; `went`: those among them that
    did so in this run, which were there when it began; `left_for`: those of `gone` that the source has on a
    vessel that is not in the target; `written`: rows a vessel that were; `base`: those as they were last
    written, or None where they have to be read again."""

    new: list[pl.DataFrame] = field(default_factory=list)
    changed: list[pl.DataFrame] = field(default_factory=list)
    unchanged: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    gone: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    with_parent: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    back: set[str] = field(default_factory=set)
    waits: set[str] = field(default_factory=set)
    went: set[str] = field(default_factory=set)
    left_for: set[str] = field(default_factory=set)
    written: Counter[str] = field(default_factory=Counter)
    base: pl.DataFrame | None = None
    findings: list[pl.DataFrame] = field(default_factory=list)
    quarantined: list[pl.DataFrame] = field(default_factory=list)
    waiting: list[pl.DataFrame] = field(default_factory=list)
    elsewhere: list[pl.DataFrame] = field(default_factory=list)

    @property
    def eventful(self) -> bool:
        """Whether anything is to be decided of these rows."""
        images = (*self.new, *self.changed)
        return bool(self.gone or self.held or any(image.height for image in images))


class Gather:
    """A pipeline's sink for the vessels of a unit. `found` is complete when `finish` is done; `orphaned`:
    vessels that have rows which have lost their parents. `keeps`: what was last written of them is kept until
    it is decided about, and not read twice."""

    def __init__(self, target: Connection, unit: Unit, moves: Moves, run_id: str, *, keeps: bool) -> None:
        self.target, self.unit, self.vessels = target, unit, unit.vessels
        self._run_id, self._keeps = run_id, keeps
        self._moves = moves
        self.found: defaultdict[str, Found] = defaultdict(Found)
        self.orphaned: set[str] = set()
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
        """The index of what is written: of the vessels' own rows without those that left, and of those that
        came from others."""
        if entity.name in self._written:
            return self._written[entity.name]
        left = [id_ for vessel in self.vessels for id_ in self._moves.left[vessel][entity.name]]
        came = {id_: vessel for vessel in self.vessels for id_ in self._moves.came[vessel][entity.name]}
        before = {then for vessel in self.vessels for then in self._moves.came[vessel][entity.name].values()}
        frames = []
        for owners, which in (
            (self.unit.reads(entity.name), ~pl.col("source_id").is_in(left)),
            (sorted(before), pl.col("source_id").is_in(list(came))),
        ):
            shape = indexed(entity, which, whole=self._keeps)
            frame = await base.read(self.target, owners, entity.name, shape=shape) if owners else None
            if frame is not None:
                frames.append(frame)
        written = pl.concat(frames) if frames else None
        if written is not None and came:
            here = pl.col("source_id").replace_strict(came, default=None, return_dtype=pl.String)
            written = written.with_columns(pl.coalesce(here, base.OWNER).alias(base.OWNER))
        if written is not None and entity.waits is not None:
            waiting = await pending(self.target, {*self.vessels, *before}, entity)
            found = self.found[entity.name]
            found.waits = waiting.keys() & set(written["source_id"])
            found.went = {id_ for id_ in found.waits if waiting[id_] == self._run_id}
        if written is not None and self._keeps:
            self.found[entity.name].base = written
            written = written.select(*index(entity), base.OWNER)
        self._written[entity.name] = written
        return written

    def pack(self, outcome: Outcome) -> list[Parcel]:
        own, elsewhere = outcome.findings, None
        if outcome.entity.ancestors and own.height:
            here = pl.col("vessel_id").is_in(self.vessels)
            own, elsewhere = own.filter(here), own.filter(~here)
        image = normal(outcome.entity, outcome.image)
        if outcome.entity.waits is not None and self.unit.decisions.on_error == "quarantine":
            self._abroad.setdefault(outcome.entity.name, []).append(self._named_abroad(outcome))
        held = self._held_back(outcome)
        if held is not None and held.height:
            found, main = self.found[outcome.entity.name], outcome.entity.tables[0]
            found.with_parent.update(held.iter_rows())
            kept = pl.col("source_id").is_in(held["id"].to_list())
            found.ids.update(
                image.filter(kept).select("source_id", f"{main.name}.{main.own_key}").iter_rows()
            )
            image = image.filter(~kept)
        return [Parcel(outcome.entity, None, image, own, outcome.quarantined, outcome.waiting, elsewhere)]

    def _named_abroad(self, outcome: Outcome) -> pl.DataFrame:
        """Rows with an end on another vessel that this run looks at itself."""
        due = list(self.unit.decisions.vessels_due)
        others = (
            pl.col(vessel).is_in(due) & (pl.col(vessel) != pl.col("vessel_id"))
            for _, vessel in abroad(outcome.raw.columns)
        )
        sound = pl.concat([outcome.image["source_id"], outcome.waiting["id"]])
        return outcome.raw.filter(pl.any_horizontal(*others) & pl.col("id").is_in(sound.implode()))

    def _held_back(self, outcome: Outcome) -> pl.DataFrame | None:
        """Rows (id, vessel) that would lose what they hang on only because that is kept as it was last
        written: they keep it (mapping.md: "so do its loaded children; new children wait")."""
        entity = outcome.entity
        written = self._written.get("equipment")
        spare = any(table.when is not None for table in entity.tables)
        if written is None or not spare:
            return None
        column = next((r.column for r in entity.references if r.entity == "equipment"), None)
        if column is None:
            return None
        out = self.unit.keys.find(outcome.raw[column], outcome.raw["vessel_id"]).fill_null(value=False)
        if not any_true(out):
            return None
        kept = outcome.raw.filter(out).select("id", "vessel_id", column)
        own = written.select(pl.col("source_id").alias(column), pl.col(base.OWNER).alias("vessel_id"))
        return kept.join(own, on=[column, "vessel_id"], how="semi", maintain_order="left").select(
            "id", "vessel_id"
        )

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
        image = image.join(
            written,
            left_on=["source_id", "vessel_id"],
            right_on=["source_id", base.OWNER],
            how="left",
            maintain_order="left",
        )
        kept = kept_cells(entity)
        image = image.with_columns(pl.coalesce(f"{cell}~kept", cell).alias(cell) for cell in kept)
        there = image[HASH].is_not_null()
        same = (hashes(entity, image) == image[HASH]).fill_null(value=False)
        # Also what came from another vessel as it was there: it is this vessel's from now on. And what waits:
        # it isn't there.
        came = [id_ for vessel in self.vessels for id_ in self._moves.came[vessel][entity.name]]
        if came or found.waits:
            same &= ~image["source_id"].is_in([*came, *found.waits])
        image = image.drop(HASH, *(f"{cell}~kept" for cell in kept))
        self._count(entity, image.filter(same))
        found.new.append(image.filter(~there))
        found.changed.append(image.filter(there & ~same))
        self._seen(entity, image)

    def _count(self, entity: Entity, unchanged: pl.DataFrame) -> None:
        counts = [
            (pl.len() if table.when is None else pl.col(f"?{table.name}").sum()).alias(table.name)
            for table in entity.tables
        ]
        for row in unchanged.group_by("vessel_id").agg(counts).iter_rows(named=True):
            self.found[entity.name].unchanged[row.pop("vessel_id")] += Counter(row)

    def _seen(self, entity: Entity, image: pl.DataFrame) -> None:
        written = self._written[entity.name]
        assert written is not None
        left = self._left.get(entity.name, written.select("source_id", base.OWNER))
        self._left[entity.name] = left.join(
            image, left_on=["source_id", base.OWNER], right_on=["source_id", "vessel_id"], how="anti"
        )

    @property
    def out(self) -> set[str]:
        """The vessels' equipment that is quarantined (source ids)."""
        return {id_ for frame in self.found["equipment"].quarantined for id_ in frame["source_id"]}

    def abroad(self, entity: Entity) -> pl.DataFrame | None:
        """Source rows that are new, have changed or are written and wait for an end, and name equipment of
        other vessels of this run."""
        found = self.found[entity.name]
        ids = [id_ for frame in (*found.new, *found.changed) for id_ in frame["source_id"]]
        ids += [id_ for frame in found.waiting for id_ in frame["id"] if id_ in found.held]
        rows = [frame.filter(pl.col("id").is_in(ids)) for frame in self._abroad.get(entity.name, ())]
        rows = [frame for frame in rows if frame.height]
        return pl.concat(rows) if rows else None

    @property
    def unsteady(self) -> set[str]:
        """Vessels of which something came, went or is kept out that rows hang on which weren't read."""
        found, vessels = self.found["equipment"], set(self.unit.whole)
        for frame in (*found.new, *found.quarantined):
            vessels.update(frame["vessel_id"].unique())
        for rows in self.found.values():
            vessels.update(rows.gone.values())
        return vessels.union(found.held.values()) & self.unit.unread.keys()

    def keep_out(self, entity: Entity, quarantined: pl.DataFrame, findings: pl.DataFrame) -> None:
        """These rows are not written after all; what is written of them is kept as it is."""
        found, out = self.found[entity.name], quarantined["source_id"].to_list()
        found.new = [frame.filter(~pl.col("source_id").is_in(out)) for frame in found.new]
        found.changed = [frame.filter(~pl.col("source_id").is_in(out)) for frame in found.changed]
        found.waiting = [frame.filter(~pl.col("id").is_in(out)) for frame in found.waiting]
        found.quarantined.append(quarantined)
        found.findings.append(findings)
        written = self._written.get(entity.name)
        if written is not None:
            found.held.update(_owned(written.filter(pl.col("source_id").is_in(out))))

    def leave(self, entity: Entity, ids: Collection[str]) -> None:
        """Nothing is decided about these rows."""
        if ids:
            found = self.found[entity.name]
            found.new = [frame.filter(~pl.col("source_id").is_in(list(ids))) for frame in found.new]
            found.changed = [frame.filter(~pl.col("source_id").is_in(list(ids))) for frame in found.changed]
            found.left.update(ids)

    async def keep_orphans(self, source: Connection) -> None:
        """Rows whose parent the source has no more belong to no vessel, but they are there: written ones are
        kept as they are. What becomes of them changes nothing that is seen of their vessels. Others that the
        source has go."""
        for entity in PER_VESSEL:
            found = self.found[entity.name]
            for id_ in await orphans(source, entity, found.gone):
                found.held[id_] = found.gone.pop(id_)
                self.orphaned.add(found.held[id_])
            found.left_for = await elsewhere(source, entity, found.gone)

    async def finish(self) -> None:
        """Tells what is gone from what would now be kept out."""
        for entity in (entity for entity in PER_VESSEL if entity.tables):
            written = await self._written_of(entity)
            if written is None:
                continue
            found = self.found[entity.name]
            there = written.filter(~pl.col("source_id").is_in(list(found.waits - found.went)))
            found.written = Counter(dict(there[base.OWNER].value_counts().iter_rows()))
            out = {id_ for frame in found.quarantined for id_ in frame["source_id"]}
            out |= {id_ for frame in found.waiting for id_ in frame["id"]}
            out |= found.with_parent.keys()
            if out:
                found.held = _owned(written.filter(pl.col("source_id").is_in(list(out))))
            left = _owned(self._left.get(entity.name, written))
            for id_, vessel in left.items():
                if id_ in found.held or not self._moves.decides(vessel, entity):
                    continue  # what else becomes of it, gone.py says
                # A vessel that is kept out keeps all of it.
                if vessel in self.unit.whole or id_ in self._moves.away[vessel][entity.name]:
                    found.held[id_] = found.with_parent[id_] = vessel
                else:
                    found.gone[id_] = vessel


def _owned(written: pl.DataFrame) -> dict[str, str]:
    """Source id -> vessel."""
    return dict(written.select("source_id", base.OWNER).iter_rows())


def abroad(columns: Sequence[str]) -> list[tuple[str, str]]:
    """Of source rows, the columns that name equipment of whatever vessel, and those that hold its vessel."""
    ends = ((column, column.replace("_equipment_id", "_vessel")) for column in columns)
    return [(column, vessel) for column, vessel in ends if vessel != column and vessel in columns]
