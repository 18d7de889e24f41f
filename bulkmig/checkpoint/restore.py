"""Makes the target's rows what a stage holds as `was`: set by set, in an order that every foreign key and
unique key lives with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial

from msgspec import Struct, field

from bulkmig.checkpoint.stage import Stage
from bulkmig.errors import CheckpointError
from bulkmig.sqlite.session import on_file
from bulkmig.target.scope import ForeignKey, TargetTable

_COLUMN = """
SELECT NOT a.attnotnull AS nullable, t.typcategory = 'S' AS text
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = $1::text::regclass AND quote_ident(a.attname) = $2
"""
# So many rows are joined as sets until the end of the transaction: what statistics say of tables that were
# emptied or filled just now is wrong, and a loop within a loop would go through all rows for each.
MANY = 5_000


class Taken(CheckpointError):
    """A unique value that the checkpoint needs belongs to another row by now."""


class Restored(Struct):
    """Rows per table that came back, were set back, and went."""

    inserted: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)


async def restore(stage: Stage) -> Restored:
    """Inserts, updates and deletes what differs between `was` and `now`. Raises Taken, and CheckpointError
    where a row would refer to nothing."""
    await check_unique(stage, stage.scope.tables)
    await _check_references(stage)
    for table in stage.scope.tables:
        await _make_room(stage, table)
    result = await _difference(stage)
    if (result.inserted + result.updated + result.deleted).total() > MANY:
        await stage.connection.execute("SET LOCAL enable_nestloop = off")
    tables = stage.scope.tables
    await stage.connection.execute("SET LOCAL enable_seqscan = off")
    for statement in (
        *(insert_missing(stage, table) for table in tables if result.inserted[table.name]),
        *(_update(stage, table) for table in tables if result.updated[table.name]),
        *(
            statement
            for table in tables
            if result.inserted[table.name]
            for statement in set_last(stage, table)
        ),
        *(cut(stage, fk) for fk in stage.scope.loose if fk.nullable and result.deleted[fk.child]),
        *(_delete(stage, table) for table in reversed(tables) if result.deleted[table.name]),
    ):
        await stage.connection.execute(statement)
    await stage.connection.execute("SET LOCAL enable_seqscan = DEFAULT")
    return result


async def _difference(stage: Stage) -> Restored:
    """How many rows of each table come back, are set back, and go."""
    queries = []
    for place, table in enumerate(stage.scope.tables):
        n = stage.number[table.name]
        same = f"was_{n} w JOIN now_{n} o ON {stage.same(table, 'o', 'w')}"
        queries.append(
            f"SELECT {place} AS place,"
            f" (SELECT count(*) FROM was_{n} w WHERE {stage.missing(table, 'w', 'now')}) AS inserted,"
            f" (SELECT count(*) FROM {same} WHERE {stage.differ(table, 'w', 'o')}) AS updated,"
            f" (SELECT count(*) FROM now_{n} o WHERE {stage.missing(table, 'o', 'was')}) AS deleted"
        )
    result = Restored()
    for row in await stage.connection.fetch(" UNION ALL ".join(queries)):
        name = stage.scope.tables[row["place"]].name
        for counts, what in (
            (result.inserted, "inserted"),
            (result.updated, "updated"),
            (result.deleted, "deleted"),
        ):
            counts[name] += row[what]
    return result


async def check_unique(stage: Stage, tables: Iterable[TargetTable]) -> None:
    """Raises Taken where a row that isn't among `now`, or another of `was`, has a unique value of `was`."""
    checks = [(table, unique) for table in tables if table.key for unique in table.unique]
    queries = []
    for place, (table, unique) in enumerate(checks):
        n = stage.number[table.name]
        equal = " AND ".join(f"o.{column} = w.{column}" for column in unique)
        queries += [
            f"(SELECT {place} AS place, concat_ws('/', {', '.join(f'o.{c}::text' for c in table.key)}) AS id"
            f" FROM was_{n} w JOIN {holders} o ON {equal} WHERE NOT ({stage.same(table, 'o', 'w')}){but}"
            " ORDER BY 2 LIMIT 1)"
            for holders, but in (
                (table.name, f" AND {stage.missing(table, 'o', 'now')}"),
                (f"was_{n}", f" AND NOT {stage.missing(table, 'o', 'now')}"),
            )
        ]
    holder = await stage.connection.fetchrow(" UNION ALL ".join(queries)) if queries else None
    if holder is not None:
        table, unique = checks[holder["place"]]
        raise Taken(
            f"{table.name}.{'+'.join(unique)}: the value that is to come back belongs to row {holder['id']}",
            f"give {table.name} {holder['id']} another {'+'.join(unique)}, then roll back again",
        )


