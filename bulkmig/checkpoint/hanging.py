"""What hangs on rows that a rollback takes away: rows of others that refer to them.

bulkmig's own wait; anybody else's are drift. Where they can be without it they stay, and lose the reference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from bulkmig.checkpoint.others import WAITING, id_of, waits
from bulkmig.checkpoint.stage import Drift, Stage
from bulkmig.postgres.session import Connection
from bulkmig.source.queries import uuid_array
from bulkmig.target.graph import Graph
from bulkmig.target.scope import ForeignKey, TargetTable, rows_by


class Hanging(Struct, frozen=True):
    """Rows outside of the stage that refer to rows which go. `keys`: of those that bulkmig wrote and that
    will wait; `drift`: the others, of which those that are `changed` lose the references in `cut` (column ->
    condition)."""

    table: TargetTable
    query: str
    keys: tuple[str, ...]
    drift: tuple[Drift, ...]
    cut: Mapping[str, str]


async def find(stage: Stage, graph: Graph) -> list[Hanging]:
    """What of other vessels, and of companies, the restoring would take along."""
    keys: defaultdict[str, list[ForeignKey]] = defaultdict(list)
    for fk in stage.scope.foreign_keys:
        if fk.parent in stage.number:
            keys[fk.child].append(fk)
    found = []
    for name, ends in keys.items():
        table = graph.tables[name]
        if not table.key:
            continue
        outside = f" AND {stage.missing(table, 't', 'now')}" if name in stage.number else ""
        # Each foreign key by itself: of conditions joined by OR none becomes a join of sets.
        where = {fk: f"{_ends_on_what_goes(stage, fk)}{outside}" for fk in ends}
        rows = await stage.connection.fetch(
            " UNION ALL ".join(
                f"SELECT * FROM (SELECT {id_of(table)} AS id, {str(not fk.nullable).lower()} AS firm"
                f" FROM {name} t WHERE {condition} FOR UPDATE OF t) AS of_{n}"
                for n, (fk, condition) in enumerate(where.items())
            )
        )
        if rows:
            firm = {row["id"] for row in rows if row["firm"]}
            ids = dict.fromkeys(row["id"] for row in rows)
            own = {id_ for id_ in ids if waits(name, id_)}
            drift = [Drift(name, id_, "added" if id_ in firm else "changed") for id_ in ids if id_ not in own]
            columns, key = (", ".join(f"t.{column}" for column in of) for of in (table.columns, table.key))
            these = " UNION ALL ".join(f"SELECT {key} FROM {name} t WHERE {c}" for c in where.values())
            query = f"SELECT {columns} FROM {name} t WHERE ({key}) IN ({these})"
            cut = {fk.column: _ends_on_what_goes(stage, fk) for fk in ends if fk.nullable}
            found.append(Hanging(table, query, tuple(own), tuple(drift), cut))
    return found


def _ends_on_what_goes(stage: Stage, fk: ForeignKey) -> str:
    """A condition over `t`, a row with this foreign key."""
    gone = stage.missing(stage.tables[fk.parent], "o", "was")
    return f"t.{fk.column} IN (SELECT o.{fk.parent_column} FROM now_{stage.number[fk.parent]} o WHERE {gone})"


async def apart(
    stage: Stage, hanging: Sequence[Hanging], roots: Sequence[str]
) -> list[tuple[TargetTable, str]]:
    """Queries of rows that can wait and refer to rows of these vessels (target ids) which go, each behind the
    vessel that they go along with (`marked`): those of others, `hanging`, and those of one of them that refer
    to another, so that each finds them again that comes back by itself."""
    queries = []
    outside = {one.table.name: uuid_array(one.keys) for one in hanging}
    for name in WAITING:
        table = stage.tables.get(name)
        for fk in stage.scope.out_of(name) if table is not None else ():
            if table is None or fk.parent not in stage.number:
                continue
            key, columns = table.key[0], f"{table.key[0]} AS id, {fk.column} AS refers"
            rows = f"SELECT {columns} FROM now_{stage.number[name]}"
            if name in outside:
                rows += f" UNION ALL SELECT {columns} FROM {name} WHERE {key} = ANY ({outside[name]})"
            theirs = stage.scope.owned(fk.parent, fk.parent_column, roots)
            goes = _ends_on_what_goes(stage, msgspec.structs.replace(fk, column="refers"))
            found = await stage.connection.fetch(
                f"SELECT t.id::text, o.owner::text FROM ({rows}) t JOIN ({theirs}) o ON o.key = t.refers"
                f" WHERE {goes} EXCEPT SELECT m.key::text, m.owner::text"
                f" FROM ({stage.scope.owned(name, key, roots)}) m"
            )
            if found:
                ids, owners = (uuid_array(row[n] for row in found) for n in (0, 1))
                owned = f"SELECT * FROM unnest({owners}, {ids}) AS of_others (owner, key)"
                queries.append((table, rows_by(table, key, owned)))
    return queries


async def discard(connection: Connection, one: Hanging) -> None:
    """Gives up what others let refer to rows that go: the reference, or the row that can't be without it."""
    these = f"{id_of(one.table)} = ANY ($1::text[])"
    changed = [row.id for row in one.drift if row.change == "changed"]
    for column, condition in one.cut.items() if changed else ():
        await connection.execute(
            f"UPDATE {one.table.name} t SET {column} = NULL WHERE {these} AND {condition}", changed
        )
    await connection.execute(
        f"DELETE FROM {one.table.name} t WHERE {these}",
        [row.id for row in one.drift if row.change == "added"],
    )
