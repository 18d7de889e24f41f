"""What a vessel's sync does, decided row by row before anything is written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.unit import Catalogue
from bulkmig.entities import ENTITIES
from bulkmig.ledger import base
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection
from bulkmig.sync import conflicts
from bulkmig.sync.decide import Conflict, decide
from bulkmig.sync.gather import Found
from bulkmig.sync.moves import Moves
from bulkmig.sync.row import Row, cells_of, equal, make
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
    (None: nothing), `delete` goes. By source id: `base` is last written from now on, `forget` no longer
    bulkmig's, `stands` what stands where that isn't the base, `waiting` new rows whose ends aren't there."""

    entity: Entity
    write: dict[str, Row] = field(default_factory=dict)
    was: dict[str, Row | None] = field(default_factory=dict)
    delete: dict[str, str] = field(default_factory=dict)  # target id -> source id
    base: dict[str, Row] = field(default_factory=dict)
    forget: set[str] = field(default_factory=set)
    stands: dict[str, Row] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    conflicts: list[tuple[str, str, Conflict]] = field(default_factory=list)  # source id, target id
    retained: dict[str, tuple[str, str]] = field(default_factory=dict)  # source id -> target id, reason
    unchanged: Counter[str] = field(default_factory=Counter)  # target table

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
        return not any(
            p.write or p.delete or p.base or p.forget or p.conflicts or p.retained
            for p in self.parts.values()
        )


@dataclass(frozen=True)
class Rules:
    """What a run decides by. The brake holds a vessel's deletions back where more than `brake_share` of the
    rows that bulkmig wrote, and at least `brake_least` equipment, would go."""

    strategy: Strategy
    catalogue: Catalogue
    allow_deletions: bool
    brake_share: float
    brake_least: int


async def plan(
    connection: Connection, owner: str, found: dict[str, Found], rules: Rules, moves: Moves | None = None
) -> Plan:
    """Decides everything for one vessel (or the nil UUID: companies and users); locks the rows that it
    concerns."""
    made, moves = Plan(), moves or Moves()
    vessel = None if owner == NIL else owner
    opened = await conflicts.open_ones(connection, vessel)
    retained = await _retained(connection, vessel)
    stay = {row for row, reason in retained.items() if reason not in (*FOR_NOW, IN_USE)}
    gone = _brake(made, found, rules, stay)
    for entity in ENTITIES:
        if entity.name not in found or not entity.tables:
            continue
        part, rows = made.parts[entity.name], found[entity.name]
        part.unchanged = rows.unchanged
        part.forget |= moves.left[owner][entity.name]
        out = rows.held & {source for frame in rows.quarantined for source in frame["source_id"]}
        if entity.waits is not None and out:
            # A rollback took these along, and now they don't wait any more: should they come, they are new.
            part.forget |= out & await pending(connection, owner, entity)
        came = moves.came[owner][entity.name]
        kept = {source for of, source in retained if of == entity.name}
        held = (rows.with_parent & rows.held) - kept
        owners = [owner, *sorted(set(came.values()))]
        for source, stays in (await _bases(connection, owners, entity, held)).items():
            part.retained[source] = (stays[_own(entity)] or "", WITH_PARENT)
        own = _own(entity)
        # Rows that moved and are kept as they were last written are this vessel's from now on all the same.
        moved = rows.held & came.keys()
        part.base |= await _bases(connection, sorted({came[source] for source in moved}), entity, moved)
        if made.brake:
            braked = rows.gone - kept
            for source, stays in (await _bases(connection, [owner], entity, braked)).items():
                part.retained[source] = (stays[_own(entity)] or "", BY_BRAKE)
        sources: dict[str, Row | None] = dict.fromkeys(gone[entity.name])
        for frame in (*rows.new, *rows.changed):
            for values in frame.iter_rows(named=True):
                sources[values["source_id"]] = make(entity, values)
        skipped = {source for of, source in opened if of == entity.name}
        sources = {s: row for s, row in sources.items() if s not in skipped}
        if not sources:
            continue
        bases = await _bases(connection, owners, entity, sources)
        if entity.waits is not None and owner != NIL:
            # A rollback took these with their ends: nobody has deleted them.
            waited = set().union(*[await pending(connection, of, entity) for of in owners])
            for source in waited & bases.keys():
                if sources[source] is None:
                    del sources[source]
                    part.forget.add(source)
                del bases[source]
        ids = {
            source: (row or bases[source]).cells[own] or ""
            for source, row in sources.items()
            if row is not None or source in bases
        }
        there = await standing(connection, entity, ids.values())
        loose = await _loose(connection, made, entity, sources, bases, there, ids)
        types = {
            c: rules.catalogue[t.name][c.partition(".")[2]].type for c, (t, _) in cells_of(entity).items()
        }
        for source, row in sources.items():
            was = there.get(ids.get(source, ""))
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
            if verdict.row and verdict.base and not equal(entity, verdict.row, verdict.base):
                part.stands[source] = verdict.row
            if verdict.conflict is not None:
                part.conflicts.append((source, id_, verdict.conflict))
                spared = verdict.conflict.kind == "deleted_in_source" and not verdict.write
                if spared and not verdict.conflict.open:
                    part.retained[source] = (id_, "conflict")
        source_of = {id_: source for source, id_ in ids.items()}
        for id_ in await _without_equipment(connection, made, entity):
            # The portal deleted what it hangs on, and so the row; a new one comes when that is there again.
            del part.write[id_]
            if (source := source_of[id_]) in bases:
                continue
            del part.base[source]
            if entity.waits is not None:
                part.waiting.add(source)
            elif source not in kept:
                part.retained[source] = (id_, WITHOUT_PARENT)
    return made