async def _check_references(stage: Stage) -> None:
    """Raises CheckpointError where a row that is to change refers to one that isn't there and doesn't come
    back. A SQLite portal may have such rows, whose writers asked for no check; it refuses them without saying
    which they are, as PostgreSQL does."""
    file = on_file(stage.connection)
    if file is None:
        return
    for fk in stage.scope.foreign_keys:
        table, n = stage.tables.get(fk.child), stage.number.get(fk.child)
        if table is None or not table.key or fk in stage.scope.loose:
            continue
        refers = f"p.{fk.parent_column} = w.{fk.column}"
        there = f"EXISTS (SELECT FROM {fk.parent} p WHERE {refers})"
        if parent := stage.number.get(fk.parent):
            goes = f"EXISTS (SELECT FROM now_{parent} p WHERE {refers})"
            there = f"(EXISTS (SELECT FROM was_{parent} p WHERE {refers}) OR {there} AND NOT {goes})"
        same = f"{stage.same(table, 'o', 'w')} AND NOT {stage.differ(table, 'w', 'o')}"
        lost = await stage.connection.fetchrow(
            f"SELECT w.{table.key[0]} AS id, w.{fk.column} AS of FROM was_{n} w"
            f" WHERE w.{fk.column} IS NOT NULL AND NOT {there}"
            f" AND NOT EXISTS (SELECT FROM now_{n} o WHERE {same}) LIMIT 1"
        )
        if lost is not None:
            numbers = dict(await file.work(partial(file.ids.known, list(lost))))
            id_, of = (numbers.get(one, one) for one in lost)
            raise CheckpointError(
                f"{fk.child}.{fk.column} of row {id_} would name row {of} of {fk.parent}, which isn't there",
                f"add that row to {fk.parent} for as long as it takes, then roll back again",
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
        # Seldom so: two rows that exchanged a value, or one that came anew.
        if not await stage.connection.fetchval(
            f"SELECT EXISTS (SELECT FROM was_{n} w JOIN now_{n} o ON {equal}"
            f" WHERE NOT ({stage.same(table, 'o', 'w')}))"
        ):
            continue
        column = (await stage.connection.fetch(_COLUMN, table.name, unique[-1]))[0]
        # Something that nobody else has: most such columns may be NULL, the others are texts or UUIDs.
        aside = "gen_random_uuid()" + ("::text" if column["text"] else "")
        await stage.connection.execute(
            f"UPDATE {table.name} t SET {unique[-1]} = {'NULL' if column['nullable'] else aside}"
            f" FROM now_{n} m WHERE {stage.same(table, 't', 'm')} AND EXISTS ({holds})"
        )


def insert_missing(stage: Stage, table: TargetTable) -> str:
    """The statement that inserts the rows of `was` whose keys aren't in `now`; what they refer to may come
    later where that is `loose`."""
    n = stage.number[table.name]
    columns = ", ".join(table.columns)
    later = {fk.column for fk in _set_later(stage, table)}
    values = ", ".join("NULL" if column in later else column for column in table.columns)
    return (
        f"INSERT INTO {table.name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM was_{n} w"
        f" WHERE {stage.missing(table, 'w', 'now')}"
    )


def set_last(stage: Stage, table: TargetTable) -> list[str]:
    """The statements that complete what `insert_missing` left out, as far as it is there."""
    n = stage.number[table.name]
    return [
        f"UPDATE {table.name} t SET {fk.column} = w.{fk.column} FROM was_{n} w"
        f" WHERE {stage.same(table, 't', 'w')} AND {stage.missing(table, 'w', 'now')}"
        f" AND EXISTS (SELECT FROM {fk.parent} p WHERE p.{fk.parent_column} = w.{fk.column})"
        for fk in _set_later(stage, table)
    ]


def _set_later(stage: Stage, table: TargetTable) -> list[ForeignKey]:
    return [fk for fk in stage.scope.loose if fk.child == table.name and fk.nullable]


def cut(stage: Stage, fk: ForeignKey) -> str:
    """The statement that lets rows which go refer to nothing, so that the order in which they go is free."""
    table, n = stage.tables[fk.child], stage.number[fk.child]
    return (
        f"UPDATE {fk.child} t SET {fk.column} = NULL FROM now_{n} o WHERE {stage.same(table, 't', 'o')}"
        f" AND {stage.missing(table, 'o', 'was')} AND t.{fk.column} IS NOT NULL"
    )


def _update(stage: Stage, table: TargetTable) -> str:
    n = stage.number[table.name]
    others = [column for column in table.columns if column not in {*table.key, *table.fixed}]
    return (
        f"UPDATE {table.name} t SET {', '.join(f'{column} = w.{column}' for column in others)}"
        f" FROM was_{n} w JOIN now_{n} o ON {stage.same(table, 'o', 'w')}"
        f" WHERE {stage.same(table, 't', 'w')} AND {stage.differ(table, 'w', 'o')}"
    )


def _delete(stage: Stage, table: TargetTable) -> str:
    n = stage.number[table.name]
    return (
        f"DELETE FROM {table.name} t WHERE EXISTS (SELECT FROM now_{n} o"
        f" WHERE {stage.same(table, 't', 'o')} AND {stage.missing(table, 'o', 'was')})"
    )


async def prove(stage: Stage, roots: list[str]) -> None:
    """Raises CheckpointError where what is there by now isn't the checkpoint's state: a trigger of the
    target's own has had a hand in it."""
    await stage.look(roots)
    await stage.look_for("was")
    queries = []
    for place, table in stage.keyed:
        n, first = stage.number[table.name], table.key[0]
        queries.append(
            f"(SELECT {place} AS place, coalesce(w.{first}, o.{first})::text AS id"
            f" FROM was_{n} w FULL JOIN now_{n} o ON {stage.same(table, 'w', 'o')}"
            f" WHERE w.{first} IS NULL OR o.{first} IS NULL OR {stage.differ(table, 'w', 'o')} LIMIT 1)"
        )
    wrong = await stage.connection.fetchrow(" UNION ALL ".join(queries))
    if wrong is not None:
        name = stage.scope.tables[wrong["place"]].name
        raise CheckpointError(
            f"{name} {wrong['id']} would not be as the checkpoint holds it",
            "a trigger of the target changes what is written: switch it off, then roll back again",
        )
