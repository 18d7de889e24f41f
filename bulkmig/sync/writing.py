"""Rows that a plan writes, and the values that they give up first."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from bulkmig._core.declare import Entity, Table
from bulkmig.postgres.session import Connection
from bulkmig.sync.parts import Part
from bulkmig.sync.row import Row, equal_in, key_of
from bulkmig.sync.step import Step, was_in
from bulkmig.target.postgres import upsert


async def write_rows(steps: Sequence[Step], entity: Entity, table: Table) -> None:
    left: list[Row] = []
    rows: list[Row] = []
    for step in steps:
        part, done = step.part(entity), step.done
        inside = {id_: row for id_, row in part.write.items() if table.name in row.tables}
        leaving = [
            id_
            for id_, row in part.write.items()
            if was_in(part, id_, table)
            and (id_ not in inside or key_of(table, part.was[id_]) != key_of(table, row))
        ]
        same = {id_ for id_, row in inside.items() if _is_same(part, id_, table, row)}
        other = {id_: row for id_, row in inside.items() if id_ not in same}
        there = sum(was_in(part, id_, table) for id_ in other)
        done.updated[table.name] += there
        done.inserted[table.name] += len(other) - there
        done.deleted[table.name] += sum(id_ not in inside for id_ in leaving)
        done.unchanged[table.name] += part.unchanged[table.name] + len(same)
        left += [was for id_ in leaving if (was := part.was[id_]) is not None]
        rows += other.values()
    means = steps[0].means
    await take_out(means.connection, table, left)
    if rows:
        frame = pl.DataFrame(
            {
                name: pl.Series([row[f"{table.name}.{name}"] for row in rows], dtype=pl.String)
                for name in table.cells
            }
        )
        await upsert(means.connection, table.name, table.key, frame, means.catalogue)


def _is_same(part: Part, id_: str, table: Table, row: Row) -> bool:
    """Whether nothing changes in this table, be it in others of the entity."""
    was = part.was[id_]
    return was is not None and table.name in was.tables and equal_in(part.entity, table, was, row)


async def let_go(steps: Sequence[Step], entity: Entity, table: Table) -> None:
    """Rows whose unique value another one gets give it up first, so that none meets the other's old one."""
    means = steps[0].means
    for unique in means.graph.tables[table.name].unique:
        if len(unique) != 1 or unique[0] not in table.cells or unique[0] == table.own_key:
            continue
        cell = f"{table.name}.{unique[0]}"
        parts = [step.part(entity) for step in steps]
        wanted = {row[cell] for part in parts for row in part.write.values()} - {None}
        moving = [
            id_
            for part in parts
            for id_, row in part.write.items()
            if (was := part.was[id_]) is not None and was[cell] != row[cell] and was[cell] in wanted
        ]
        if not moving:
            continue
        column = means.catalogue[table.name][unique[0]]
        # Something that nobody else has: most such columns may be NULL, the others are texts.
        aside = "NULL" if column.nullable else "gen_random_uuid()::text"
        await means.connection.execute(
            f"UPDATE {table.name} SET {unique[0]} = {aside} WHERE {table.own_key} = ANY ($1::text[]::uuid[])",
            moving,
        )


async def take_out(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Deletes rows from a table that doesn't hold them any more, but not what the portal has under another
    key that has their id in it."""
    if rows:
        names, ids = ", ".join(table.key), ", ".join(f"{name}::uuid" for name in table.key)
        arrays = ", ".join(f"${n}::text[]" for n in range(1, len(table.key) + 1))
        await connection.execute(
            f"DELETE FROM {table.name} WHERE ({names})"
            f" IN (SELECT {ids} FROM unnest({arrays}) AS u ({names}))",
            *([row[f"{table.name}.{name}"] for row in rows] for name in table.key),
        )


async def delete_rows(connection: Connection, table: Table, ids: list[str]) -> None:
    if ids:
        await connection.execute(
            f"DELETE FROM {table.name} WHERE {table.own_key} = ANY ($1::text[]::uuid[])", ids
        )
