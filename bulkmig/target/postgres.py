"""The Maintenance Portal on PostgreSQL: its catalogue, what it holds already, how rows get in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import polars as pl

from bulkmig._core.parcel import TableLoad
from bulkmig._core.unit import Catalogue
from bulkmig.entities import ENTITIES
from bulkmig.errors import PreflightError
from bulkmig.postgres.catalogue import BARRED, MISSING, read_catalogue, told
from bulkmig.postgres.session import Connection
from bulkmig.sqlite.session import on_file
from bulkmig.sqlite.unlike import unlike

_WRITES = ("SELECT", "INSERT", "UPDATE", "DELETE")
# Into SQL_ASCII texts go as they are.
_ANY_TEXT = ("UTF8", "SQL_ASCII")


async def catalogue(connection: Connection, *, writing: bool) -> Catalogue:
    """The columns that the target really has. Raises PreflightError, naming every column that is missing or
    may not be written (or read, where nothing is to be written); and where there are texts that its encoding
    can't hold: neither the ledger would."""
    wanted = {table.name: table.cells for entity in ENTITIES for table in entity.tables}
    file = on_file(connection)
    refused: dict[tuple[str, str], str] = {}
    if file is not None:
        found = file.catalogue()
    else:
        if wrong := await misencoded(connection):
            raise PreflightError(wrong, UTF8)
        found, refused = await read_catalogue(
            connection, list(wanted), privileges=_WRITES if writing else ("SELECT",)
        )
    problems = []
    for table, cells in wanted.items():
        if table not in found:
            problems.append(f"table {table} {MISSING}")
            continue
        faults = {column: MISSING for column in cells if column not in found[table]}
        for column in cells:
            if lacks := refused.get((table, column)):
                faults[column] = f"{BARRED} {'read' if lacks == 'SELECT' else 'written'}: no {lacks}"
        problems += told(table, cells, faults)
    if file is not None:
        problems += unlike(file.tables)
    if problems:
        grant = ", and GRANT SELECT, INSERT, UPDATE, DELETE on the tables named" if file is None else ""
        raise PreflightError(
            "the target is not as bulkmig writes it: " + "; ".join(problems),
            f"check the address and the schema{grant}",
        )
    return found


UTF8 = "move the portal into a database with the encoding UTF8"


async def misencoded(connection: Connection) -> str:
    """What is wrong with the encoding of the target's database, if anything is."""
    encoding: str = await connection.fetchval("SHOW server_encoding")
    if encoding in _ANY_TEXT:
        return ""
    return f"the target's database has the encoding {encoding}, which can't hold every text of the source"


async def copy_in(connection: Connection, table: str, columns: Sequence[str], *data: bytes) -> int:
    """COPYs headerless CSV into a table; returns how many rows went in."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in data:
            yield piece

    schema, _, name = table.rpartition(".")
    status = await connection.copy_to_table(
        name, source=pieces(), columns=list(columns), schema_name=schema or None, format="csv"
    )
    return int(status.rpartition(" ")[2])


async def copy_rows(connection: Connection, loads: Sequence[TableLoad]) -> int:
    """Inserts rows of one table in the form that the target takes; returns how many went in."""
    file, first = on_file(connection), loads[0]
    if file is None or first.frame is None:
        return await copy_in(connection, first.table, first.columns, *(load.data for load in loads))
    frames = [load.frame for load in loads if load.frame is not None]
    return sum([await file.insert(first.table, frame) for frame in frames])


async def upsert(
    connection: Connection, table: str, key: Sequence[str], frame: pl.DataFrame, types: Catalogue
) -> None:
    """Inserts rows of text cells or, where the key is there, sets every other cell of that row."""
    file = on_file(connection)
    if file is not None:
        await file.upsert(table, key, frame)
        return
    columns = frame.columns
    casts = ", ".join(
        f"u.{column}::{types[table][column].type}" for column in columns
    )  # fmt: skip
    arrays = ", ".join(f"${index + 1}::text[]" for index in range(len(columns)))
    others = [column for column in columns if column not in key]
    action = "DO UPDATE SET " + ", ".join(f"{c} = excluded.{c}" for c in others) if others else "DO NOTHING"
    await connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {casts}"
        f" FROM unnest({arrays}) AS u ({', '.join(columns)}) ON CONFLICT ({', '.join(key)}) {action}",
        *[frame[column].to_list() for column in columns],
    )


async def ends(connection: Connection, equipment: Sequence[str]) -> pl.DataFrame:
    """What the target knows of equipment, by source id: source_id, target_id (null where it isn't there),
    out (whether it is quarantined)."""
    rows = await connection.fetch(
        "SELECT i.id::text AS source_id, m.equipment_id::text AS target_id, q.source_id IS NOT NULL AS out"
        " FROM unnest($1::text[]::uuid[]) AS i (id)"
        " LEFT JOIN equipment_metadata m ON m.original_id = i.id"
        " LEFT JOIN bulkmig.quarantine q ON q.entity = 'equipment' AND q.source_id = i.id",
        list(equipment),
    )
    return pl.DataFrame(
        [tuple(row) for row in rows],
        schema={"source_id": pl.String, "target_id": pl.String, "out": pl.Boolean},
        orient="row",
    )
