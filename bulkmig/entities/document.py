"""documents → equipment_documents, vessel_documents, document_details (mapping.md)."""

from __future__ import annotations

import polars as pl

from bulkmig._core.declare import Cell, Column, Entity, Kind, Reference, Rule, Table, copied, text
from bulkmig._core.unit import Unit
from bulkmig.entities._rules import due, mapped, unknown

TYPES = {
    "MANUAL": "manual",
    "DRAWING": "drawing",
    "CERTIFICATE": "certificate",
    "DATASHEET": "datasheet",
    "PHOTO": "image",
    "REPORT": "report",
    "OTHER": "other",
}
_PATH = r"^(?:s3://[^/]+/(?s:.)|https://[^/])"


def _prepare(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    frame = frame.with_columns(due(frame, unit))
    return frame.with_columns(
        (pl.col("equipment_id").is_not_null() & ~pl.col("~due")).alias("~lost"),
        pl.when(pl.col("~due")).then(pl.col("@equipment")).alias("~equipment"),
    )


ENTITY = Entity(
    name="document",
    source="documents",
    digit="7",
    after=("equipment",),
    columns=(
        Column("id", Kind.ID),
        Column("vessel_id", Kind.ID),
        Column("equipment_id", Kind.ID),
        Column("document_type"),
        Column("name"),
        Column("file_path"),
        Column("file_size", Kind.INTEGER),
        Column("mime_type"),
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
            "document.equipment_missing",
            "equipment_id",
            pl.col("~lost"),
            "its equipment doesn't exist, is on another vessel or is quarantined: kept for the vessel",
            lossy=True,
        ),
        Rule(
            "document.type_unknown",
            "document_type",
            unknown("document_type", TYPES),
            "a type that the mapping doesn't know: other",
            lossy=True,
        ),
        Rule(
            "document.path_invalid",
            "file_path",
            ~pl.col("file_path").str.contains(_PATH),
            "no s3://bucket/key and no https:// URL",
        ),
    ),
    tables=(
        Table(
            "equipment_documents",
            ("id",),
            {
                "id": Cell(pl.col("@id"), "id"),
                "equipment_id": Cell(pl.col("~equipment"), "equipment_id"),
                "document_type": Cell(mapped("document_type", TYPES, "other"), "document_type"),
                "file_name": text("name"),
                **copied("file_path", "file_size", "created_at", "updated_at"),
            },
            holds={"has a type of the portal": pl.col("document_type").is_in(sorted(TYPES.values()))},
        ),
        Table(
            "vessel_documents",
            ("vessel_id", "document_id"),
            {
                "vessel_id": Cell(pl.col("@vessel"), "vessel_id"),
                "document_id": Cell(pl.col("@id"), "id"),
            },
            when=pl.col("~equipment").is_null(),
        ),
        Table(
            "document_details",
            ("document_id",),
            {
                "document_id": Cell(pl.col("@id"), "id"),
                "original_document_type": text("document_type"),
                "mime_type": text("mime_type"),
            },
        ),
    ),
)
