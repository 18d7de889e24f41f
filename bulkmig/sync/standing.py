"""Rows as they stand in the target, read under lock: nobody changes them before the sync's commit, and what
anybody changed before is seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bulkmig._core.declare import Entity
from bulkmig._core.frames import from_csv
from bulkmig.postgres.session import Connection
from bulkmig.source.onboarding import read_all
from bulkmig.source.queries import uuid_array
from bulkmig.sync.row import Row, key_of


async def standing(
    connection: Connection, entity: Entity, ids: Collection[str], written: Iterable[Row]
) -> dict[str, Row]:
    """target id -> row, of an entity's rows with these target ids that are there. A row is there if its main
    table holds it. `written`: the rows as they were last written, as far as they were: where a table's key
    has more columns than the id, the portal can add rows of its own to it."""
    written = list(written)
    cells: dict[str, dict[str, str | None]] = {}
    tables: dict[str, set[str]] = {}
    wanted = uuid_array(ids)
    for table in entity.tables:
        where = f"FROM {table.name} t WHERE t.{table.own_key} = ANY ({wanted})"
        await connection.execute(f"SELECT {where} ORDER BY t.{table.own_key} FOR UPDATE")
        # As COPY prints values, not as a cast does, since that is how they were written.
        columns = (table.own_key, *(name for name in table.cells if name != table.own_key))
        data = await read_all(connection, f"SELECT {', '.join(columns)} {where}")
        ours = {key_of(table, row) for row in written} if len(table.key) > 1 else set[str]()
        for row in from_csv(data, columns).iter_rows(named=True):
            id_, more = row[table.own_key], {f"{table.name}.{name}": row[name] for name in columns}
            there = tables.setdefault(id_, set())
            if table.name in there and key_of(table, more) not in ours:
                continue
            there.add(table.name)
            cells.setdefault(id_, {}).update(more)
    main = entity.tables[0].name
    return {id_: Row(frozenset(found), cells[id_]) for id_, found in tables.items() if main in found}
