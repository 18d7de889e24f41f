"""What validation tells of rows, as frames: findings, and entries of the quarantine."""

from __future__ import annotations

from typing import Literal

import polars as pl

Severity = Literal["error", "warning"]

FINDING = {
    "severity": pl.String,
    "code": pl.String,
    "vessel_id": pl.String,
    "entity": pl.String,
    "source_id": pl.String,
    "field": pl.String,
    "message": pl.String,
}
QUARANTINE = {
    "vessel_id": pl.String,
    "entity": pl.String,
    "source_id": pl.String,
    "code": pl.String,
    "message": pl.String,
    "row": pl.String,
}


def finding(
    rows: pl.DataFrame, entity: str, severity: Severity, code: str, field: str, message: str
) -> pl.DataFrame:
    """Findings, one a row of a frame with `vessel_id` and `id`."""
    return rows.select(
        pl.lit(severity).alias("severity"),
        pl.lit(code).alias("code"),
        pl.col("vessel_id").cast(pl.String),
        pl.lit(entity).alias("entity"),
        pl.col("id").alias("source_id"),
        pl.lit(field).alias("field"),
        pl.lit(message).alias("message"),
    )
