"""Gives rows and references their target ids: derived for a vessel's own rows, looked up for the rest."""

from __future__ import annotations

import polars as pl

from bulkmig._core import ids
from bulkmig._core.declare import Entity
from bulkmig._core.unit import Unit

# Rows of these are referred to from everywhere; a look-up also says whether they are in the target.
FLEET_WIDE = frozenset({"company", "user", "vessel"})


def identify(entity: Entity, digits: dict[str, str], frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    """Adds `@digest`, `@id` and each declared reference. `digits`: entity name -> its id digit."""
    owner = _owner_digest(entity, frame, unit)
    frame = frame.with_columns(ids.digest("id").alias("@digest"), owner.alias("@owner"))
    derived = ids.derive(pl.col("@owner"), pl.col("@digest"), entity.digit)
    if entity.name in FLEET_WIDE:
        frame = _look_up(frame, entity.name, "id", "@id", unit).with_columns(
            pl.coalesce(pl.col("@id"), derived).alias("@id")
        )
    else:
        frame = frame.with_columns(derived.alias("@id"))
    for reference in entity.references:
        if reference.entity in FLEET_WIDE:
            frame = _look_up(frame, reference.entity, reference.column, reference.as_, unit)
        else:
            frame = frame.with_columns(
                ids.derive(pl.col("@owner"), ids.digest(reference.column), digits[reference.entity]).alias(
                    reference.as_
                )
            )
    return frame


def _owner_digest(entity: Entity, frame: pl.DataFrame, unit: Unit) -> pl.Expr:
    if entity.owner == "vessel_id" and len(unit.vessels) == 1 and frame.height > 1:
        one = pl.DataFrame({"v": [unit.vessels[0]]}).select(ids.digest("v")).item()
        return pl.lit(one)
    return ids.digest(entity.owner)


def _look_up(frame: pl.DataFrame, entity: str, column: str, as_: str, unit: Unit) -> pl.DataFrame:
    known = unit.decisions.identity(entity)
    if frame.height and frame[column].n_unique() == 1:
        # The usual case for a vessel's own id: one look-up instead of a join.
        hit = known.filter(pl.col("source_id").is_in(frame[column].head(1).to_list()))
        value = hit["target_id"][0] if hit.height else None
        return frame.with_columns(pl.lit(value, dtype=pl.String).alias(as_))
    return frame.join(
        known.rename({"source_id": column, "target_id": as_}), on=column, how="left", maintain_order="left"
    )
