"""The way back: vessels to what they were before a change, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field

from bulkmig.checkpoint import changes, elsewhere, ledger, others, parts
from bulkmig.checkpoint import hanging as hangs
from bulkmig.checkpoint.changes import Change
from bulkmig.checkpoint.expect import expect
from bulkmig.checkpoint.hanging import Hanging, discard, find
from bulkmig.checkpoint.many import Due, of_vessels
from bulkmig.checkpoint.restore import Restored, check_unique, insert_missing, prove, restore, set_last
from bulkmig.checkpoint.stage import Drift, Stage
from bulkmig.checkpoint.take import new_id
from bulkmig.checkpoint.way import Way
from bulkmig.entities import FLEET
from bulkmig.ledger.locks import LOCK_VESSELS, lock_keys
from bulkmig.postgres.session import transaction
from bulkmig.target.scope import TargetTable

MAX_LISTED = 1000


class Refused(Exception):
    """Somebody else wrote since: nothing was changed. `drift`: which rows, at most MAX_LISTED a table."""

    def __init__(self, drift: list[Drift]) -> None:
        super().__init__(f"{len(drift)} rows changed since")
        self.drift = drift


class Back(Struct):
    """What a rollback did. `targets`: the checkpoints that it restored, one a vessel; `undone`: the changes
    that it undid, the oldest first; `discarded`: what others wrote since and `--force` gave up;
    `returned`: rows of others that came along, back again; `waiting`: rows of others that wait for this
    vessel again; both are in `restored` as well."""

    restored: Restored
    targets: list[Change] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    undone: list[Change] = field(default_factory=list)
    discarded: list[Drift] = field(default_factory=list)
    returned: int = 0
    waiting: int = 0


async def go_back(
    way: Way,
    change: Change,
    *,
    force: bool,
    chosen: Sequence[Change] = (),
    as_written: bool = False,
    tell: Callable[[Back], None] = lambda _: None,
) -> Back:
    """Restores a vessel's checkpoint, and those of the vessels that changed with it since. Raises Refused,
    Taken, CheckpointError: then nothing changed. `chosen`: the checkpoints that the command restores, this
    one among them; `as_written`: what a change's own transactions left
    otherwise than it was written, as triggers do, is nobody's doing since. `tell` hears of the result before
    it is committed."""
    connection, locked = way.connection, await changes.joined(way.connection, change, chosen)
    while True:
        async with transaction(connection):
            await connection.execute(LOCK_VESSELS, lock_keys(one.vessel_id or "" for one in locked))
            # Who held a lock until now may have changed it together with vessels that are not locked.
            targets = await changes.joined(connection, change, chosen)
            if {one.vessel_id for one in targets} == {one.vessel_id for one in locked}:
                since = await changes.since_each(connection, targets)
                back = await _go_back(way, targets, since, force=force, as_written=as_written)
                tell(back)
                return back
        locked = targets


async def go_back_apart(way: Way, targets: Sequence[Change], *, tell: Callable[[Back], None]) -> Back:
    """Restores checkpoints of vessels that have nothing to do with each other, all or none: as `go_back` does
    one by one, where nobody else wrote since. Raises as that does."""
    connection = way.connection
    async with transaction(connection):
        await connection.execute(LOCK_VESSELS, lock_keys(one.vessel_id or "" for one in targets))
        since = await changes.since_each(connection, targets)
        if any(changes.entangled(change, since[change.id]) for change in targets):
            raise Refused([])  # since these were chosen
        back = await _go_back(way, targets, since, force=False, as_written=False, apart=True)
        tell(back)
        return back


async def _go_back(
    way: Way,
    targets: Sequence[Change],
    since: Mapping[str, Sequence[Change]],
    *,
    force: bool,
    as_written: bool,
    apart: bool = False,
) -> Back:
    connection, stage, run_id = way.connection, way.vessels, way.checkpoints.run_id
    undone = [later for change in targets for later in since[change.id]]
    # A vessel of the portal's that one of them has taken over goes back to what it was as well.
    in_force = [later for change in targets for later in changes.in_force(since[change.id])]
    roots = sorted({root for change in (*targets, *in_force) for root in change.roots})
    await expect(way, targets, since, roots, apart=apart)
    await elsewhere.refuse(stage, targets, roots)
    waiting = await others.without_ends(stage)
    hanging = await find(stage, way.graph)
    own_writes = await changes.transactions(connection, undone) if as_written else []
    drift = await stage.drift(MAX_LISTED, own_writes) + [row for one in hanging for row in one.drift]
    if drift and not force:
        raise Refused(drift)
    own = {change.id: new_id() for change in targets}
    if apart:
        await _take_apart(way, targets, own, hanging)
    else:
        await _take(way, targets, own, hanging)
    for one in hanging:
        if one.keys:
            await others.let_wait(connection, one.table, one.keys, run_id)
        await discard(connection, one)
    await _restore_context(way, targets)
    await _own_context(way, targets, own)
    await ledger.keep_assigned(stage)
    back = Back(await restore(stage), list(targets), list(own.values()), undone, drift)
    for one in hanging:
        gone = [row for row in one.drift if row.change == "added"]
        back.restored.deleted[one.table.name] += len(one.keys) + len(gone)
    back.waiting = sum(len(one.keys) for one in hanging)
    # First, as what is to be brought back may be known to wait by the ledger of one of these vessels.
    await ledger.set_back(connection, way.graph, targets, way.read(targets, "ledger"))
    for change in changes.newest_first(undone):
        hung = [part async for part in way.read([change], "hanging")]
        returned = await others.bring_back(connection, stage, way.graph, hung, roots)
        back.restored.inserted.update(returned)
        back.returned += returned.total()
    for table, keys in waiting.items():
        await others.let_wait(connection, stage.tables[table], keys, run_id)
    await prove(stage, roots)
    for change in targets:
        summary = f"to checkpoint {change.id}, {len(drift)} rows of others given up"
        await way.record(summary, forced=bool(drift), vessel=change.vessel_id)
    return back


async def _take(
    way: Way, targets: Sequence[Change], own: Mapping[str, str], hanging: Sequence[Hanging]
) -> None:
    """Takes the checkpoints of this way back, each under the id that it has in `own`."""
    others_of = [root for change in targets[1:] for root in change.roots]
    for change in targets:
        await way.checkpoints.of_vessel(
            way.connection,
            change.vessel_id or "",
            change.roots[0],
            id_=own[change.id],
            restored=change.id,
            together=[id_ for of, id_ in own.items() if of != change.id],
            # Also what somebody moved to another vessel meanwhile: in the first one's, whosever it was, since
            # all of them go back together.
            rows=what_is(way.vessels, others_of) if change is targets[0] else None,
            hanging=[(one.table, one.query) for one in hanging],
        )


async def _take_apart(
    way: Way, targets: Sequence[Change], own: Mapping[str, str], hanging: Sequence[Hanging]
) -> None:
    """The same where each vessel's rows are its own."""
    due = [
        Due(own[change.id], change.vessel_id or "", change.roots[0], False, (), restored=change.id)
        for change in targets
    ]
    along = await hangs.apart(way.vessels, hanging, [one.root for one in due])
    await of_vessels(way.checkpoints, way.connection, due, along)


