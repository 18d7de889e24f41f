"""What a vessel's sync does, decided row by row before anything is written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.unit import Catalogue
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.entities import ENTITIES
from bulkmig.entities import entity as entity_of
from bulkmig.ledger import base
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection
from bulkmig.sync import conflicts, held
from bulkmig.sync.decide import Conflict, decide
from bulkmig.sync.gather import Found
from bulkmig.sync.moves import Moves
from bulkmig.sync.row import Row, cells_of, ends_of, equal, make
from bulkmig.sync.standing import standing
from bulkmig.sync.strategies._strategy import Strategy

# Why rows are retained: what they hang on is; the brake holds; what they would hang on isn't there.
WITH_PARENT, BY_BRAKE, WITHOUT_PARENT = "with_parent", "brake", "without_parent"
# Those that go when that is over.
FOR_NOW = (WITH_PARENT, BY_BRAKE)
IN_USE = "in_use"


@dataclass
class Part:
    """One entity's share. Rows by target id: `write` is to stand in the target, `was` is what stands there
    (None: nothing), `delete` goes, `went` has gone with its ends by bulkmig's doing, `untouched` stays as it
    is, be there a new base. By source id: `base` is last written from now on, `forget` no longer bulkmig's,
    `stands` what stands where that isn't the base, `waiting` new rows whose ends aren't there."""

    entity: Entity
    write: dict[str, Row] = field(default_factory=dict)
    was: dict[str, Row | None] = field(default_factory=dict)
    delete: dict[str, str] = field(default_factory=dict)  # target id -> source id
    base: dict[str, Row] = field(default_factory=dict)
    forget: set[str] = field(default_factory=set)
    stands: dict[str, Row] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    went: set[str] = field(default_factory=set)
    untouched: set[str] = field(default_factory=set)
    conflicts: list[tuple[str, str, Conflict]] = field(default_factory=list)  # source id, target id
    retained: dict[str, tuple[str, str]] = field(default_factory=dict)  # source id -> target id, reason
    unchanged: Counter[str] = field(default_factory=Counter)  # target table

    @property
    def idle(self) -> bool:
        """Whether nothing of it changes, in the target or in the base."""
        return not (self.write or self.delete or self.base or self.forget or self.conflicts or self.retained)

    @property
    def let_go(self) -> set[str]:
        """Target ids of equipment that rows let go of."""
        left: set[str] = set()
        for id_ in (*self.write, *self.delete):
            was, row = self.was[id_], self.write.get(id_)
            if was is not None:
                left |= ends_of(self.entity, was) - (ends_of(self.entity, row) if row is not None else set())
        return left

    @property
    def rows(self) -> int:
        """How many target rows are written or deleted."""
        return (len(self.write) + len(self.delete)) * len(self.entity.tables)


@dataclass
class Plan:
    """All entities' shares. `brake`: how many deletions it holds back."""

    parts: dict[str, Part] = field(default_factory=lambda: {e.name: Part(e) for e in ENTITIES})
    brake: int = 0

    @property
    def empty(self) -> bool:
        """Whether neither the target nor the base changes."""
        return all(part.idle for part in self.parts.values())


@dataclass(frozen=True)
class Rules:
    """What a run decides by. The brake holds a vessel's deletions back where more than `brake_share` of the
    rows that bulkmig wrote, and at least `brake_least` equipment, would go. `spares`: vessels that
    were rolled back, be it since the run has chosen them, are left alone."""

    strategy: Strategy
    catalogue: Catalogue
    allow_deletions: bool
    brake_share: float
    brake_least: int
    spares: bool


