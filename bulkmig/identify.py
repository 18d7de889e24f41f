"""Gives rows and references their target ids: derived for a vessel's own rows, looked up for the rest."""

from __future__ import annotations

import polars as pl

from bulkmig._core import ids
from bulkmig._core.declare import Entity
from bulkmig._core.frames import runs, spread
from bulkmig._core.unit import Unit

Runs = list[tuple[str | None, int]]

# Rows of these are referred to from everywhere; a look-up also says whether they are in the target.
FLEET_WIDE = frozenset({"company", "user", "vessel"})


def identify(entity: Entity, digits: dict[str, str], frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    """Adds `@digest`, `@id`, `@order` and each declared reference. `digits`: entity name -> its id digit."""
    within = [r for r in entity.references if r.entity not in FLEET_WIDE]
    owners = runs(frame[entity.owner])  # taken apart once: most rows refer to their owner, too
    frame = frame.with_columns(
        _prefixes(owners).alias("@owner"),
        ids.digest("id").alias("@digest"),
        *(ids.digest(r.column).alias(r.as_) for r in within),
        *(
            _look_up(owners if r.column == entity.owner else runs(frame[r.column]), r.entity, unit).alias(
                r.as_
            )
            for r in entity.references
            if r.entity in FLEET_WIDE
        ),
    )
    owner, digest = pl.col("@owner"), pl.col("@digest")
    id_ = ids.derive(owner, digest, entity.digit)
    if entity.name in FLEET_WIDE:
        id_ = pl.coalesce(look_up(frame["id"], entity.name, unit), id_)
    kept = unit.decisions.kept_ids
    return frame.with_columns(
        _kept("id", id_, kept.get(entity.name)).alias("@id"),
        ids.order(owner, digest).alias("@order"),
        *(
            _kept(r.column, ids.derive(owner, pl.col(r.as_), digits[r.entity]), kept.get(r.entity)).alias(
                r.as_
            )
            for r in within
        ),
    )


def _kept(column: str, derived: pl.Expr, kept: dict[str, str] | None) -> pl.Expr:
    """The id that a row got on the vessel where it was first written, for the few that have moved since."""
    if not kept:
        return derived
    return pl.coalesce(pl.col(column).replace_strict(kept, default=None, return_dtype=pl.String), derived)


def _prefixes(owners: Runs) -> pl.Series:
    return _spread([owner and ids.prefix(owner) for owner, _ in owners], owners)


def look_up(source_ids: pl.Series, entity: str, unit: Unit) -> pl.Series:
    """The target ids of rows that may be referred to from everywhere; null for what is not in the target."""
    return _look_up(runs(source_ids), entity, unit)


def _look_up(found: Runs, entity: str, unit: Unit) -> pl.Series:
    known = unit.target_ids(entity, {value for value, _ in found if value is not None})
    return _spread([known.get(value or "") for value, _ in found], found)


def _spread(values: list[str | None], over: Runs) -> pl.Series:
    return spread(pl.Series(values, dtype=pl.String), [length for _, length in over])
