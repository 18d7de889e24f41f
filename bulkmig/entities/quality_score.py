"""quality_scores → quality_scores (mapping.md)."""

from __future__ import annotations

import polars as pl

from bulkmig._core.declare import Cell, Column, Entity, Kind, Reference, Rule, Table, copied
from bulkmig._core.unit import Unit
from bulkmig.entities._rules import due, out_of


def _prepare(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    return frame.with_columns(due(frame, unit))


ENTITY = Entity(
    name="quality_score",
    source="quality_scores",
    digit="8",
    after=("equipment", "user"),
    columns=(
        Column("id", Kind.ID),
        Column("vessel_id", Kind.ID),
        Column("equipment_id", Kind.ID),
        Column("category"),
        Column("score", Kind.INTEGER),
        Column("assessed_at", Kind.TIMESTAMP),
        Column("assessed_by", Kind.ID),
        Column("created_at", Kind.TIMESTAMP),
        Column("updated_at", Kind.TIMESTAMP),
    ),
    references=(
        Reference("vessel", "vessel_id", "@vessel"),
        Reference("equipment", "equipment_id", "@equipment"),
        Reference("user", "assessed_by", "@assessor"),
    ),
    prepare=_prepare,
    rules=(
        Rule(
            "score.out_of_range",
            "score",
            out_of("score", 0, 100),
            "outside 0 to 100: correct it in the source",
            quarantine=True,
        ),
        Rule(
            "score.equipment_missing",
            "equipment_id",
            pl.col("equipment_id").is_not_null() & ~pl.col("~due"),
            "its equipment doesn't exist, is on another vessel or is quarantined",
            quarantine=True,
        ),
        Rule(
            "score.assessor_missing",
            "assessed_by",
            pl.col("assessed_by").is_not_null() & pl.col("@assessor").is_null(),
            "its assessor is not in the target: NULL",
            lossy=True,
        ),
    ),
    tables=(
        Table(
            "quality_scores",
            ("id",),
            {
                "id": Cell(pl.col("@id"), "id"),
                "vessel_id": Cell(pl.col("@vessel"), "vessel_id"),
                "equipment_id": Cell(pl.col("@equipment"), "equipment_id"),
                **copied("category", "score", "assessed_at"),
                "assessed_by": Cell(pl.col("@assessor"), "assessed_by"),
                **copied("created_at", "updated_at"),
            },
            holds={"lies in 0 to 100": ~out_of("score", 0, 100)},
        ),
    ),
)