async def _without_equipment(connection: Connection, made: Plan, entity: Entity) -> list[str]:
    """Target ids of rows that would come and name equipment which won't be there."""
    part = made.parts[entity.name]
    ends = {id_: _ends(entity, row) for id_, row in part.write.items() if part.was[id_] is None}
    missing = await _absent(connection, made, ends.values())
    return [id_ for id_, named in ends.items() if named & missing]


async def _loose(
    connection: Connection,
    made: Plan,
    entity: Entity,
    sources: Mapping[str, Row | None],
    bases: Mapping[str, Row],
    there: Mapping[str, Row],
    ids: Mapping[str, str],
) -> set[str]:
    """Source ids of rows that can wait for their ends, and went with one that the portal has deleted."""
    if entity.waits is None:
        return set()
    gone = {s: row for s, row in sources.items() if row and s in bases and ids[s] not in there}
    ends = {source: _ends(entity, row) for source, row in gone.items()}
    missing = await _absent(connection, made, ends.values())
    return {source for source, named in ends.items() if named & missing}


async def _absent(connection: Connection, made: Plan, named: Iterable[set[str]]) -> set[str]:
    """Which of this equipment (target ids) is not in the target, and is not about to come."""
    wanted = {end for ends in named for end in ends} - made.parts["equipment"].write.keys()
    if not wanted:
        return set()
    rows = await connection.fetch(
        "SELECT id::text AS id FROM equipment WHERE id = ANY ($1::text[]::uuid[])", sorted(wanted)
    )
    return wanted - {row["id"] for row in rows}


def _ends(entity: Entity, row: Row) -> set[str]:
    """Target ids of the equipment that a row names."""
    named = {r.column for r in entity.references if r.entity == "equipment"}
    cells = (row[c] for c, (_, cell) in cells_of(entity).items() if cell.field in named)
    return {end for end in cells if end}


def _own(entity: Entity) -> str:
    return f"{entity.tables[0].name}.{entity.tables[0].own_key}"


def _brake(
    made: Plan, found: dict[str, Found], rules: Rules, stay: Collection[tuple[str, str]]
) -> defaultdict[str, set[str]]:
    """Source ids that may be deleted, per entity; what `stay`s on purpose was gone before."""
    gone: defaultdict[str, set[str]] = defaultdict(set)
    for name, rows in found.items():
        gone[name] = {source for source in rows.gone if (name, source) not in stay}
    lost, written = sum(map(len, gone.values())), sum(rows.written for rows in found.values())
    whole = bool(gone["vessel"])
    much = lost > rules.brake_share * written and len(gone["equipment"]) >= rules.brake_least
    if not rules.allow_deletions and lost and (whole or much):
        made.brake = lost
        return defaultdict(set)
    return gone


async def _bases(
    connection: Connection, owners: Sequence[str], entity: Entity, sources: Collection[str]
) -> dict[str, Row]:
    frame = await base.among(connection, owners, entity.name, sources) if sources else None
    if frame is None:
        return {}
    return {values["source_id"]: make(entity, values) for values in frame.iter_rows(named=True)}


async def pending(connection: Connection, vessel: str, entity: Entity) -> set[str]:
    """Source ids of the vessel's rows that wait for other vessels."""
    rows = await connection.fetch(
        "SELECT source_id::text AS id FROM bulkmig.pending WHERE entity = $1 AND vessel_id = $2::text::uuid",
        entity.name,
        vessel,
    )
    return {row["id"] for row in rows}


async def _retained(connection: Connection, vessel: str | None) -> dict[tuple[str, str], str]:
    """(entity, source id) -> why the row stays, of a vessel's rows that stay on purpose."""
    rows = await connection.fetch(
        "SELECT entity, source_id::text, reason FROM bulkmig.retained"
        " WHERE vessel_id IS NOT DISTINCT FROM $1::text::uuid",
        vessel,
    )
    return {(row["entity"], row["source_id"]): row["reason"] for row in rows}


def frame_of(entity: Entity, rows: dict[str, Row]) -> pl.DataFrame:
    """Rows by source id as an image, the way the base keeps them."""
    columns = [
        *(f"?{table.name}" for table in entity.tables if table.when is not None),
        *cells_of(entity),
    ]
    return pl.DataFrame(
        [
            (source, *(c[1:] in row.tables if c.startswith("?") else row[c] for c in columns))
            for source, row in rows.items()
        ],
        schema={
            "source_id": pl.String,
            **{c: pl.Boolean if c.startswith("?") else pl.String for c in columns},
        },
        orient="row",
    )
