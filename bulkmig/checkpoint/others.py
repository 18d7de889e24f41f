"""Rows of other vessels that end on rows which go, in a rollback or in a sync, or on rows which come back:
bulkmig's own become pending again, and return with what they end on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import polars as pl

from bulkmig._core.ids import id_range
from bulkmig.checkpoint.parts import Owner, Part, copy_part
from bulkmig.checkpoint.stage import Stage
from bulkmig.checkpoint.take import add_hanging
from bulkmig.encode import read_base
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import base
from bulkmig.ledger.base import SEALED, opened
from bulkmig.postgres.session import Connection, pairs
from bulkmig.source.queries import uuid_array
from bulkmig.target.graph import Graph
from bulkmig.target.scope import ForeignKey, TargetTable

#: table -> (entity, the digit of its ids), for rows that can wait for other vessels
WAITING = {e.tables[0].name: (e.name, e.digit) for e in PER_VESSEL if e.waits is not None}


def id_of(table: TargetTable) -> str:
    """SQL: the id of a row `t`, whatever its key is made of."""
    return f"concat_ws('/', {', '.join(f't.{column}::text' for column in table.key)})"


def waits(table: str, id_: str) -> bool:
    """Whether the row with this id is one that bulkmig wrote, and can wait."""
    return table in WAITING and id_[14:16] == "8" + WAITING[table][1]


async def let_wait(connection: Connection, table: TargetTable, keys: Sequence[str], run_id: str) -> None:
    """Records these rows (target ids) as pending, and deletes them."""
    entity, _ = WAITING[table.name]
    for owner, source_ids in (await _sources(connection, table, keys)).items():
        await connection.execute(
            "INSERT INTO bulkmig.pending (entity, source_id, vessel_id, run_id)"
            " SELECT $1, s::uuid, $3::text::uuid, $4::text::uuid FROM unnest($2::text[]) AS u (s)"
            " ON CONFLICT DO NOTHING",
            entity,
            [source for _, source in source_ids],
            owner,
            run_id,
        )
    await connection.execute(
        f"DELETE FROM {table.name} WHERE {table.key[0]} = ANY ($1::text[]::uuid[])", list(keys)
    )


async def take_along(
    connection: Connection, graph: Graph, of: Owner, parent: str, ids: Iterable[str], roots: Iterable[str]
) -> Counter[str]:
    """Keeps, in the checkpoint of a change that deletes these rows of `parent`, the rows of others than these
    vessels (`roots`) that refer to them; bulkmig's own go, and wait. Returns how many, by table."""
    went: Counter[str] = Counter()
    for name in WAITING:
        table, going = graph.tables[name], uuid_array(ids)
        ends = [f"t.{fk.column} = ANY ({going})" for fk in graph.vessels.into(parent) if fk.child == name]
        if not ends:
            continue
        mine = graph.vessels.rows(name, roots)
        where = f"FROM {name} t WHERE ({' OR '.join(ends)}) AND ({mine}) IS NOT TRUE"
        rows = await connection.fetch(f"SELECT {id_of(table)} AS id {where} FOR UPDATE OF t")
        if not rows:
            continue
        await add_hanging(connection, of, table, f"SELECT {', '.join(table.columns)} {where}")
        own = [row["id"] for row in rows if waits(name, row["id"])]
        await let_wait(connection, table, own, of.run_id)
        went[name] += len(own)
    return went


