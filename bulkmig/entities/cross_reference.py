"""cross_references → cross_references (mapping.md). A row whose ends lie on several vessels waits until
both are in the target; `settle.py` looks again when all vessels of a run are done."""

from __future__ import annotations

import polars as pl

from bulkmig._core.declare import Cell, Column, Entity, Kind, Reference, Rule, Table, copied
from bulkmig._core.unit import Unit

ENDS = ("source", "target")


def _prepare(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    for end in ENDS:
        column, vessel = f"{end}_equipment_id", f"{end}_vessel"
        frame = frame.with_columns(unit.keys.find(frame[column], frame["vessel_id"]).alias(f"~{end}_here"))
        if unit.ends is None:
            known, known_out, id_ = pl.lit(value=False), pl.lit(value=False), pl.col(f"@{end}")
        else:
            frame = frame.join(
                unit.ends.select(
                    pl.col("source_id").alias(column),
                    pl.col("target_id").alias(f"~{end}_id"),
                    pl.col("out").alias(f"~{end}_out"),
                ),
                on=column,
                how="left",
                maintain_order="left",
            )
            known = pl.col(f"~{end}_id").is_not_null()
            # Of vessels that it reads the unit knows better: equipment may be quarantined with them.
            read = pl.col(vessel).is_in(list(unit.vessels)) & (pl.col(vessel) == pl.col("vessel_id"))
            known_out = pl.col(f"~{end}_out").fill_null(value=False) & ~read
            id_ = pl.coalesce(f"~{end}_id", f"@{end}")
        own = pl.col(f"~{end}_here").is_not_null()
        frame = frame.with_columns(
            id_.alias(f"@{end}"),
            (pl.col(vessel).is_null() | pl.col(f"~{end}_here").fill_null(value=False) | known_out).alias(
                f"~{end}_missing"
            ),
            (~own & ~known).alias(f"~{end}_absent"),
        )
    return frame


def _missing(end: str) -> Rule:
    return Rule(
        "cross_reference.end_missing",
        f"{end}_equipment_id",
        pl.col(f"~{end}_missing"),
        "this end doesn't exist in the source or is quarantined",
        quarantine=True,
    )


ENTITY = Entity(
    name="cross_reference",
    source="cross_references",
    digit="9",
    after=("equipment",),
    joins=(
        "LEFT JOIN equipment s ON s.id = t.source_equipment_id"
        " LEFT JOIN equipment g ON g.id = t.target_equipment_id"
    ),
    columns=(
        Column("id", Kind.ID),
        Column("vessel_id", Kind.ID),
        Column("source_equipment_id", Kind.ID),
        Column("target_equipment_id", Kind.ID),
        Column("reference_type"),
        Column("notes"),
        Column("created_at", Kind.TIMESTAMP),
        Column("updated_at", Kind.TIMESTAMP),
        Column("source_vessel", Kind.ID, sql="s.vessel_id"),
        Column("target_vessel", Kind.ID, sql="g.vessel_id"),
    ),
    references=(
        Reference("vessel", "vessel_id", "@vessel"),
        Reference("equipment", "source_equipment_id", "@source"),
        Reference("equipment", "target_equipment_id", "@target"),
    ),
    prepare=_prepare,
    rules=(_missing("source"), _missing("target")),
    waits=pl.col("~source_absent") | pl.col("~target_absent"),
    tables=(
        Table(
            "cross_references",
            ("id",),
            {
                "id": Cell(pl.col("@id"), "id"),
                "vessel_id": Cell(pl.col("@vessel"), "vessel_id"),
                "source_equipment_id": Cell(pl.col("@source"), "source_equipment_id"),
                "target_equipment_id": Cell(pl.col("@target"), "target_equipment_id"),
                **copied("reference_type", "notes", "created_at", "updated_at"),
            },
        ),
    ),
)
