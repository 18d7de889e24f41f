"""Changes: every checkpoint stands for the change that it was taken for. Finds, orders and joins them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import msgspec

from bulkmig.checkpoint.parts import ROLES, Owner
from bulkmig.errors import UsageError
from bulkmig.ledger.read import one_run
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection, keys_of


class Change(Owner, frozen=True):
    """A checkpoint as the ledger lists it; see `ledger/sql/0002_checkpoints.sql`. `restored` is set where the
    change was a rollback."""

    seq: int
    roots: tuple[str, ...]
    absent: bool
    base: tuple[int, ...]
    together: tuple[str, ...]
    incidental: bool
    restored: str | None
    created_at: datetime
    parts: int
    rows: int
    bytes: int
    command: str


_SELECT = """
SELECT c.id::text, c.seq, c.run_id::text AS run_id, c.vessel_id::text AS vessel_id, c.roots::text[] AS roots,
       c.absent, c.base, c.together::text[] AS together, c.incidental, c.restored::text AS restored,
       c.created_at, c.parts, c.rows, c.bytes, c.encrypted,
       coalesce(r.command, '') AS command
  FROM bulkmig.checkpoints c LEFT JOIN bulkmig.runs r ON r.id = c.run_id
"""


async def find(connection: Connection, where: str = "true", *values: object) -> list[Change]:
    """The changes that a condition over `c` selects, the oldest first."""
    rows = await connection.fetch(f"{_SELECT} WHERE {where} ORDER BY c.seq", *values)
    return [msgspec.convert(dict(row), Change) for row in rows]


_WHOLE = """
SELECT c.id::text FROM bulkmig.checkpoints c LEFT JOIN bulkmig.checkpoint_parts p ON p.checkpoint_id = c.id
 GROUP BY c.id
HAVING count(*) FILTER (WHERE sha256(p.payload) = p.digest AND p.role = ANY ($2)
                          AND (NOT c.encrypted OR substr(p.payload, 2, 8) = ANY ($1::bytea[]))) = c.parts
   AND count(p.part) = c.parts
"""


async def whole(connection: Connection) -> set[str]:
    """Ids of the checkpoints that have all their parts, unharmed and, where encrypted, for a key at hand."""
    rows = await connection.fetch(_WHOLE, keys_of(connection).ids, list(ROLES))
    return {row["id"] for row in rows}


async def since(connection: Connection, change: Change) -> list[Change]:
    """The change and all later ones of what it changed, the oldest first."""
    if change.vessel_id is None:
        where = (
            "c.seq >= $1 AND c.vessel_id IS NULL AND (c.roots && $2::text[]::uuid[] OR c.id = $3::text::uuid)"
        )
        return await find(connection, where, change.seq, list(change.roots), change.id)
    where = "c.seq >= $1 AND c.vessel_id = $2::text::uuid"
    return await find(connection, where, change.seq, change.vessel_id)


async def since_each(connection: Connection, found: Sequence[Change]) -> dict[str, list[Change]]:
    """The same for changes of vessels, one a vessel: each one's id -> what `since` finds."""
    chains: defaultdict[str | None, list[Change]] = defaultdict(list)
    vessels = [change.vessel_id for change in found]
    for later in await find(connection, "c.vessel_id = ANY ($1::text[]::uuid[])", vessels):
        chains[later.vessel_id].append(later)
    return {
        change.id: [later for later in chains[change.vessel_id] if later.seq >= change.seq]
        for change in found
    }


async def transactions(connection: Connection, found: Sequence[Change]) -> list[str]:
    """The transactions that wrote these changes, as `xmin` names them. Only good for a change just made: a
    dump that is restored may give all rows one `xmin`."""
    rows = await connection.fetch(
        "SELECT xmin::text AS x FROM bulkmig.checkpoints WHERE id = ANY ($1::text[]::uuid[])"
        " UNION SELECT xmin::text FROM bulkmig.base WHERE checkpoint_id = ANY ($1::text[]::uuid[])",
        [change.id for change in found],
    )
    return [row["x"] for row in rows]