def what_is(stage: Stage, roots: Sequence[str] = ()) -> parts.Rows:
    """What is there, without what belongs to these vessels (target ids)."""

    def query(table: TargetTable) -> str:
        theirs = f" WHERE ({stage.scope.rows(table.name, roots)}) IS NOT TRUE" if roots else ""
        return f"SELECT {', '.join(table.columns)} FROM now_{stage.number[table.name]} t{theirs}"

    return query


async def _restore_context(way: Way, targets: Sequence[Change]) -> None:
    """Companies and users that the restored rows refer to and that were deleted since."""
    stage = way.companies
    for copy in ("was", "now"):
        await stage.clear(copy)
    for change in targets:
        async for part in way.read([change], "context"):
            await stage.load(part, "one")
            # Vessels that go back together may bring the same company.
            n, table = stage.number[part.table], stage.tables[part.table]
            await stage.connection.execute(
                f"INSERT INTO was_{n} SELECT * FROM one_{n} w WHERE {stage.missing(table, 'w', 'was')};"
                f"DELETE FROM one_{n}"
            )
    for table in reversed(stage.scope.tables):
        n = stage.number[table.name]
        there = f"EXISTS (SELECT FROM {table.name} t WHERE {stage.same(table, 't', 'w')})"
        needed = "TRUE" if _is_details(stage, table) else _needed(way, table)
        await stage.connection.execute(f"DELETE FROM was_{n} w WHERE {there} OR NOT ({needed})")
    for table in stage.scope.tables:
        if _is_details(stage, table):
            # They come back with what they are details of, and only then.
            n, owner = stage.number[table.name], stage.scope.owner[table.name]
            await stage.connection.execute(
                f"DELETE FROM was_{n} w WHERE NOT EXISTS (SELECT FROM was_{stage.number[owner.parent]} p"
                f" WHERE p.{owner.parent_column} = w.{owner.column})"
            )
    await check_unique(stage, stage.scope.tables)
    for table in stage.scope.tables:
        await stage.connection.execute(insert_missing(stage, table))
    for table in stage.scope.tables:
        for statement in set_last(stage, table):
            await stage.connection.execute(statement)


def _is_details(stage: Stage, table: TargetTable) -> bool:
    owner = stage.scope.owner.get(table.name)
    return owner is not None and table.key == (owner.column,)


def _needed(way: Way, table: TargetTable) -> str:
    """A condition over a row `w` of the context: rows that come back refer to it. A user who is there still
    may be another company's by now."""
    needs = (
        f"EXISTS (SELECT FROM was_{stage.number[fk.child]} c WHERE c.{fk.column} = w.{fk.parent_column})"
        for stage in (way.vessels, way.companies)
        for fk in stage.scope.into(table.name)
        if fk.child in stage.number
        and fk.child != table.name
        and not (stage is way.companies and _is_details(stage, stage.tables[fk.child]))
    )
    return " OR ".join(needs) or "TRUE"


async def _own_context(way: Way, targets: Sequence[Change], own: Mapping[str, str]) -> None:
    """Companies and users that came back are bulkmig's again, as it had last written them then."""
    for of in FLEET:
        ids = await ledger.come_again(way.companies, way.checkpoints.run_id, of)
        for change in targets if ids else ():
            await ledger.own_again(way.connection, way.checkpoints.run_id, of, change, own[change.id], ids)
