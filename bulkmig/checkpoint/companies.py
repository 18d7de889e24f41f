"""The way back for a run's companies and users. What others use by now stays, and is listed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import polars as pl
from msgspec import Struct, field

from bulkmig._core.declare import Entity
from bulkmig.checkpoint import changes, ledger, parts
from bulkmig.checkpoint.back import MAX_LISTED, Refused, what_is
from bulkmig.checkpoint.changes import Change
from bulkmig.checkpoint.restore import Restored, prove, restore
from bulkmig.checkpoint.stage import Drift, Stage
from bulkmig.checkpoint.way import Way
from bulkmig.encode import base
from bulkmig.entities import FLEET, TABLES
from bulkmig.ledger import base as ledger_base
from bulkmig.ledger import write
from bulkmig.ledger.locks import LOCK
from bulkmig.postgres.session import transaction

# Rollbacks of vessels that brought companies or users back.
_BROUGHT = """
c.seq > $1 AND c.restored IS NOT NULL AND c.vessel_id IS NOT NULL AND EXISTS
 (SELECT FROM bulkmig.base b WHERE b.checkpoint_id = c.id AND b.vessel_id = $2::text::uuid)
"""
# Of the ledger, what names rows of the target.
_ABOUT = ("bulkmig.conflicts", "bulkmig.retained")


class CompaniesBack(Struct):
    """What became of them. `stayed`: rows that others use, by table."""

    restored: Restored
    checkpoint: str
    stayed: list[Drift] = field(default_factory=list)
    discarded: list[Drift] = field(default_factory=list)


async def go_back(
    way: Way, change: Change, *, force: bool, tell: Callable[[CompaniesBack], None]
) -> CompaniesBack:
    """Restores the companies and users of a run. Raises as `back.go_back`; `tell` as there."""
    connection, stage = way.connection, way.companies
    roots = list(change.roots)
    async with transaction(connection):
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await parts.complete(connection, {change.id: change.parts})
        await _expect(way, change, roots)
        drift = [row for row in await stage.drift(MAX_LISTED) if row.change != "added"]
        if drift and not force:
            raise Refused(drift)
        stayed = await _keep_used(stage)
        # Also users whom somebody moved to another company meanwhile.
        rows = what_is(stage)
        own = await way.checkpoints.of_companies(connection, roots, restored=change.id, rows=rows)
        back = CompaniesBack(await restore(stage), own, stayed, drift)
        await _set_back(way, change, own, stayed)
        for of in FLEET:
            await ledger.come_again(stage, way.checkpoints.run_id, of)
        await prove(stage, roots)
        summary = f"companies and users to checkpoint {change.id}, {len(stayed)} rows in use stay"
        await way.record(summary, forced=bool(drift))
        tell(back)
    return back


async def _expect(way: Way, change: Change, roots: Sequence[str]) -> None:
    stage = way.companies
    for copy in ("was", "due", "now", "one"):
        await stage.clear(copy)
    await stage.look(roots)
    await _state(way, stage, change)
    await stage.add("one", "was")
    since = await changes.since(way.connection, change)
    since += await changes.find(way.connection, _BROUGHT, change.seq, write.NIL)
    since.sort(key=lambda one: one.seq)
    for some, own in _alike(since, roots):
        await stage.clear("one")
        await _state(way, stage, change)
        await _go_through(way, own)
        await _drop(stage, some, others=True)
        await stage.add("one", "due")
    for copy in ("was", "due"):
        await stage.look_for(copy)
    await stage.look_below(roots)


def _alike(since: Sequence[Change], roots: Sequence[str]) -> list[tuple[list[str], list[Change]]]:
    """Companies that changed together ever since, with their changes; those of vessels may concern any."""
    found: dict[tuple[str, ...], tuple[list[str], list[Change]]] = {}
    for root in roots:
        own = [one for one in since if one.vessel_id is not None or root in one.roots]
        found.setdefault(tuple(one.id for one in own), ([], own))[0].append(root)
    return [*found.values()]


async def _go_through(way: Way, since: Sequence[Change]) -> None:
    """Lets `one` go through these changes, as far as they are in force."""
    stage, known = way.companies, {one.id for one in since}
    for later in changes.in_force(since):
        if later.vessel_id is not None:
            await _came_along(way, later)
        elif later.restored is None:
            await stage.expect_written([later.id])
        else:
            if later.restored not in known:
                (to,) = await changes.find(way.connection, "c.id = $1::text::uuid", later.restored)
                await _drop(stage, to.roots, others=False)
                await _state(way, stage, to)
            await stage.expect_written([later.id], stayed=True)


async def _came_along(way: Way, later: Change) -> None:
    """Lets `one` have the companies and users that a vessel's rollback brought back, which it needs."""
    connection, stage = way.connection, way.companies
    for before in await changes.find(connection, "c.id = $1::text::uuid", later.restored):
        async for part in way.read([before], "context"):
            await stage.load(part, "new")
    for of in FLEET:
        parts_of = await connection.fetch(
            "SELECT id FROM bulkmig.base"
            " WHERE checkpoint_id = $1::text::uuid AND vessel_id = $2::text::uuid AND entity = $3",
            later.id,
            write.NIL,
            of.name,
        )
        for frame in await _rows(way, of, [row["id"] for row in parts_of]):
            ids = frame[f"{of.tables[0].name}.{of.tables[0].own_key}"].to_list()
            for table in of.tables:
                n, target = stage.number[table.name], stage.tables[table.name]
                await connection.execute(
                    f"INSERT INTO one_{n} SELECT * FROM new_{n} d"
                    f" WHERE d.{table.own_key} = ANY ($1::text[]::uuid[])"
                    f" AND {stage.missing(target, 'd', 'one')}",
                    ids,
                )
    await stage.clear("new")


