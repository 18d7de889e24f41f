"""Rows that were kept for a vessel while what they hang on was quarantined go back to it."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig.ledger import base as ledger_base
from bulkmig.postgres.session import Connection
from bulkmig.sync.row import equal, make, placing
from bulkmig.sync.standing import standing
from bulkmig.sync.writing import take_out


async def reattach(
    connection: Connection, vessel: str, entity: Entity, image: pl.DataFrame, returned: Collection[str]
) -> pl.DataFrame:
    """Puts rows that hang on what has `returned` (target ids) back on it, where the portal left them as they
    were written. What else has become of them in the source is for a sync: of all that, what was last written
    stays what it was. `image`: the entity's rows as the source has them. Returns those that were put back, as
    they are written now."""
    column = placing(entity)
    back = image.filter(pl.col(column).is_in(list(returned))) if column else image.clear()
    if column is None or not back.height:
        return image.clear()
    main = entity.tables[0]
    written = await ledger_base.among(connection, [vessel], entity.name, back["source_id"])
    if written is None:
        return image.clear()
    now = back.select("source_id", "@id", pl.col(column).alias("~parent"))
    written = written.filter(pl.col(column).is_null()).join(now, on="source_id", how="inner")
    rows = {row["@id"]: make(entity, row) for row in written.iter_rows(named=True)}
    stands = await standing(connection, entity, rows.keys(), rows.values())
    untouched = {id_: row for id_, row in rows.items() if equal(entity, row, stands.get(id_))}
    moved = written.filter(pl.col("@id").is_in(list(untouched)))
    await connection.execute(
        f"UPDATE {main.name} t SET {column.partition('.')[2]} = u.parent::uuid"
        f" FROM unnest($1::text[], $2::text[]) AS u (id, parent) WHERE t.{main.own_key} = u.id::uuid",
        moved["@id"].to_list(),
        moved["~parent"].to_list(),
    )
    (spare,) = (table for table in entity.tables if table.when is not None)
    await take_out(connection, spare, list(untouched.values()))
    return moved.with_columns(pl.col("~parent").alias(column), pl.lit(value=False).alias(f"?{spare.name}"))