async def plan(
    connection: Connection,
    owners: Sequence[str],
    found: Mapping[str, Found],
    rules: Rules,
    moves: Moves | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    anew: Collection[tuple[str, str]] = (),
) -> dict[str, Plan]:
    """Decides everything for these vessels (or the nil UUID: companies and users); locks the rows that it
    concerns. `anew`: rows (entity, source id) to be decided about again although they stay on purpose."""
    made, moves = {owner: Plan() for owner in owners}, moves or Moves()
    vessels = [owner for owner in owners if owner != NIL]
    if not any(rows.eventful for rows in found.values()) and not any(map(moves.concern, vessels)):
        for owner, own in made.items():
            for name, rows in found.items():
                own.parts[name].unchanged = rows.unchanged[owner]
        return made
    opened = await conflicts.open_ones(connection, vessels)
    retained = await _retained(connection, vessels)
    stay = {row for row, (reason, _) in retained.items() if reason not in (*FOR_NOW, IN_USE)}
    freed = await held.free(connection, checkpoints, vessels) if checkpoints is not None else {}
    gone = _brake(made, found, rules, stay, {*anew, *(("equipment", source) for source in freed)})
    for entity in ENTITIES:
        if entity.name in found and entity.tables:
            look = _Look(entity, made, found[entity.name], moves, opened, retained)
            await look.keep(connection)
            await look.decide(connection, gone[entity.name], rules)
    left = {end for plan in made.values() for part in plan.parts.values() for end in part.let_go}
    if left and vessels:
        # Equipment that stayed for rows which let go of it now.
        on = found["equipment"].gone
        again = {
            source: on[source]
            for (of, source), (reason, id_) in retained.items()
            if of == "equipment" and reason == held.BY_ROW and id_ in left and source in on
        }
        again = {s: v for s, v in again.items() if s not in gone["equipment"] and not made[v].brake}
        look = _Look(entity_of("equipment"), made, Found(), moves, opened, retained)
        await look.decide(connection, again, rules)
    return made


