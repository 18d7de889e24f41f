"""Weighs deviations with the base, which is what bulkmig last wrote (mapping.md, "Verification").

target differs from the base, source does not      drift: the portal changed it; no failure (a
                                                   difference right after a run whose own transaction
                                                   left it so: a trigger of the target did that)
source differs from the base, target does not      stale: not synced yet; no failure
both differ                                        both of these
no base, or the source can't have changed since    difference: a failure
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, Protocol

import polars as pl
from msgspec import Struct, field

from bulkmig._core import jsontext
from bulkmig._core.declare import Entity, Table
from bulkmig._core.ids import id_range
from bulkmig.ledger import base
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection
from bulkmig.sqlite.session import on_file
from bulkmig.verified import MAX_LISTED, Deviation, Verified


class Mismatch(Struct, frozen=True):
    """A deviation before it is weighed: a missing row, an extra one, or a cell."""

    kind: Literal["missing", "extra", "cell"]
    table: Table
    id: str
    source_id: str
    field: str = ""
    expected: str | None = None
    actual: str | None = None


# Rows that are as they are on purpose: kept although they should go or change, or waiting for a decision.
_ON_PURPOSE = """
SELECT target_id::text FROM bulkmig.retained WHERE entity = $1 AND target_id = ANY ($2::text[]::uuid[])
UNION SELECT target_id::text FROM bulkmig.conflicts
       WHERE entity = $1 AND target_id = ANY ($2::text[]::uuid[]) AND status = 'open'
"""
# Rows that were written on one vessel, whose ids theirs are like, and have moved to another.
_MOVED = """
SELECT target_id::text FROM bulkmig.identities
 WHERE entity = $1 AND target_id = ANY ($2::text[]::uuid[])
"""
_PENDING = """
SELECT source_id::text FROM bulkmig.pending WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[])
"""
_RECORDED = f"""
SELECT source_id::text FROM bulkmig.quarantine WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[])
UNION {_PENDING}"""


# Rows that are as the last change of their vessel left them, which wrote their base: of their own, since one
# commit writes several, and other vessels may not have changed since. Only good right after that: a dump that
# is restored may give all rows one xmin. Not where a sync meant something else than the base to stand, on any
# of the vessels that changed in one commit; nor since a rollback, which puts back what the portal had changed
# along with the base.
_AS_LEFT = """
SELECT t.{key}::text FROM {table} t JOIN unnest($1::text[], $4::text[]) AS written (id, owner)
    ON t.{key} = written.id::uuid WHERE (t.xmin::text, written.owner) IN
    (SELECT b.xmin::text, b.vessel_id::text FROM bulkmig.base b
      WHERE b.entity = $2 AND b.vessel_id = ANY ($3::text[]::uuid[]) AND b.holds AND b.kind = 'rows'
        AND b.checkpoint_id IN (SELECT DISTINCT ON (vessel_id) checkpoint_id FROM bulkmig.base
                                 WHERE vessel_id = ANY ($3::text[]::uuid[]) AND holds
                                 ORDER BY vessel_id, id DESC)
        AND NOT EXISTS (SELECT FROM bulkmig.base s
                         WHERE s.xmin = b.xmin AND s.vessel_id = ANY ($3::text[]::uuid[])
                           AND s.kind = 'standing')
        AND NOT EXISTS (SELECT FROM bulkmig.checkpoints own JOIN bulkmig.checkpoints back
                            ON back.seq >= own.seq AND back.restored IS NOT NULL
                         WHERE own.id = b.checkpoint_id
                           AND coalesce(back.vessel_id, '{NIL}'::uuid) = b.vessel_id))
