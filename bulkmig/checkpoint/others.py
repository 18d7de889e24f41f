"""Rows of other vessels that end on rows which go, or on rows which come back.

bulkmig's own become pending again and return with what they end on; anybody else's are drift."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from bulkmig._core.ids import id_range
from bulkmig.checkpoint.parts import Part, copy_part
from bulkmig.checkpoint.stage import Drift, Stage
from bulkmig.encode import read_base
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger.base import SEALED, opened
from bulkmig.postgres.session import Connection
from bulkmig.target.graph import ForeignKey, TargetTable

#: table -> (entity, the digit of its ids), for rows that can wait for other vessels
WAITING = {e.tables[0].name: (e.name, e.digit) for e in PER_VESSEL if e.waits is not None}


@dataclass(frozen=True)
class Hanging:
    """Rows outside of the stage that refer to rows which go. `keys`: of those that bulkmig wrote and that
    will wait; `drift`: the others."""

    table: TargetTable
    query: str
    keys: tuple[str, ...]
    drift: tuple[Drift, ...]


async def hanging(stage: Stage) -> list[Hanging]:
    """What of other vessels the restoring would take along."""
    found = []
    for table in stage.scope.tables:
        ends = [
            f"t.{fk.column} IN (SELECT o.{fk.parent_column} FROM now_{stage.number[fk.parent]} o"
            f" WHERE {stage.missing(stage.tables[fk.parent], 'o', 'was')})"
            for fk in stage.scope.out_of(table.name)
            if fk.parent in stage.number
        ]
        if not ends or not table.key:
            continue
        query = f"FROM {table.name} t WHERE ({' OR '.join(ends)}) AND {stage.missing(table, 't', 'now')}"
        key = ", ".join(f"t.{column}::text" for column in table.key)
        rows = await stage.connection.fetch(f"SELECT concat_ws('/', {key}) AS id {query} FOR UPDATE OF t")
        ids = [row["id"] for row in rows]
        if ids:
            own = [id_ for id_ in ids if _waits(table.name, id_)]
            drift = tuple(Drift(table.name, id_, "added") for id_ in ids if id_ not in set(own))
            columns = ", ".join(f"t.{column}" for column in table.columns)
            found.append(Hanging(table, f"SELECT {columns} {query}", tuple(own), drift))
    return found


def _waits(table: str, id_: str) -> bool:
    return table in WAITING and id_[14:16] == "8" + WAITING[table][1]


async def let_wait(
    connection: Connection, stage: Stage, table: str, keys: Sequence[str], run_id: str
) -> None:
    """Records these rows (target ids) as pending, and deletes them."""
    entity, _ = WAITING[table]
    key = stage.tables[table].key[0]
    for owner, source_ids in (await _sources(connection, stage, table, keys)).items():
        await connection.execute(
            "INSERT INTO bulkmig.pending (entity, source_id, vessel_id, run_id)"
            " SELECT $1, s::uuid, $3::text::uuid, $4::text::uuid FROM unnest($2::text[]) AS u (s)"
            " ON CONFLICT DO NOTHING",
            entity,
            [source for _, source in source_ids],
            owner,
            run_id,
        )
    await connection.execute(f"DELETE FROM {table} WHERE {key} = ANY ($1::text[]::uuid[])", list(keys))


async def bring_back(connection: Connection, stage: Stage, parts: Iterable[Part]) -> int:
    """Inserts rows of other vessels that went along once, where all that they refer to is there again; they
    wait no longer. Returns how many."""
    back: defaultdict[str, list[str]] = defaultdict(list)
    for part in parts:
        table, n = stage.tables[part.table], stage.number[part.table]
        await copy_part(connection, f"new_{n}", part)
        there = "".join(
            f" AND (w.{fk.column} IS NULL OR EXISTS"
            f" (SELECT FROM {fk.parent} p WHERE p.{fk.parent_column} = w.{fk.column}))"
            for fk in stage.scope.out_of(table.name)
        )
        columns = ", ".join(table.columns)
        rows = await connection.fetch(
            f"INSERT INTO {table.name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM new_{n} w"
            f" WHERE true{there} AND NOT EXISTS (SELECT FROM {table.name} x"
            f" WHERE {stage.same(table, 'x', 'w')})"
            f" ON CONFLICT DO NOTHING RETURNING {table.key[0]}::text AS id"
        )
        await connection.execute(f"DELETE FROM new_{n}")
        back[table.name] += [row["id"] for row in rows]
    for name, ids in back.items():
        if name in WAITING:
            for source_ids in (await _sources(connection, stage, name, ids)).values():
                await connection.execute(
                    "DELETE FROM bulkmig.pending WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[])",
                    WAITING[name][0],
                    [source for _, source in source_ids],
                )
    return sum(len(ids) for ids in back.values())


async def without_ends(stage: Stage) -> dict[str, list[str]]:
    """Takes rows out of `was` and `due` whose other ends aren't there and don't come back: table -> keys."""
    found: dict[str, list[str]] = {}
    for name in WAITING:
        if name not in stage.number:
            continue
        n, key = stage.number[name], stage.tables[name].key[0]
        lost = " OR ".join(_lost(stage, fk) for fk in stage.scope.out_of(name) if fk.parent in stage.number)
        rows = await stage.connection.fetch(
            f"DELETE FROM was_{n} w WHERE {lost} RETURNING w.{key}::text AS id"
        )
        if rows:
            found[name] = [row["id"] for row in rows]
    return found


def _lost(stage: Stage, fk: ForeignKey) -> str:
    n = stage.number[fk.parent]
    same = f"p.{fk.parent_column} = w.{fk.column}"
    return (
        f"(w.{fk.column} IS NOT NULL AND NOT EXISTS (SELECT FROM was_{n} p WHERE {same})"
        f" AND NOT EXISTS (SELECT FROM {fk.parent} p WHERE {same} AND"
        f" {stage.missing(stage.tables[fk.parent], 'p', 'now')}))"
    )


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
        known = await _sources(stage.connection, stage, name, [row[0] for row in absent])
        keys = [id_ for found in known.values() for id_, source in found if source in waiting]
        await stage.connection.execute(
            f"DELETE FROM due_{stage.number[name]} WHERE {table.key[0]} = ANY ($1::text[]::uuid[])", keys
        )


async def _sources(
    connection: Connection, stage: Stage, table: str, keys: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    """vessel (source id) -> (target id, source id) of rows that bulkmig wrote, from the base."""
    entity, _ = WAITING[table]
    cell = f"{table}.{stage.tables[table].key[0]}"
    wanted = list(keys)
    owners = await connection.fetch(
        "SELECT DISTINCT vessel_id::text AS id FROM bulkmig.base WHERE entity = $1", entity
    )
    # A row's id begins like its vessel's (docs/decisions/0002-ids.md), which leaves few vessels to look into.
    prefixes = {id_[:13] for id_ in wanted}
    found: dict[str, list[tuple[str, str]]] = {}
    for owner in owners:
        if id_range(owner["id"])[0][:13] not in prefixes:
            continue
        seen: dict[str, str] = {}
        for row in await connection.fetch(
            f"SELECT {SEALED} FROM bulkmig.base WHERE vessel_id = $1::text::uuid AND entity = $2"
            " AND kind = 'rows' ORDER BY id",
            owner["id"],
            entity,
        ):
            frame = read_base(opened(connection, row)).filter(pl.col(cell).is_in(wanted))
            seen |= dict(frame.select(cell, "source_id").iter_rows())
        if seen:
            found[owner["id"]] = list(seen.items())
    return found
