"""critical_parts → critical_parts, part_details (mapping.md). A part belongs to its equipment's vessel."""

from __future__ import annotations

import polars as pl

from bulkmig._core.declare import Cell, Column, Entity, Kind, Reference, Rule, Table, copied, text
from bulkmig._core.unit import Unit
from bulkmig.entities._rules import due, integer, true_or_false


def _prepare(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    return frame.with_columns(due(frame, unit))


ENTITY = Entity(
    name="critical_part",
    source="critical_parts",
    digit="6",
    after=("equipment",),
    through=("equipment", "equipment_id"),
    columns=(
        Column("id", Kind.ID),
        Column("equipment_id", Kind.ID),
        Column("name"),
        Column("part_number"),
        Column("manufacturer"),
        Column("criticality"),
        Column("quantity", Kind.INTEGER),
        Column("minimum_stock", Kind.INTEGER),
        Column("current_stock", Kind.INTEGER),
        Column("created_at", Kind.TIMESTAMP),
        Column("updated_at", Kind.TIMESTAMP),
    ),
    references=(Reference("equipment", "equipment_id", "@equipment"),),
    prepare=_prepare,
    rules=(
        Rule(
            "part.orphaned",
            "equipment_id",
            ~pl.col("~due"),
            "its equipment doesn't exist or is quarantined",
            quarantine=True,
        ),
        Rule("part.stock_negative", "current_stock", integer("current_stock") < 0, "negative stock"),
        Rule("part.stock_negative", "minimum_stock", integer("minimum_stock") < 0, "negative stock"),
        Rule(
            "part.below_minimum",
            "current_stock",
            integer("current_stock") < integer("minimum_stock"),
            "less in stock than the minimum",
        ),
        Rule(
            "part.criticality_defaulted",
            "criticality",
            pl.col("criticality").is_null(),
            "no criticality: does not cause failure",
            lossy=True,
            reported=False,
        ),
    ),
    tables=(
        Table(
            "critical_parts",
            ("id",),
            {
                "id": Cell(pl.col("@id"), "id"),
                "equipment_id": Cell(pl.col("@equipment"), "equipment_id"),
                "part_number": text("part_number"),
                "description": text("name"),
                "causes_failure": Cell(true_or_false(pl.col("criticality") == "CRITICAL"), "criticality"),
                **copied("current_stock", "minimum_stock", "created_at", "updated_at"),
            },
        ),
        Table(
            "part_details",
            ("part_id",),
            {
                "part_id": Cell(pl.col("@id"), "id"),
                "manufacturer": text("manufacturer"),
                "quantity_per_equipment": text("quantity"),
                "original_criticality": text("criticality"),
                "original_part_number": text("part_number"),
            },
        ),
    ),
)