@dataclass
class _Look:
    """One entity's rows of the vessels that are planned together. `opened`: (entity, source id) of rows with
    open conflicts; `retained`: of those that stay on purpose, with reason and target id."""

    entity: Entity
    made: Mapping[str, Plan]
    rows: Found
    moves: Moves
    opened: Collection[tuple[str, str]]
    retained: Mapping[tuple[str, str], tuple[str, str]]
    came: dict[str, str] = field(default_factory=dict)  # source id -> the vessel that it was written on

    def __post_init__(self) -> None:
        for owner in self.made:
            self.came |= self.moves.came[owner][self.entity.name]

    def part(self, owner: str) -> Part:
        return self.made[owner].parts[self.entity.name]

    async def _bases(self, connection: Connection, owner_of: Mapping[str, str]) -> dict[str, Row]:
        """Source id -> what was last written of it, of rows (source id -> vessel) that are there."""
        owners = {*owner_of.values(), *(self.came[id_] for id_ in owner_of if id_ in self.came)}
        rows = await base.among(connection, sorted(owners), self.entity.name, owner_of) if owner_of else None
        if rows is None:
            return {}
        return {values["source_id"]: make(self.entity, values) for values in rows.iter_rows(named=True)}

    async def keep(self, connection: Connection) -> None:
        """Rows that stay as they were last written."""
        rows, name = self.rows, self.entity.name
        # What stayed with a parent that is held no more needs a reason of its own.
        kept = {
            source
            for (of, source), (reason, _) in self.retained.items()
            if of == name and (reason != WITH_PARENT or source in rows.with_parent)
        }
        held = {s: v for s, v in rows.with_parent.items() if s in rows.held and s not in kept}
        braked = {s: v for s, v in rows.gone.items() if self.made[v].brake and s not in kept}
        for owner in self.made:
            self.part(owner).unchanged = rows.unchanged[owner]
            self.part(owner).forget |= self.moves.left[owner][name]
        out = {source for frame in rows.quarantined for source in frame["source_id"]} & rows.held.keys()
        if self.entity.waits is not None and out:
            # A rollback took these along, and now they don't wait any more: should they come, they are new.
            waited = out & await pending(connection, {*self.made}, self.entity)
            for source, row in (await self._bases(connection, {s: rows.held[s] for s in waited})).items():
                self._went(rows.held[source], source, row)
        for staying, reason in ((held, WITH_PARENT), (braked, BY_BRAKE)):
            for source, row in (await self._bases(connection, staying)).items():
                own = self.part(staying[source])
                own.retained[source] = (row[_own(self.entity)] or "", reason)
        for source in rows.ids.keys() - rows.held.keys() - kept:  # new ones wait
            self.part(rows.with_parent[source]).retained[source] = (rows.ids[source], WITH_PARENT)
        # Rows that moved and are kept as they were last written are this vessel's from now on all the same.
        moved = {source: vessel for source, vessel in rows.held.items() if source in self.came}
        for source, row in (await self._bases(connection, moved)).items():
            self.part(moved[source]).base[source] = row

    def _went(self, owner: str, source: str, row: Row) -> None:
        """Forgets a row that went with its ends."""
        self.part(owner).forget.add(source)
        self.part(owner).went.add(row[_own(self.entity)] or "")

    async def decide(self, connection: Connection, gone: Mapping[str, str], rules: Rules) -> None:
        """Rows that are new, have changed or are gone."""
        entity, own, came = self.entity, _own(self.entity), self.came
        owner_of = dict(gone)
        sources: dict[str, Row | None] = dict.fromkeys(gone)
        alone = next(iter(self.made)) if len(self.made) == 1 else None
        for frame in (*self.rows.new, *self.rows.changed):
            for values in frame.iter_rows(named=True):
                source = values["source_id"]
                owner_of[source], sources[source] = alone or values["vessel_id"], make(entity, values)
        for of, source in self.opened:
            if of == entity.name:
                sources.pop(source, None)
        if not sources:
            return
        bases = await self._bases(connection, {source: owner_of[source] for source in sources})
        if entity.waits is not None and NIL not in self.made:
            # A rollback took these with their ends: nobody has deleted them.
            waited = await pending(connection, {*self.made, *came.values()}, entity)
            for source in waited & bases.keys():
                if sources[source] is None:
                    del sources[source]
                    self._went(owner_of[source], source, bases[source])
                del bases[source]
        ids = {
            source: (row or bases[source]).cells[own] or ""
            for source, row in sources.items()
            if row is not None or source in bases
        }
        there = await standing(connection, entity, ids.values())
        loose = await self._loose(connection, sources, bases, there, ids)
        types = {
            c: rules.catalogue[t.name][c.partition(".")[2]].type for c, (t, _) in cells_of(entity).items()
        }
        for source, row in sources.items():
            part, was = self.part(owner_of[source]), there.get(ids.get(source, ""))
            if source in loose:
                # It went with its end, and is decided about when that is there again.
                if source in came:
                    part.base[source] = bases[source]
                continue
            verdict = decide(entity, types, rules.strategy, bases.get(source), row, was)
            id_ = ids[source]
            part.was[id_] = was
            if verdict.write and verdict.row is not None:
                part.write[id_] = verdict.row
            elif verdict.write:
                part.delete[id_] = source
            if verdict.base is None:
                part.forget.add(source)
            elif source in came or not equal(entity, verdict.base, bases.get(source)):
                part.base[source] = verdict.base
                if not verdict.write and source not in came:
                    part.untouched.add(id_)
            if verdict.row and verdict.base and not equal(entity, verdict.row, verdict.base):
                part.stands[source] = verdict.row
            if verdict.conflict is not None:
                part.conflicts.append((source, id_, verdict.conflict))
                spared = verdict.conflict.kind == "deleted_in_source" and not verdict.write
                if spared and not verdict.conflict.open:
                    part.retained[source] = (id_, "conflict")
        source_of = {id_: source for source, id_ in ids.items()}
        for part, id_ in await self._without_equipment(connection):
            # The portal deleted what it hangs on, and so the row; a new one comes when that is there again.
            del part.write[id_]
            if (source := source_of[id_]) in bases:
                continue
            del part.base[source]
            if entity.waits is not None:
                part.waiting.add(source)
            elif (entity.name, source) not in self.retained:
                part.retained[source] = (id_, WITHOUT_PARENT)

    async def _without_equipment(self, connection: Connection) -> list[tuple[Part, str]]:
        """Rows (target ids) that would come and name equipment which won't be there."""
        ends = [
            (part, id_, ends_of(self.entity, row))
            for part in map(self.part, self.made)
            for id_, row in part.write.items()
            if part.was[id_] is None
        ]
        missing = await self._absent(connection, [named for _, _, named in ends])
        return [(part, id_) for part, id_, named in ends if named & missing]

    async def _loose(
        self,
        connection: Connection,
        sources: Mapping[str, Row | None],
        bases: Mapping[str, Row],
        there: Mapping[str, Row],
        ids: Mapping[str, str],
    ) -> set[str]:
        """Source ids of rows that can wait for their ends, and went with one that the portal has deleted."""
        if self.entity.waits is None:
            return set()
        gone = {s: row for s, row in sources.items() if row and s in bases and ids[s] not in there}
        ends = {source: ends_of(self.entity, row) for source, row in gone.items()}
        missing = await self._absent(connection, ends.values())
        return {source for source, named in ends.items() if named & missing}

    async def _absent(self, connection: Connection, named: Iterable[set[str]]) -> set[str]:
        """Which of this equipment (target ids) is not in the target, and is not about to come."""
        wanted = {end for ends in named for end in ends}
        for plan in self.made.values() if wanted else ():
            wanted -= plan.parts["equipment"].write.keys()
        if not wanted:
            return set()
        rows = await connection.fetch(
            "SELECT id::text AS id FROM equipment WHERE id = ANY ($1::text[]::uuid[])", sorted(wanted)
        )
        return wanted - {row["id"] for row in rows}