async def _state(way: Way, stage: Stage, change: Change) -> None:
    async for part in way.read([change], "state"):
        await stage.load(part, "one")


async def _drop(stage: Stage, roots: Sequence[str], *, others: bool) -> None:
    """Takes the rows of these companies out of `one`, or of all others."""
    for table in stage.scope.tables:
        n, owner = stage.number[table.name], stage.scope.owner.get(table.name)
        if owner is None:
            listed = f"{stage.scope.key} = ANY ($1::text[]::uuid[])"
            await stage.connection.execute(
                f"DELETE FROM one_{n} WHERE {'NOT ' if others else ''}{listed}", list(roots)
            )
        else:
            await stage.connection.execute(
                f"DELETE FROM one_{n} c WHERE NOT EXISTS (SELECT FROM one_{stage.number[owner.parent]} p"
                f" WHERE p.{owner.parent_column} = c.{owner.column})"
            )


async def _keep_used(stage: Stage) -> list[Drift]:
    """Moves rows that others use, and rows that others added, from those that go to those that stay."""
    stayed: list[Drift] = []

    async def keep(name: str, condition: str) -> None:
        table, n = stage.tables[name], stage.number[name]
        key = ", ".join(f"{column}::text" for column in table.key)
        rows = await stage.connection.fetch(
            f"INSERT INTO was_{n} SELECT * FROM now_{n} o WHERE {stage.missing(table, 'o', 'was')}"
            f" AND ({condition}) RETURNING concat_ws('/', {key})"
        )
        stayed.extend(Drift(name, row[0], "kept") for row in rows)

    for table in reversed(stage.scope.tables):
        if not table.key:
            continue
        added, owner = stage.missing(table, "o", "due"), stage.scope.owner.get(table.name)
        if owner is not None and table.key == (owner.column,):
            # Who is of another company by now isn't due with these: his details weren't added by others.
            n = stage.number[owner.parent]
            added += f" AND EXISTS (SELECT FROM due_{n} p WHERE p.{owner.parent_column} = o.{owner.column})"
        await keep(table.name, added)
        for fk in stage.scope.into(table.name):
            child = stage.tables.get(fk.child)
            refers = f"c.{fk.column} = o.{fk.parent_column}"
            if child is None:
                await keep(table.name, f"EXISTS (SELECT FROM {fk.child} c WHERE {refers})")
            elif fk.child not in TABLES or child.key != (fk.column,):
                n = stage.number[fk.child]
                outside = (
                    f"EXISTS (SELECT FROM {fk.child} c WHERE {refers} AND {stage.missing(child, 'c', 'now')})"
                )
                await keep(table.name, f"EXISTS (SELECT FROM was_{n} c WHERE {refers})")
                await keep(table.name, outside)
    for table in stage.scope.tables:
        owner = stage.scope.owner.get(table.name)
        if owner is not None and table.key == (owner.column,):
            # Details stay with what they are details of.
            ids = ", ".join(f"'{row.id}'" for row in stayed if row.table == owner.parent)
            if ids:
                await keep(table.name, f"o.{owner.column} IN ({ids})")
    return stayed


