"""certificates → certificates: of a vessel, or of one of its equipment."""

from __future__ import annotations

import polars as pl

from bulkmig._core.declare import Cell, Column, Entity, Kind, Reference, Rule, Table, copied
from bulkmig._core.unit import Unit
from bulkmig.entities._rules import blank, due


def _prepare(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    return frame.with_columns(due(frame, unit))


ENTITY = Entity(
    name="certificate",
    source="certificates",
    digit="a",
    after=("equipment",),
    columns=(
        Column("id", Kind.ID),
        Column("vessel_id", Kind.ID),
        Column("equipment_id", Kind.ID),
        Column("number"),
        Column("issuer"),
        Column("issued_on", Kind.DATE),
        Column("expires_on", Kind.DATE),
        Column("file_path"),
        Column("created_at", Kind.TIMESTAMP),
        Column("updated_at", Kind.TIMESTAMP),
    ),
    references=(
        Reference("vessel", "vessel_id", "@vessel"),
        Reference("equipment", "equipment_id", "@equipment"),
    ),
    prepare=_prepare,
    rules=(
        Rule(
            "certificate.number_required",
            "number",
            blank("number"),
            "a certificate without a number: enter it in the source",
            severity="error",
        ),
        Rule(
            "certificate.equipment_missing",
            "equipment_id",
            pl.col("equipment_id").is_not_null() & ~pl.col("~due"),
            "its equipment doesn't exist, is on another vessel or is quarantined",
            quarantine=True,
        ),
        Rule(
            "certificate.expires_before_issued",
            "expires_on",
            pl.col("expires_on") < pl.col("issued_on"),
            "expires before it is issued",
        ),
    ),
    tables=(
        Table(
            "certificates",
            ("id",),
            {
                "id": Cell(pl.col("@id"), "id"),
                "vessel_id": Cell(pl.col("@vessel"), "vessel_id"),
                "equipment_id": Cell(pl.col("@equipment"), "equipment_id"),
                **copied("number", "issuer", "issued_on", "expires_on", "file_path"),
                **copied("created_at", "updated_at"),
            },
        ),
    ),
)