def _own(entity: Entity) -> str:
    return f"{entity.tables[0].name}.{entity.tables[0].own_key}"


def _brake(
    made: Mapping[str, Plan],
    found: Mapping[str, Found],
    rules: Rules,
    stay: Collection[tuple[str, str]],
    freed: Collection[tuple[str, str]],
) -> defaultdict[str, dict[str, str]]:
    """Source ids that may be deleted, with their vessels, per entity; what `stay`s on purpose was gone
    before, and goes where it is `freed`."""
    gone: defaultdict[str, dict[str, str]] = defaultdict(dict)
    lost: defaultdict[str, Counter[str]] = defaultdict(Counter)  # vessel -> entity
    for name, rows in found.items():
        for source, owner in rows.gone.items():
            if (name, source) not in stay:
                lost[owner][name] += 1
            elif (name, source) not in freed:
                continue
            gone[name][source] = owner
    for owner, going in lost.items() if not rules.allow_deletions else ():
        written = sum(rows.written[owner] for rows in found.values())
        much = going.total() > rules.brake_share * written and going["equipment"] >= rules.brake_least
        if going["vessel"] or much:
            made[owner].brake = going.total()
    for name, sources in gone.items():
        gone[name] = {source: owner for source, owner in sources.items() if not made[owner].brake}
    return gone


async def pending(connection: Connection, vessels: Collection[str], entity: Entity) -> set[str]:
    """Source ids of the vessels' rows that wait for other vessels."""
    rows = await connection.fetch(
        "SELECT source_id::text AS id FROM bulkmig.pending"
        " WHERE entity = $1 AND vessel_id = ANY ($2::text[]::uuid[])",
        entity.name,
        sorted(vessels),
    )
    return {row["id"] for row in rows}


async def _retained(connection: Connection, vessels: Sequence[str]) -> dict[tuple[str, str], tuple[str, str]]:
    """(entity, source id) -> why the row stays, and its target id, of rows of these vessels (or of none) that
    stay on purpose."""
    rows = await connection.fetch(
        "SELECT entity, source_id::text, reason, target_id::text FROM bulkmig.retained"
        f" WHERE {conflicts.OF_THESE}",
        list(vessels),
    )
    return {(row["entity"], row["source_id"]): (row["reason"], row["target_id"]) for row in rows}


def frame_of(entity: Entity, rows: Iterable[tuple[str, str, Row]]) -> pl.DataFrame:
    """Rows (vessel, source id, row) as an image, the way the base keeps them."""
    listed = list(rows)
    return pl.DataFrame(
        {
            "vessel_id": [owner for owner, _, _ in listed],
            "source_id": [source for _, source, _ in listed],
            **{
                f"?{table.name}": [table.name in row.tables for _, _, row in listed]
                for table in entity.tables
                if table.when is not None
            },
            **{
                cell: pl.Series([row.cells.get(cell) for _, _, row in listed], dtype=pl.String)
                for cell in cells_of(entity)
            },
        }
    )
