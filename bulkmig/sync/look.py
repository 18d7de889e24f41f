"""One entity's rows, decided row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl
from msgspec import Struct, field

from bulkmig._core.declare import Entity
from bulkmig.ledger import base as last_written
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection
from bulkmig.sync.decide import Verdict, decide
from bulkmig.sync.gather import Found
from bulkmig.sync.kept import BY_BRAKE, WITH_PARENT, WITHOUT_PARENT, Kept, pending
from bulkmig.sync.moves import Moves
from bulkmig.sync.parts import Part, Plan
from bulkmig.sync.row import Row, cells_of, ends_of, equal, make
from bulkmig.sync.rules import Rules
from bulkmig.sync.standing import standing


class Look(Struct):
    """One entity's rows of the vessels that are planned together. `opened`: (entity, source id) of rows with
    open conflicts, and the conflict's id; `retained`: of those that stay on purpose."""

    entity: Entity
    made: Mapping[str, Plan]
    rows: Found
    moves: Moves
    opened: Mapping[tuple[str, str], str]
    retained: Mapping[tuple[str, str], Kept]
    came: dict[str, str] = field(default_factory=dict)  # source id -> the vessel that it was written on

    def __post_init__(self) -> None:
        for owner in self.made:
            self.came |= self.moves.came[owner][self.entity.name]

    def part(self, owner: str) -> Part:
        return self.made[owner].parts[self.entity.name]

    async def _bases(self, connection: Connection, owner_of: Mapping[str, str]) -> dict[str, Row]:
        """Source id -> what was last written of it, of rows (source id -> vessel) that are there."""
        if not owner_of:
            return {}
        if self.rows.base is not None and not self.came:
            rows: pl.DataFrame | None = self.rows.base.filter(pl.col("source_id").is_in(list(owner_of)))
        else:
            owners = {*owner_of.values(), *(self.came[id_] for id_ in owner_of if id_ in self.came)}
            rows = await last_written.among(connection, sorted(owners), self.entity.name, owner_of)
        if rows is None:
            return {}
        return {values["source_id"]: make(self.entity, values) for values in rows.iter_rows(named=True)}

    async def keep(self, connection: Connection) -> None:
        """Rows that stay as they were last written."""
        rows, name = self.rows, self.entity.name
        # What stayed with a parent that is held no more, or on another vessel, needs a reason of its own.
        kept = {
            source
            for (of, source), one in self.retained.items()
            if of == name and (one.reason != WITH_PARENT or one.vessel == rows.with_parent.get(source))
        }
        held = {s: v for s, v in rows.with_parent.items() if s in rows.held and s not in kept}
        braked = {s: v for s, v in rows.gone.items() if self.made[v].brake and s not in kept}
        for owner in self.made:
            self.part(owner).unchanged = rows.unchanged[owner]
            self.part(owner).forget |= self.moves.left[owner][name]
        out = {source for frame in rows.quarantined for source in frame["source_id"]} & rows.held.keys()
        # A rollback took these along, and now they don't wait any more: should they come, they are new.
        over = {s: v for s, v in braked.items() if s in rows.waits}
        over |= {source: rows.held[source] for source in out & rows.waits - self.came.keys()}
        for source, row in (await self._bases(connection, over)).items():
            self._went(over[source], source, row)
        braked = {s: v for s, v in braked.items() if s not in over}
        for staying, reason in ((held, WITH_PARENT), (braked, BY_BRAKE)):
            for source, row in (await self._bases(connection, staying)).items():
                own = self.part(staying[source])
                own.retained[source] = (row[_own(self.entity)] or "", reason)
        for source in rows.ids.keys() - rows.held.keys() - kept:  # new ones wait
            self.part(rows.with_parent[source]).retained[source] = (rows.ids[source], WITH_PARENT)
        await self._come_along(connection, {s: v for s, v in rows.held.items() if s in self.came})

    async def _come_along(self, connection: Connection, moved: Mapping[str, str]) -> None:
        """Rows that moved and are kept as they were last written are this vessel's from now on all the same,
        and so are the conflicts about them, and what the portal has made of them."""
        if not moved:
            return
        entity, own = self.entity, _own(self.entity)
        bases = await self._bases(connection, moved)
        there = await standing(connection, entity, [row[own] or "" for row in bases.values()], bases.values())
        for source, row in bases.items():
            part, now = self.part(moved[source]), there.get(row[own] or "")
            part.base[source] = row
            if now is not None and not equal(entity, now, row):
                part.stands[source] = now
            if (entity.name, source) in self.opened:
                part.undecided.add(self.opened[entity.name, source])

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
            await self._leave_waiting(connection, owner_of, sources, bases)
        ids = {
            source: (row or bases[source]).cells[own] or ""
            for source, row in sources.items()
            if row is not None or source in bases
        }
        there = await standing(connection, entity, ids.values(), bases.values())
        loose = await self._loose(connection, sources, bases, there, ids)
        types = {
            c: rules.catalogue[t.name][c.partition(".")[2]].type for c, (t, _) in cells_of(entity).items()
        }
        moving = self.moves.taking_along(entity) if came else ()
        for source, row in sources.items():
            part, was = self.part(owner_of[source]), there.get(ids.get(source, ""))
            if source in loose:
                part.loose.add(source)
                if source in came:
                    part.base[source] = bases[source]
                continue
            verdict = decide(entity, types, rules.strategy, bases.get(source), row, was)
            part.was[ids[source]] = was
            undecided = verdict.conflict is not None and verdict.conflict.open
            if source in came and undecided and was is not None and ends_of(entity, was).isdisjoint(moving):
                # It stays where the target has it until somebody decides.
                self.moves.keep_there(owner_of[source], entity.name, (source, ids[source], verdict.conflict))
            else:
                self._note(part, source, ids[source], verdict, bases.get(source))
        source_of = {id_: source for source, id_ in ids.items()}
        for source in [source_of[id_] for id_ in await self._without_equipment(connection)]:
            self._put_off(owner_of[source], source, ids[source], bases.get(source))

    def _put_off(self, owner: str, source: str, id_: str, base: Row | None) -> None:
        """Doesn't write a row, since the portal has deleted what it would hang on. `base`: what was last
        written of it."""
        part, kept = self.part(owner), self.retained.get((self.entity.name, source))
        del part.write[id_]
        if part.was[id_] is not None:
            # It keeps what was last written until that is there again, where the target has it.
            part.base.pop(source, None)
            part.stands.pop(source, None)
            part.conflicts = [one for one in part.conflicts if one[0] != source]
            if source in self.moves.came[owner][self.entity.name]:
                self.moves.keep_there(owner, self.entity.name, (source, id_, None))
                return
        elif base is not None:
            part.untouched.add(id_)
            return  # the portal deleted the row with it; a new one comes when that is there again
        else:
            del part.base[source]
        if part.was[id_] is None and self.entity.waits is not None:
            part.waiting.add(source)
        elif kept is None or (
            kept.reason in (WITH_PARENT, WITHOUT_PARENT) and kept != Kept(WITHOUT_PARENT, id_, owner)
        ):
            part.retained[source] = (id_, WITHOUT_PARENT)

    async def _leave_waiting(
        self,
        connection: Connection,
        owner_of: Mapping[str, str],
        sources: dict[str, Row | None],
        bases: dict[str, Row],
    ) -> None:
        """Takes rows out that a rollback took with their ends: nobody has deleted them."""
        waited = await pending(connection, {*self.made, *self.came.values()}, self.entity)
        for source in waited.keys() & bases.keys():
            if sources[source] is None:
                del sources[source]
                self._went(owner_of[source], source, bases[source])
            del bases[source]

    def _note(self, part: Part, source: str, id_: str, verdict: Verdict, base: Row | None) -> None:
        """Puts a row's verdict into its vessel's share. `base`: what was last written of it."""
        entity = self.entity
        if verdict.write and verdict.row is not None:
            part.write[id_] = verdict.row
        elif verdict.write:
            part.delete[id_] = source
        if verdict.base is None:
            part.forget.add(source)
        elif source in self.came or not equal(entity, verdict.base, base):
            part.base[source] = verdict.base
            if not verdict.write and source not in self.came:
                part.untouched.add(id_)
        if verdict.row and verdict.base and not equal(entity, verdict.row, verdict.base):
            part.stands[source] = verdict.row
            if not verdict.write and source not in self.came:
                part.untouched.add(id_)
        if verdict.conflict is not None:
            part.conflicts.append((source, id_, verdict.conflict))
            part.known[id_] = verdict.conflict.base
            spared = verdict.conflict.kind == "deleted_in_source" and not verdict.write
            if spared and not verdict.conflict.open:
                part.retained[source] = (id_, "conflict")

    async def _without_equipment(self, connection: Connection) -> list[str]:
        """Rows (target ids) that would name equipment which won't be there. What a row names already is."""
        ends = [
            (id_, ends_of(self.entity, row) - (set() if was is None else ends_of(self.entity, was)))
            for part in map(self.part, self.made)
            for id_, row in part.write.items()
            for was in (part.was[id_],)
        ]
        missing = await self._absent(connection, [named for _, named in ends])
        return [id_ for id_, named in ends if named & missing]

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