async def _set_back(way: Way, change: Change, own: str, stayed: Sequence[Drift]) -> None:
    connection = way.connection
    undone = [later for later in await changes.since(connection, change) if later.id != own]
    runs = [later.run_id for later in undone]
    mine, others = await _base(way, change, own, {row.id for row in stayed})
    about = dict.fromkeys(_ABOUT, mine) | {"bulkmig.identities": mine - others}
    await connection.execute(
        "DELETE FROM bulkmig.identities WHERE entity IN ('company', 'user') AND adopted"
        " AND run_id = ANY ($1::text[]::uuid[]) AND NOT target_id = ANY ($2::text[]::uuid[])",
        runs,
        sorted(others),
    )
    await connection.execute(
        "DELETE FROM bulkmig.quarantine WHERE vessel_id IS NULL AND run_id = ANY ($1::text[]::uuid[])", runs
    )
    left = others.union(row.id for row in stayed if "/" not in row.id)
    for table in _ABOUT:  # what is known of rows that stay, and of other companies', stays
        await connection.execute(
            f"DELETE FROM {table} WHERE vessel_id IS NULL AND NOT target_id = ANY ($2::text[]::uuid[])"
            " AND (run_id = ANY ($1::text[]::uuid[]) OR target_id = ANY ($3::text[]::uuid[]) AND run_id IN"
            " (SELECT run_id FROM bulkmig.checkpoints WHERE vessel_id IS NULL AND seq > $4))",
            runs,
            sorted(left),
            sorted(mine),  # among them who was another company's when a run was about him
            change.seq,
        )
    # What a rollback among them had set back goes as well.
    for later in undone:
        for one in await changes.find(connection, "c.id = $1::text::uuid", later.restored):
            await _put_back(way, one, about, rows=False)
    await _put_back(way, change, about)


async def _put_back(
    way: Way, change: Change, about: Mapping[str, Collection[str]], *, rows: bool = True
) -> None:
    """The ledger's entries as they were then. `about`: table -> target ids; what was decided since about
    others than these stays decided, and what was adopted stays adopted."""
    async for part in way.read([change], "ledger"):
        only = {"target_id": about[part.table]} if part.table in about else None
        key = way.graph.tables[part.table].key
        await parts.put_back(way.connection, part, key, rows=rows, about=only)


async def _base(way: Way, change: Change, own: str, stayed: set[str]) -> tuple[set[str], set[str]]:
    """The base of these companies is what it was then, and what stays; of all others it is what it is.
    Returns the target ids of the companies and of their users, then and now, and of all whose base is what it
    is now."""
    connection, roots = way.connection, list(change.roots)
    mine, others = set(roots), set[str]()
    holding = [
        row["id"]
        for row in await connection.fetch(
            "SELECT id FROM bulkmig.base WHERE vessel_id = $1::text::uuid AND holds ORDER BY id", write.NIL
        )
    ]
    for of in FLEET:
        main = of.tables[0]
        owner = way.companies.scope.owner.get(main.name)
        company = pl.col(f"{main.name}.{owner.column if owner else main.own_key}").is_in(roots)
        kept = pl.col(f"{main.name}.{main.own_key}").is_in(list(stayed))
        now, then = await _rows(way, of, holding), await _rows(way, of, change.base)
        back = [frame.filter(company & ~kept) for frame in then]
        # Users who have moved to other companies since are these companies' again. Who was nobody's that
        # bulkmig wrote is so again, of whatever company he is by now.
        known = [id_ for frame in then for id_ in frame["source_id"]]
        again = pl.col(f"{main.name}.{main.own_key}").is_in(await _ids(way, of)) & ~kept
        nobodys = again & ~pl.col("source_id").is_in(known)
        ours = nobodys | pl.col("source_id").is_in([id_ for frame in back for id_ in frame["source_id"]])
        pieces = [frame.filter(~company & ~ours | kept) for frame in now]
        for piece in pieces:
            others.update(piece[f"{main.name}.{main.own_key}"])
        pieces += back
        stays = [frame.filter(kept) for frame in now]
        for written in (*now, *then):
            mine.update(written.filter(company | nobodys)[f"{main.name}.{main.own_key}"])
        for kind, holds, frames in (("rows", True, pieces), ("stayed", False, stays)):
            frame = pl.concat(frames) if frames else None
            if frame is not None and frame.height:
                part = write.BasePart(write.NIL, of.name, frame.height, base(of, frame), own, kind, holds)
                await write.base_parts(connection, way.checkpoints.run_id, [part])
    await connection.execute("UPDATE bulkmig.base SET holds = false WHERE id = ANY ($1::bigint[])", holding)
    return mine, others


async def _ids(way: Way, of: Entity) -> list[str]:
    """The target ids of an entity's rows that come back, or stay."""
    n, key = way.companies.number[of.tables[0].name], of.tables[0].own_key
    return [row["id"] for row in await way.connection.fetch(f"SELECT {key}::text AS id FROM was_{n}")]


async def _rows(way: Way, of: Entity, ids: Sequence[int]) -> list[pl.DataFrame]:
    """The rows of these parts of the base in one frame, if there are any."""
    frame = await ledger_base.read_parts(way.connection, ids, of.name)
    return [] if frame is None else [frame]
