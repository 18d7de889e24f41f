"""Rows that moved to another vessel, and vessels that exchange what is unique: they change in one commit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import polars as pl
from msgspec import Struct, field

from bulkmig._core.declare import Entity
from bulkmig._core.frames import from_csv
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import base
from bulkmig.postgres.session import Connection
from bulkmig.selection import Vessel
from bulkmig.source import queries
from bulkmig.source.onboarding import read_all
from bulkmig.sync.decide import Conflict
from bulkmig.sync.orphans import orphans
from bulkmig.sync.row import end_cells, placing


class Moves(Struct):
    """What goes from one vessel to another.

    came        vessel -> entity -> source id -> the vessel that it was written on
    left        vessel -> entity -> source ids that are another vessel's now
    stays       vessel -> entity -> source id -> the vessel to which it doesn't go after all
    away        vessel -> entity -> source ids that stay, since a vessel has them now that is left `apart`
    ids         entity -> source id -> the target id that it keeps
    vanished    vessels that the source has no more
    apart       vessels that were rolled back: rows leave them, and none comes to them
    arriving    vessels that are not in the target yet
    unsettled   vessels between which rows would move and stay
    renumbered  vessels that get another IMO number
    going       equipment (target ids) that the source has no more
    touched     vessel -> those of which references end on equipment of it that is to go
    kept        vessel -> entity -> rows which would leave it, and stay (source id, target id): for a conflict
                that is found, or (None) since what they would hang on isn't there
    releases    whether vanished vessels may go: their references are decided with what takes them along
    """

    came: defaultdict[str, defaultdict[str, dict[str, str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    left: defaultdict[str, defaultdict[str, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    stays: defaultdict[str, defaultdict[str, dict[str, str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    ids: defaultdict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    vanished: frozenset[str] = frozenset()
    arriving: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()
    away: defaultdict[str, defaultdict[str, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    unsettled: set[str] = field(default_factory=set)
    renumbered: set[str] = field(default_factory=set)
    touched: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    going: set[str] = field(default_factory=set)
    kept: defaultdict[str, defaultdict[str, list[tuple[str, str, Conflict | None]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    releases: bool = False
    _together: dict[str, str] = field(default_factory=dict)
    _bound: set[tuple[str, str]] = field(default_factory=set)

    @property
    def giving(self) -> frozenset[str]:
        """Vessels of which nothing is written: at most, rows leave them for others."""
        return self.vanished | self.apart

    def bind(self, one: str, other: str) -> None:
        """Lets two vessels change in one commit, or not at all."""
        self.join(one, other)
        self._bound.add((one, other))

    def join(self, one: str, other: str) -> None:
        """Lets two vessels change in one commit."""
        self._together[self._root(one)] = self._root(other)

    def _root(self, vessel: str) -> str:
        while (above := self._together.get(vessel, vessel)) != vessel:
            vessel = above
        return vessel

    def receives(self, vessel: str) -> bool:
        """Whether rows come to this vessel."""
        return any(self.came[vessel].values())

    def before(self, vessels: Iterable[str]) -> set[str]:
        """The vessels that rows which come to these were written on."""
        return {then for vessel in vessels for rows in self.came[vessel].values() for then in rows.values()}

    def taking_along(self, entity: Entity) -> Collection[str]:
        """Target ids of equipment that moves and that takes along what of this entity hangs on it."""
        return self.bound_for.keys() if entity.through is not None or placing(entity) is not None else ()

    @property
    def bound_for(self) -> dict[str, str]:
        """Target ids of equipment that moves, with the vessels to which it does."""
        ids = self.ids["equipment"]
        return {ids[source]: to for to, rows in self.came.items() for source in rows["equipment"]}

    def decides(self, vessel: str, entity: Entity) -> bool:
        """Whether what is gone of this entity is decided with the vessel, and not when it goes itself."""
        if vessel in self.vanished:
            return self.releases and entity.waits is not None
        return vessel not in self.apart

    def concern(self, vessel: str) -> bool:
        """Whether the vessel takes part in any of this."""
        special = self.vanished | self.arriving | self.unsettled
        moves = self.receives(vessel) or any(self.left[vessel].values())
        return vessel in special or moves or vessel in self.touched

    def partners(self, vessel: str) -> set[str]:
        """The vessel, and those that don't change without it, since rows move between them or they are bound;
        directly or by way of others."""
        near: defaultdict[str, set[str]] = defaultdict(set)
        pairs = {(to, then) for to, of in self.came.items() for rows in of.values() for then in rows.values()}
        for one, other in pairs | self._bound:
            near[one].add(other)
            near[other].add(one)
        found, todo = {vessel}, [vessel]
        while todo:
            fresh = near[todo.pop()] - found
            found |= fresh
            todo += fresh
        return found

    def joined(self, vessels: Iterable[str], others: Iterable[Vessel]) -> list[Vessel]:
        """Those of the others that change in one commit with any of these vessels."""
        roots = {self._root(vessel) for vessel in vessels}
        return [other for other in others if self._root(other.id) in roots]

    def stay(self, vessel: str, entity: str, ids: Iterable[str]) -> None:
        """Leaves these rows, which were to come to this vessel, where they are."""
        for source_id in ids:
            then = self.came[vessel][entity].pop(source_id)
            self.left[then][entity].discard(source_id)
            self.stays[then][entity][source_id] = vessel
            self.unsettled |= {vessel, then}

    def keep_there(self, vessel: str, entity: str, row: tuple[str, str, Conflict | None]) -> None:
        """Leaves a row, as `kept` has it, which was to come to this vessel, where it is."""
        self.kept[self.came[vessel][entity][row[0]]][entity].append(row)
        self.stay(vessel, entity, [row[0]])

    def look_anew(self, vessels: Iterable[str]) -> None:
        """Whether the rows that stay on these vessels do so is asked once more."""
        for then in vessels:
            self.kept.pop(then, None)
            for entity, rows in self.stays.pop(then, {}).items():
                for source_id, to in rows.items():
                    self.came[to][entity][source_id] = then
                    self.left[then][entity].add(source_id)

    def still_due(self) -> Moves:
        """What a second look has to know: the rows that stayed would move still."""
        made = Moves(
            vanished=self.vanished,
            apart=self.apart,
            away=self.away,
            ids=self.ids,
            releases=self.releases,
        )
        for then, of in self.stays.items():
            for entity, rows in of.items():
                made.stays[then][entity] |= rows
                for to in rows.values():
                    made.join(to, then)
        made.unsettled |= {vessel for vessel, of in self.away.items() if any(of.values())}
        made.look_anew([*made.stays])
        return made

    def groups(self, vessels: Sequence[Vessel]) -> list[list[Vessel]]:
        """The vessels, in their order, those together that change in one commit."""
        found: dict[str, list[Vessel]] = {}
        for vessel in vessels:
            found.setdefault(self._root(vessel.id), []).append(vessel)
        return list(found.values())


async def find(
    source: Connection,
    target: Connection,
    shuffled: Collection[str],
    vessels: Sequence[Vessel],
    *,
    vanished: Collection[str] = (),
    apart: Collection[str] = (),
    arriving: Sequence[Vessel] = (),
) -> Moves:
    """Looks at the vessels whose rows came or went, and at IMO numbers that go from one to another of these
    vessels."""
    coming = frozenset(vessel.id for vessel in arriving)
    moves = Moves(vanished=frozenset(vanished), apart=frozenset(apart), arriving=coming)
    there = sorted({*shuffled, *vanished})
    ids = sorted({*there, *coming})
    for entity in PER_VESSEL:
        alone = len(ids) < 2 or moves.giving.issuperset(ids)
        loses = entity.name == "equipment" and bool(there)
        if not entity.tables or entity.name == "vessel" or (alone and not loses):
            continue
        own = f"{entity.tables[0].name}.{entity.tables[0].own_key}"
        now = from_csv(await read_all(source, queries.keys(entity, ids)), ("source_id", "now"))
        written = await base.read(target, there, entity.name, shape=_keys(entity, own))
        if written is None:
            continue
        if entity.name == "equipment":
            gone = written.join(now, on="source_id", how="anti")
            moves.going.update(gone.filter(~pl.col("then").is_in(list(apart)))["id"])
        if entity.through is not None:
            now = pl.concat([now, await _along(source, moves, entity, written, now)])
        _note(moves, entity, written, now)
        if len(moves.vanished) > 1:
            await _lying(target, moves, entity, written)
    await _numbers(target, [*vessels, *(one for one in arriving if moves.receives(one.id))], moves)
    return moves


async def _along(
    source: Connection, moves: Moves, entity: Entity, written: pl.DataFrame, now: pl.DataFrame
) -> pl.DataFrame:
    """Rows without a parent in the source are where the equipment is on which they hang still: as `now` has
    them."""
    to = moves.bound_for
    left = written.join(now, on="source_id", how="anti").filter(pl.col("on").is_in(list(to)))
    alone = await orphans(source, entity, left["source_id"].to_list())
    vessel = pl.col("on").replace_strict(to, return_dtype=pl.String)
    return left.filter(pl.col("source_id").is_in(list(alone))).select("source_id", vessel.alias("now"))


def _note(moves: Moves, entity: Entity, written: pl.DataFrame, now: pl.DataFrame) -> None:
    moved = written.join(now, on="source_id").filter(pl.col("then") != pl.col("now"))
    for source_id, id_, then, to in moved.select("source_id", "id", "then", "now").iter_rows():
        if to in moves.apart:
            moves.away[then][entity.name].add(source_id)
            moves.unsettled.add(then)
            continue
        moves.came[to][entity.name][source_id] = then
        moves.left[then][entity.name].add(source_id)
        moves.ids[entity.name][source_id] = id_
        moves.join(then, to)


async def _lying(target: Connection, moves: Moves, entity: Entity, written: pl.DataFrame) -> None:
    """A vanished vessel goes with the one of which a decision left rows on it: before that, it can't."""
    table, vanished = entity.tables[0], sorted(moves.vanished)
    if "vessel_id" not in table.cells:
        return
    query = (
        f"SELECT t.{table.own_key}, i.source_id FROM {table.name} t JOIN bulkmig.identities i"
        " ON i.entity = 'vessel' AND i.target_id = t.vessel_id"
        f" WHERE i.source_id = ANY ({queries.uuid_array(vanished)})"
    )
    lying = from_csv(await read_all(target, query), ("id", "on")).join(written, on="id")
    apart = lying.filter((pl.col("on") != pl.col("then")) & pl.col("then").is_in(vanished))
    for vessel, on in apart.select("then", "on").unique().iter_rows():
        moves.join(vessel, on)


async def _numbers(target: Connection, vessels: Sequence[Vessel], moves: Moves) -> None:
    if not vessels:
        return
    rows = await target.fetch(
        "SELECT v.imo_number, i.source_id::text AS source FROM vessels v JOIN bulkmig.identities i"
        " ON i.entity = 'vessel' AND i.target_id = v.id WHERE v.imo_number IS NOT NULL"
    )
    holders = {row["imo_number"]: row["source"] for row in rows}
    due = {vessel.id: vessel.imo_number for vessel in vessels}
    held = {source: number for number, source in holders.items()}
    moves.renumbered |= {vessel for vessel, number in due.items() if held.get(vessel) != number}
    for vessel, number in due.items():
        holder = holders.get(number) if number is not None else None
        if holder is not None and holder != vessel and holder in due and due[holder] != number:
            moves.join(vessel, holder)


def _keys(entity: Entity, own: str) -> base.Shape:
    on = [pl.col(cell).alias("on") for cell in end_cells(entity) if entity.through is not None]
    return base.only("source_id", pl.col(own).alias("id"), pl.col(base.OWNER).alias("then"), *on)