"""


class Unseen(Protocol):
    """Asks the source which of these rows are newer than what the vessel's last run saw. For rows of no
    vessel that is the first run: which one saw a company last is not recorded."""

    async def __call__(self, entity: Entity, source_ids: list[str], vessel: str | None, /) -> set[str]: ...


class Weigher(Struct):
    """Reads the base of what deviates, and only of that.

    `same_snapshot`: the source is seen as the run saw it, so nothing can be stale. `kept_out`: entity ->
    source ids of rows that would not be loaded now; one that was loaded before is kept on purpose."""

    target: Connection
    vessels: tuple[str, ...]
    same_snapshot: bool
    unseen: Unseen
    reveal: bool = False
    kept_out: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    async def weigh(self, entity: Entity, mismatches: list[Mismatch]) -> Verified:
        """Sorts mismatches of one table into differences, drift and stale rows."""
        known = await self._base(entity, mismatches)
        mismatches = await self._not_on_purpose(entity, mismatches, known)
        result = Verified()
        loose: list[Mismatch] = []
        cells = [mismatch for mismatch in mismatches if mismatch.kind == "cell" and mismatch.id in known]
        as_left = await self._as_left(entity, cells, known)
        for mismatch in mismatches:
            written = known.get(mismatch.id)
            if written is None:
                loose.append(mismatch)
            elif mismatch.id in as_left and not _padded(mismatch) and not _kept(mismatch, written):
                self._differs(mismatch, result)
            else:
                self._weigh_one(mismatch, written, result)
        new = set() if self.same_snapshot or not loose else await self._not_synced(entity, loose)
        for mismatch in loose:
            if mismatch.source_id in new:
                result.stale += 1
            else:
                self._differs(mismatch, result)
        return result

    async def _not_on_purpose(
        self, entity: Entity, mismatches: list[Mismatch], known: dict[str, dict[str, str | None]]
    ) -> list[Mismatch]:
        ids = sorted({mismatch.id for mismatch in mismatches})
        kept = {row[0] for row in await self.target.fetch(_ON_PURPOSE, entity.name, ids)}
        extra = sorted({mismatch.id for mismatch in mismatches if mismatch.kind == "extra"})
        spare: set[str] = set()
        if extra:
            sources = {known[id_]["source_id"]: id_ for id_ in extra if id_ in known}
            recorded = await self.target.fetch(_RECORDED, entity.name, list(sources))
            spare = {sources[row[0]] for row in recorded}
            spare.update(id_ for source, id_ in sources.items() if source in self.kept_out[entity.name])
            spare.update(row[0] for row in await self.target.fetch(_MOVED, entity.name, extra))
        gone = [m for m in mismatches if m.kind == "missing"]
        missing = sorted({m.source_id for m in gone if m.id not in known or not _there(m, known[m.id])})
        if missing:
            # New, and what they refer to has been deleted by the portal: they come when that does.
            waiting = {row[0] for row in await self.target.fetch(_PENDING, entity.name, missing)}
            kept |= {m.id for m in mismatches if m.source_id in waiting and m.kind == "missing"}
        return [m for m in mismatches if m.id not in kept and not (m.kind == "extra" and m.id in spare)]

    async def _not_synced(self, entity: Entity, loose: list[Mismatch]) -> set[str]:
        """Rows that are due by now, though nothing was lost: newer than what their vessel's last run saw, or
        recorded as kept out or waiting then."""
        by_owner: defaultdict[str | None, list[str]] = defaultdict(list)
        for mismatch in loose:
            if mismatch.source_id:
                by_owner[self._owner(mismatch.id)].append(mismatch.source_id)
        new: set[str] = set()
        for owner, source_ids in by_owner.items():
            recorded = await self.target.fetch(_RECORDED, entity.name, source_ids)
            new.update(row[0] for row in recorded)
            new.update(await self.unseen(entity, source_ids, owner))
        return new

    async def _as_left(
        self, entity: Entity, cells: list[Mismatch], known: dict[str, dict[str, str | None]]
    ) -> set[str]:
        """Rows that nobody has touched since the run wrote them; asked right after it alone."""
        if not (self.same_snapshot and cells) or on_file(self.target) is not None:
            return set()
        table, ids = cells[0].table, list({mismatch.id for mismatch in cells})
        query = _AS_LEFT.format(table=table.name, key=table.own_key, NIL=NIL)
        vessels = list(self.vessels) or [NIL]  # also those to which rows have moved
        owners = [known[id_][base.OWNER] for id_ in ids]
        return {row[0] for row in await self.target.fetch(query, ids, entity.name, vessels, owners)}

    def _owner(self, id_: str) -> str | None:
        """The vessel that a row with this id belongs to, by the prefix they share."""
        return next((v for v in self.vessels if id_range(v)[0][:13] == id_[:13]), None)

    def _weigh_one(self, mismatch: Mismatch, written: dict[str, str | None], result: Verified) -> None:
        if mismatch.kind == "cell":
            self._weigh_cell(mismatch, written[f"{mismatch.table.name}.{mismatch.field}"], result)
        elif (mismatch.kind == "missing") == _there(mismatch, written):
            self._drifts(mismatch, result)
        elif self.same_snapshot:
            self._differs(mismatch, result)
        else:
            result.stale += 1

    def _weigh_cell(self, mismatch: Mismatch, written: str | None, result: Verified) -> None:
        cell = mismatch.table.cells[mismatch.field]

        def equal(one: str | None, other: str | None) -> bool:
            return jsontext.same(one, other) if cell.json else one == other

        portal_changed = not equal(mismatch.actual, written)
        source_changed = not equal(mismatch.expected, written)
        if cell.kept and not portal_changed:
            return
        if source_changed and self.same_snapshot:
            self._differs(mismatch, result)
            return
        if portal_changed:
            self._drifts(mismatch, result)
        if source_changed:
            result.stale += 1

    def _differs(self, mismatch: Mismatch, result: Verified) -> None:
        result.difference_count += 1
        if len(result.differences) < MAX_LISTED:
            result.differences.append(self._shown(mismatch))

    def _drifts(self, mismatch: Mismatch, result: Verified) -> None:
        result.drift += 1
        if len(result.drifted) < MAX_LISTED:
            result.drifted.append(self._shown(mismatch))

    def _shown(self, mismatch: Mismatch) -> Deviation:
        personal = bool(mismatch.field) and mismatch.table.cells[mismatch.field].personal
        hide = personal and not self.reveal
        expected, actual = mismatch.expected, mismatch.actual
        if mismatch.kind == "missing":
            expected, actual = "a row", "no row"
        elif mismatch.kind == "extra":
            expected, actual = "no row", "a row"
        elif hide:
            expected, actual = _masked(expected), _masked(actual)
        return Deviation(
            mismatch.table.name, mismatch.id, mismatch.field, expected, actual, mismatch.source_id
        )

    async def _base(self, entity: Entity, mismatches: Iterable[Mismatch]) -> dict[str, dict[str, str | None]]:
        """target id -> what was last written of that row, in whichever of its tables."""
        key = f"{entity.tables[0].name}.{entity.tables[0].own_key}"
        ids = {mismatch.id for mismatch in mismatches}
        owners = self._owners(ids)
        found = await self._written(entity, key, owners, ids)
        missing = ids - found.keys()
        if missing and set(owners) != set(self.vessels) and owners != [NIL]:
            # What has moved to another vessel is that one's, whatever its id begins with.
            found |= await self._written(entity, key, self.vessels, missing)
        return found

    async def _written(
        self, entity: Entity, key: str, owners: Sequence[str], ids: Collection[str]
    ) -> dict[str, dict[str, str | None]]:
        wanted = pl.col(key).is_in(list(ids))
        frame = await base.read(self.target, owners, entity.name, shape=lambda frame: frame.filter(wanted))
        return {} if frame is None else {row[key]: row for row in frame.iter_rows(named=True)}

    def _owners(self, ids: Iterable[str]) -> list[str]:
        """The vessels that rows with these ids belong to, by the prefix they share; companies and users are
        kept under the nil UUID."""
        if not self.vessels:
            return [NIL]
        if len(self.vessels) == 1:
            return list(self.vessels)
        prefixes = {id_[:13] for id_ in ids}
        by_prefix = {id_range(vessel)[0][:13]: vessel for vessel in self.vessels}
        known = [by_prefix[prefix] for prefix in prefixes if prefix in by_prefix]
        return known if len(known) == len(prefixes) else list(self.vessels)


def _there(mismatch: Mismatch, written: dict[str, str | None]) -> bool:
    """Whether the row was written into this table; not each row is in all of its entity's."""
    return written[f"{mismatch.table.name}.{mismatch.table.own_key}"] is not None


def _kept(mismatch: Mismatch, written: dict[str, str | None]) -> bool:
    """Whether the cell is assigned once, and is what it was assigned."""
    table, field = mismatch.table, mismatch.field
    return table.cells[field].kept and mismatch.actual == written[f"{table.name}.{field}"]


def _padded(mismatch: Mismatch) -> bool:
    """Whether both are the same but for blanks at the end, with which a column of type char(n) fills up."""
    expected, actual = mismatch.expected, mismatch.actual
    return expected is not None and actual is not None and expected.rstrip(" ") == actual.rstrip(" ")


def _masked(value: str | None) -> str | None:
    return None if value is None else "(masked)"
