"""vessel → vessels, vessel_details (mapping.md)."""

from __future__ import annotations

import polars as pl

from bulkmig._core import jsontext
from bulkmig._core.declare import Cell, Column, Entity, Kind, Reference, Rule, Table, copied, text
from bulkmig._core.unit import Unit
from bulkmig.entities._rules import blank, collapsed, integer, mapped, unknown

DEFAULT_IMAGE = "/assets/vessels/default.svg"
STATUS = {
    "APPROVED": "operational",
    "NOT_STARTED": "onboarding",
    "IN_PROGRESS": "onboarding",
    "SUBMITTED": "onboarding",
    "REJECTED": "inactive",
}
OLDEST, AHEAD = 1850, 3  # years


def _prepare(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    decisions = unit.decisions
    images = [jsontext.string(jsontext.members(text).get("image_url")) or None for text in frame["metadata"]]
    return frame.with_columns(
        pl.Series("~image", images, dtype=pl.String),
        pl.Series("~taken", [i in decisions.imo_taken for i in frame["id"]], dtype=pl.Boolean),
        pl.Series("~adopted", [("vessel", i) in decisions.adopted for i in frame["id"]], dtype=pl.Boolean),
        pl.Series("~bad_imo", [not valid_imo(n) for n in frame["imo_number"]], dtype=pl.Boolean),
        pl.lit(decisions.current_year + AHEAD).alias("~latest_year"),
    )


def valid_imo(number: str | None) -> bool:
    """Seven digits, with or without `IMO` before them, the last one the check digit."""
    digits = (number or "").removeprefix("IMO")
    if len(digits) != 7 or not (digits.isascii() and digits.isdigit()):
        return False
    total = sum(int(d) * weight for d, weight in zip(digits[:6], range(7, 1, -1), strict=True))
    return total % 10 == int(digits[6])


ENTITY = Entity(
    name="vessel",
    source="vessels",
    digit="3",
    owner="vessel_id",
    after=("company",),
    columns=(
        Column("id", Kind.ID),
        Column("vessel_id", Kind.ID, sql="t.id"),
        Column("company_id", Kind.ID),
        Column("name"),
        Column("imo_number"),
        Column("vessel_type"),
        Column("flag"),
        Column("gross_tonnage", Kind.NUMERIC),
        Column("year_built", Kind.INTEGER),
        Column("class_society"),
        Column("onboarding_status"),
        Column("metadata", Kind.JSON),
        Column("created_at", Kind.TIMESTAMP),
        Column("updated_at", Kind.TIMESTAMP),
    ),
    references=(Reference("company", "company_id", "@company"),),
    prepare=_prepare,
    rules=(
        Rule(
            "vessel.imo_taken",
            "imo_number",
            pl.col("~taken"),
            "another vessel of the target holds this IMO number: correct one of them",
            severity="error",
        ),
        Rule("vessel.imo_missing", "imo_number", blank("imo_number"), "no IMO number"),
        Rule(
            "vessel.imo_invalid",
            "imo_number",
            ~blank("imo_number") & pl.col("~bad_imo"),
            "not seven digits with a right check digit",
        ),
        Rule(
            "vessel.adopted",
            "imo_number",
            pl.col("~adopted"),
            "the target's vessel with this IMO number is taken over",
            sound=True,
        ),
        Rule(
            "vessel.status_unknown",
            "onboarding_status",
            unknown("onboarding_status", STATUS),
            "a status that the mapping doesn't know: onboarding",
            lossy=True,
        ),
        Rule(
            "vessel.year_built_implausible",
            "year_built",
            (integer("year_built") < OLDEST) | (integer("year_built") > pl.col("~latest_year")),
            "before 1850 or more than three years ahead",
        ),
        Rule(
            "vessel.image_defaulted",
            "metadata",
            pl.col("~image").is_null(),
            "no image: default",
            lossy=True,
            reported=False,
        ),
        Rule(
            "vessel.status_collapsed",
            "onboarding_status",
            collapsed("onboarding_status", STATUS),
            "several statuses map to this one",
            lossy=True,
            reported=False,
        ),
    ),
    tables=(
        Table(
            "vessels",
            ("id",),
            {
                "id": Cell(pl.col("@id"), "id"),
                "company_id": Cell(pl.col("@company"), "company_id"),
                **copied("name", "imo_number", "vessel_type"),
                "image_url": Cell(pl.coalesce(pl.col("~image"), pl.lit(DEFAULT_IMAGE)), "metadata"),
                "status": Cell(mapped("onboarding_status", STATUS, "onboarding"), "onboarding_status"),
                **copied("created_at", "updated_at"),
            },
        ),
        Table(
            "vessel_details",
            ("vessel_id",),
            {
                "vessel_id": Cell(pl.col("@id"), "id"),
                **copied("flag", "gross_tonnage", "year_built", "class_society"),
                "original_status": text("onboarding_status"),
                "metadata": text("metadata", json=True),
            },
        ),
    ),
)