async def bring_back(
    connection: Connection, stage: Stage, graph: Graph, parts: Iterable[Part], roots: Sequence[str]
) -> Counter[str]:
    """Inserts rows of others that went along once, and gives those that stayed their references back, where
    all that they refer to is there again; they wait no longer. Those that belong to vessels which go back as
    well (`roots`) are in `was` from now on. Returns how many came, by table."""
    back: defaultdict[str, list[str]] = defaultdict(list)
    for part in parts:
        table = graph.tables[part.table]
        keys = list(stage.scope.out_of(table.name))
        await connection.execute(
            f"CREATE TEMPORARY TABLE part_rows ON COMMIT DROP AS TABLE {table.name} WITH NO DATA"
        )
        await copy_part(connection, "part_rows", part)
        if table.name in WAITING:
            await _only_waiting(connection, table)
        there = "".join(f" AND (w.{fk.column} IS NULL OR {_there(fk)})" for fk in keys)
        columns = ", ".join(table.columns)
        rows = await connection.fetch(
            f"INSERT INTO {table.name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM part_rows w"
            f" WHERE true{there} AND NOT EXISTS (SELECT FROM {table.name} x"
            f" WHERE {stage.same(table, 'x', 'w')})"
            f" ON CONFLICT DO NOTHING RETURNING {table.key[0]}::text AS id"
        )
        for fk in keys:
            if fk.nullable and fk.parent in stage.number:
                await connection.execute(
                    f"UPDATE {table.name} t SET {fk.column} = w.{fk.column} FROM part_rows w"
                    f" WHERE {stage.same(table, 't', 'w')} AND t.{fk.column} IS NULL AND {_there(fk)}"
                )
        await connection.execute("DROP TABLE part_rows")
        back[table.name] += [row["id"] for row in rows]
    for name, ids in back.items():
        if name in WAITING:
            for source_ids in (await _sources(connection, graph.tables[name], ids)).values():
                await connection.execute(
                    "DELETE FROM bulkmig.pending WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[])",
                    WAITING[name][0],
                    [source for _, source in source_ids],
                )
        if ids and name in stage.number:
            table = graph.tables[name]
            columns, mine = ", ".join(f"t.{c}" for c in table.columns), stage.scope.rows(name, roots)
            await connection.execute(
                f"INSERT INTO was_{stage.number[name]} SELECT {columns} FROM {name} t"
                f" WHERE t.{table.key[0]} = ANY ($1::text[]::uuid[]) AND {mine}",
                ids,
            )
    return Counter({name: len(ids) for name, ids in back.items()})


async def _only_waiting(connection: Connection, table: TargetTable) -> None:
    """Leaves only those of bulkmig's own `part_rows` that wait and count as written. The source has deleted
    others since, or they have come back and the portal has deleted them, or their vessel went back to before
    them: what it was given anew since and still waits is for the next run to bring, as the source has it."""
    key, (entity, _) = table.key[0], WAITING[table.name]
    rows = await connection.fetch(f"SELECT {key}::text AS id FROM part_rows")
    own = [row["id"] for row in rows if waits(table.name, row["id"])]
    known: set[str] = set()
    for owner, found in (await _sources(connection, table, own)).items():
        sources = [source for _, source in found]
        pending = await connection.fetch(
            "SELECT source_id::text AS id FROM bulkmig.pending"
            " WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[])",
            entity,
            sources,
        )
        written = await base.among(connection, [owner], entity, sources)
        there = {row["id"] for row in pending} & set(() if written is None else written["source_id"])
        known |= {id_ for id_, source in found if source in there}
    await connection.execute(
        f"DELETE FROM part_rows WHERE {key} = ANY ($1::text[]::uuid[])", sorted(set(own) - known)
    )


def _there(fk: ForeignKey) -> str:
    return f"EXISTS (SELECT FROM {fk.parent} p WHERE p.{fk.parent_column} = w.{fk.column})"