async def by_id(connection: Connection, id_: str) -> Change:
    """The change of this checkpoint, or of the only one whose id begins so. Raises UsageError."""
    found = await find(connection, "substr(c.id::text, 1, length($1)) = $1", id_.lower())
    if len(found) != 1 or not id_:
        raise UsageError(
            f"{'several checkpoints begin with' if found else 'there is no checkpoint'} {id_}",
            "see `bulkmig checkpoints list`",
        )
    return found[0]


def in_force(chain: Sequence[Change]) -> list[Change]:
    """Of all changes of one vessel, or of companies, or of those since one, the oldest first: those that are
    not undone. A rollback leaves those that were in force before the change it went back to, and itself. What
    a vessel's rollback brought to companies is a change of theirs like any other."""
    before: dict[str, list[Change]] = {}
    now: list[Change] = []
    for change in chain:
        before[change.id] = now
        if change.restored is not None and change.vessel_id == chain[0].vessel_id:
            # What it went back to may have been pruned: then nothing older is left either.
            now = before.get(change.restored, [])
        now = [*now, change]
    return now


async def last_of(connection: Connection, vessel: str) -> Change:
    """The last change of a vessel that is neither undone nor a rollback nor incidental. Raises UsageError."""
    chain = await find(connection, "c.vessel_id = $1::text::uuid", vessel)
    found = [change for change in in_force(chain) if change.restored is None and not change.incidental]
    if not found:
        raise UsageError(f"vessel {vessel} has nothing to roll back", "see `bulkmig checkpoints list`")
    return found[-1]


async def of_run(connection: Connection, run_id: str) -> tuple[str, list[Change]]:
    """The run's full id, and its changes that are in force, the oldest first: none where all are undone, by
    the same command before. Raises UsageError for a run that there isn't or that changed nothing."""
    full = await one_run(connection, run_id)
    if not await find(connection, "c.run_id = $1::text::uuid", full):
        raise UsageError(f"run {full} has changed nothing", "see `bulkmig checkpoints list`")
    return full, [change for change in await all_in_force(connection) if change.run_id == full]


async def all_in_force(connection: Connection) -> list[Change]:
    """Every change that is not undone, the oldest first."""
    chains: defaultdict[str | None, list[Change]] = defaultdict(list)
    for change in await find(connection):
        chains[change.vessel_id].append(change)
    kept = [change for chain in chains.values() for change in in_force(chain)]
    return sorted(kept, key=lambda change: change.seq)


async def joined(connection: Connection, change: Change, chosen: Sequence[Change] = ()) -> list[Change]:
    """The changes to go back before, so that none that committed together is undone in part: one a vessel,
    the oldest that is needed. A vessel of which a change is `chosen`, too, goes back before that at least."""
    at_least = {one.vessel_id: one for one in chosen}
    first: dict[str | None, Change] = {change.vessel_id: change}
    todo = [change]
    while todo:
        for later in await since(connection, todo.pop()):
            if not later.together:
                continue
            for other in await find(connection, "c.id = ANY ($1::text[]::uuid[])", list(later.together)):
                known = first.get(other.vessel_id)
                needed = min(other, at_least.get(other.vessel_id, other), key=lambda one: one.seq)
                if known is None or needed.seq < known.seq:
                    first[other.vessel_id] = needed
                    todo.append(needed)
    return sorted(first.values(), key=lambda one: one.vessel_id or NIL)


async def reached(connection: Connection, chosen: Sequence[Change]) -> set[str | None]:
    """The vessels of these changes, one a vessel, and all that go back with them."""
    since = await since_each(connection, [change for change in chosen if change.vessel_id is not None])
    tied = [change for change in chosen if entangled(change, since.get(change.id, ()))]
    groups = [await joined(connection, change) for change in tied]
    return {change.vessel_id for group in (chosen, *groups) for change in group}


def entangled(change: Change, since: Sequence[Change]) -> bool:
    """Whether a vessel goes back to before this change with others: those that changed in one commit with it,
    or a vessel of the portal's that it has taken over. `since`: the change and all later ones."""
    return any(later.together or later.roots != change.roots for later in since)


def newest_first(found: Sequence[Change]) -> list[Change]:
    """In the order in which they are undone."""
    return sorted(found, key=lambda change: -change.seq)
