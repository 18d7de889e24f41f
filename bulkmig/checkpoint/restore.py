"""Makes the target's rows what a stage holds as `was`: set by set, in an order that every foreign key and
unique key lives with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from bulkmig.checkpoint.stage import Stage
from bulkmig.errors import CheckpointError
from bulkmig.target.graph import TargetTable

_COLUMN = """
SELECT NOT a.attnotnull AS nullable, t.typcategory = 'S' AS text
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = $1::text::regclass AND quote_ident(a.attname) = $2
"""


class Taken(CheckpointError):
    """A unique value that the checkpoint needs belongs to another row by now."""


@dataclass
class Restored:
    """Rows per table that came back, were set back, and went."""

    inserted: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)


async def restore(stage: Stage) -> Restored:
    """Inserts, updates and deletes what differs between `was` and `now`. Raises Taken."""
    result = Restored()
    for table in stage.scope.tables:
        await check_unique(stage, table)
    for table in stage.scope.tables:
        await _make_room(stage, table)
    for table in stage.scope.tables:
        result.inserted[table.name] += await insert_missing(stage, table)
    for table in stage.scope.tables:
        result.updated[table.name] += await _update(stage, table)
    for table in reversed(stage.scope.tables):
        result.deleted[table.name] += await _delete(stage, table)
    return result


async def check_unique(stage: Stage, table: TargetTable) -> None:
    """Raises Taken where a row that isn't among `now` has a unique value of `was`."""
    n = stage.number[table.name]
    for unique in table.unique:
        equal = " AND ".join(f"o.{column} = w.{column}" for column in unique)
        holder = await stage.connection.fetchval(
            f"SELECT concat_ws('/', {', '.join(f'o.{column}::text' for column in table.key)})"
            f" FROM was_{n} w JOIN {table.name} o ON {equal}"
            f" WHERE NOT ({stage.same(table, 'o', 'w')}) AND {stage.missing(table, 'o', 'now')} LIMIT 1"
        )
        if holder is not None:
            raise Taken(
                f"{table.name}.{'+'.join(unique)}: the value that is to come back belongs to row {holder}",
                f"give {table.name} {holder} another {'+'.join(unique)}, then roll back again",
            )


async def _make_room(stage: Stage, table: TargetTable) -> None:
    """Rows that hold a unique value which another row of the checkpoint gets back let go of it first."""
    n = stage.number[table.name]
    for unique in table.unique:
        equal = " AND ".join(f"o.{column} = w.{column}" for column in unique)
        holds = (
            f"SELECT FROM was_{n} w JOIN now_{n} o ON {equal}"
            f" WHERE NOT ({stage.same(table, 'o', 'w')}) AND {stage.same(table, 'o', 't')}"
        )
        if not await stage.connection.fetchval(
            f"SELECT EXISTS (SELECT FROM {table.name} t JOIN now_{n} m ON {stage.same(table, 't', 'm')}"
            f" WHERE EXISTS ({holds}))"
        ):
            continue
        column = (await stage.connection.fetch(_COLUMN, table.name, unique[-1]))[0]
        # Something that nobody else has: most such columns may be NULL, the others are texts or UUIDs.
        aside = "gen_random_uuid()" + ("::text" if column["text"] else "")
        await stage.connection.execute(
            f"UPDATE {table.name} t SET {unique[-1]} = {'NULL' if column['nullable'] else aside}"
            f" FROM now_{n} m WHERE {stage.same(table, 't', 'm')} AND EXISTS ({holds})"
        )


async def insert_missing(stage: Stage, table: TargetTable) -> int:
    """Inserts the rows of `was` whose keys aren't in `now`."""
    n = stage.number[table.name]
    columns = ", ".join(table.columns)
    return count(
        await stage.connection.execute(
            f"INSERT INTO {table.name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM was_{n} w"
            f" WHERE {stage.missing(table, 'w', 'now')}"
        )
    )


async def _update(stage: Stage, table: TargetTable) -> int:
    n = stage.number[table.name]
    others = [column for column in table.columns if column not in table.key]
    if not others:
        return 0
    return count(
        await stage.connection.execute(
            f"UPDATE {table.name} t SET {', '.join(f'{column} = w.{column}' for column in others)}"
            f" FROM was_{n} w JOIN now_{n} o ON {stage.same(table, 'o', 'w')}"
            f" WHERE {stage.same(table, 't', 'w')} AND w::text <> o::text"
        )
    )


async def _delete(stage: Stage, table: TargetTable) -> int:
    if not table.key:
        return 0
    n = stage.number[table.name]
    gone = await stage.connection.fetchval(
        f"SELECT count(*) FROM now_{n} o WHERE {stage.missing(table, 'o', 'was')}"
    )
    await stage.connection.execute(
        f"DELETE FROM {table.name} t USING now_{n} o"
        f" WHERE {stage.same(table, 't', 'o')} AND {stage.missing(table, 'o', 'was')}"
    )
    return int(gone)


async def prove(stage: Stage, roots: list[str]) -> None:
    """Raises CheckpointError where what is there by now isn't the checkpoint's state: a trigger of the
    target's own has had a hand in it."""
    await stage.look(roots)
    await stage.look_for("was")
    for table in stage.scope.tables:
        n = stage.number[table.name]
        if not table.key:
            continue
        first = table.key[0]
        wrong = await stage.connection.fetchval(
            f"SELECT coalesce(w.{first}, o.{first})::text FROM was_{n} w FULL JOIN now_{n} o"
            f" ON {stage.same(table, 'w', 'o')}"
            f" WHERE w.{first} IS NULL OR o.{first} IS NULL OR w::text <> o::text LIMIT 1"
        )
        if wrong is not None:
            raise CheckpointError(
                f"{table.name} {wrong} would not be as the checkpoint holds it",
                "a trigger of the target changes what is written: switch it off, then roll back again",
            )


def count(status: str) -> int:
    """The rows of a statement's status, e.g. `DELETE 3`."""
    return int(status.rpartition(" ")[2])