async def without_ends(stage: Stage) -> dict[str, list[str]]:
    """Takes rows out of `was` and `due` whose other ends aren't there and don't come back: table -> keys."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in WAITING:
        for fk in stage.scope.out_of(name) if name in stage.number else ():
            if fk.parent not in stage.number:
                continue
            n, key, parent = stage.number[name], stage.tables[name].key[0], stage.number[fk.parent]
            same = f"p.{fk.parent_column} = w.{fk.column}"
            # Two statements: of conditions joined by OR none becomes a join of sets.
            for lost in (
                f"NOT EXISTS (SELECT FROM {fk.parent} p WHERE {same})",
                f"EXISTS (SELECT FROM now_{parent} p WHERE {same})",
            ):
                rows = await stage.connection.fetch(
                    f"DELETE FROM was_{n} w WHERE w.{fk.column} IS NOT NULL AND {lost}"
                    f" AND NOT EXISTS (SELECT FROM was_{parent} p WHERE {same}) RETURNING w.{key}::text AS id"
                )
                if rows:
                    found[name] += [row["id"] for row in rows]
    return found


async def without_waiting(stage: Stage, vessels: Sequence[str]) -> None:
    """Takes rows out of `due` that wait for other vessels by now, and so aren't there."""
    for name, (entity, _) in WAITING.items():
        pending = await stage.connection.fetch(
            "SELECT source_id::text FROM bulkmig.pending"
            " WHERE entity = $1 AND vessel_id = ANY ($2::text[]::uuid[])",
            entity,
            list(vessels),
        )
        if not pending or name not in stage.number:
            continue
        table = stage.tables[name]
        absent = await stage.connection.fetch(
            f"SELECT d.{table.key[0]}::text FROM due_{stage.number[name]} d"
            f" WHERE {stage.missing(table, 'd', 'now')}"
        )
        waiting = {row[0] for row in pending}
        known = await _sources(stage.connection, table, [row[0] for row in absent])
        keys = [id_ for found in known.values() for id_, source in found if source in waiting]
        await stage.connection.execute(
            f"DELETE FROM due_{stage.number[name]} WHERE {table.key[0]} = ANY ($1::text[]::uuid[])", keys
        )


async def with_returned(stage: Stage, vessels: Sequence[str]) -> None:
    """Adds rows to `one` that had gone with rows of other vessels and came back with them."""
    for name, (entity, _) in WAITING.items():
        if name not in stage.number:
            continue
        table = stage.tables[name]
        rows = await stage.connection.fetch(
            f"SELECT o.{table.key[0]}::text AS id FROM now_{stage.number[name]} o"
            f" WHERE {stage.missing(table, 'o', 'one')}"
        )
        own = [row["id"] for row in rows if waits(name, row["id"])]
        written = await base.read(stage.connection, vessels, entity) if own else None
        if written is not None:
            of = next(of for of in PER_VESSEL if of.name == entity)
            back = written.filter(pl.col(f"{name}.{table.key[0]}").is_in(own))
            await stage.merge(of, of.tables[0], back)


async def _sources(
    connection: Connection, table: TargetTable, keys: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    """vessel (source id) -> (target id, source id) of rows that bulkmig wrote, from the base."""
    entity, _ = WAITING[table.name]
    cell = f"{table.name}.{table.key[0]}"
    wanted = list(keys)
    owners = [
        row["id"]
        for row in await connection.fetch(
            "SELECT DISTINCT vessel_id::text AS id FROM bulkmig.base WHERE entity = $1", entity
        )
    ]
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    # Rows that have moved to another vessel keep their ids: whose they are by now is looked for everywhere.
    moved = pairs(
        await connection.fetch(
            "SELECT source_id::text, target_id::text FROM bulkmig.identities"
            " WHERE entity = $1 AND target_id = ANY ($2::text[]::uuid[])",
            entity,
            wanted,
        )
    )
    for owner in owners if moved else ():
        held = await base.among(connection, [owner], entity, moved)
        found[owner] += [] if held is None else held.select(cell, "source_id").iter_rows()
    known = {id_ for rows in found.values() for id_, _ in rows}
    # All others begin like their vessels' ids (docs/decisions/0002-ids.md), which leaves few to look into.
    wanted = [id_ for id_ in wanted if id_ not in known]
    prefixes = {id_[:13] for id_ in wanted}
    for owner in owners:
        if id_range(owner)[0][:13] not in prefixes:
            continue
        seen: dict[str, str] = {}
        for row in await connection.fetch(
            f"SELECT {SEALED} FROM bulkmig.base WHERE vessel_id = $1::text::uuid AND entity = $2"
            " AND kind = 'rows' ORDER BY id",
            owner,
            entity,
        ):
            frame = read_base(opened(connection, row)).filter(pl.col(cell).is_in(wanted))
            seen |= dict(frame.select(cell, "source_id").iter_rows())
        found[owner] += seen.items()
    return {owner: rows for owner, rows in found.items() if rows}
