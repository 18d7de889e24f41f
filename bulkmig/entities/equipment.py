"""equipment → equipment, equipment_metadata (mapping.md)."""

from __future__ import annotations

import polars as pl

from bulkmig._core.declare import Cell, Column, Entity, Kind, Reference, Rule, Table, copied, text
from bulkmig._core.findings import finding
from bulkmig._core.unit import Unit
from bulkmig.entities import _dates, _specifications
from bulkmig.entities._rules import WHITE_SPACE, blank, collapsed, integer, mapped, out_of, unknown
from bulkmig.entities.location import path

STATUS = {
    "ACTIVE": "operational",
    "VERIFIED": "operational",
    "APPROVED": "operational",
    "REVIEWED": "operational",
    "DRAFT": "maintenance",
    "REMOVED": "decommissioned",
    "DELETED": "decommissioned",
}
QR_DIGITS = 6


def _prepare(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    frame = _with_location(frame, unit)
    frame = _with_qr_code(frame, unit)
    last = _dates.last_maintenance(frame["metadata"])
    frame = frame.with_columns(
        (last == "").fill_null(value=False).alias("~last_invalid"),
        last.set(last == "", None).alias("~last"),
    )
    frame = frame.with_columns(
        _dates.plus_days(
            pl.coalesce(pl.col("~last"), pl.col("installation_date")), integer("maintenance_interval_days")
        ).alias("~next")
    )
    return _specifications.merge(frame)


def _with_location(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    wanted = frame["location_id"].unique().drop_nulls().to_list()
    known = [i for i in wanted if i in unit.locations]
    paths = pl.DataFrame(
        {
            "location_id": known,
            "~location_vessel": [unit.locations[i].vessel_id for i in known],
            "~path": [path(unit.locations, i) for i in known],
        },
        schema=dict.fromkeys(("location_id", "~location_vessel", "~path"), pl.String),
    )
    return frame.join(paths, on="location_id", how="left", maintain_order="left").with_columns(
        (
            pl.col("location_id").is_not_null()
            & (pl.col("~location_vessel") != pl.col("vessel_id")).fill_null(value=True)
        ).alias("~location_unknown")
    )


def _with_qr_code(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    decisions = unit.decisions
    stem = pl.when(blank("code")).then(pl.lit("EQ")).otherwise(pl.col("code")) + "-"
    frame = frame.with_columns((stem + pl.col("@digest").str.slice(0, QR_DIGITS)).alias("~qr"))
    if not decisions.qr_codes and not decisions.foreign_qr:
        return frame.with_columns(pl.lit(value=False).alias("~qr_collision"))
    codes, collided = frame["~qr"].to_list(), []
    stems = frame.select(stem.alias("s"))["s"]
    for index, (id_, digest) in enumerate(zip(frame["id"], frame["@digest"], strict=True)):
        if id_ in decisions.qr_codes:
            codes[index] = decisions.qr_codes[id_]
        else:
            digits = QR_DIGITS
            while codes[index] in decisions.foreign_qr:
                digits += 2
                codes[index] = stems[index] + digest[:digits]
        # Not whether it is the code of now: one that was assigned for an earlier code has six digits as well.
        collided.append(len(codes[index].rpartition("-")[2]) > QR_DIGITS)
    return frame.with_columns(
        pl.Series("~qr", codes, dtype=pl.String), pl.Series("~qr_collision", collided, dtype=pl.Boolean)
    )


def _publish(frame: pl.DataFrame, unit: Unit) -> None:
    serial = (
        pl.when(blank("serial_number"))
        .then(None)
        .otherwise(pl.struct("vessel_id", "manufacturer", "model", "serial_number").hash())
    )
    unit.keys.add(frame["id"], frame["vessel_id"], frame.select(serial.alias("s"))["s"], frame["~out"])


def _late(unit: Unit) -> pl.DataFrame:
    return finding(
        unit.keys.repeated(),
        "equipment",
        "warning",
        "equipment.serial_duplicate",
        "serial_number",
        "an equipment of this vessel has the same manufacturer, model and serial number",
    )


ENTITY = Entity(
    name="equipment",
    source="equipment",
    digit="5",
    after=("vessel", "location"),
    columns=(
        Column("id", Kind.ID),
        Column("vessel_id", Kind.ID),
        Column("location_id", Kind.ID),
        Column("name"),
        Column("code"),
        Column("equipment_type"),
        Column("manufacturer"),
        Column("model"),
        Column("serial_number"),
        Column("criticality"),
        Column("status"),
        Column("classification"),
        Column("installation_date", Kind.DATE),
        Column("warranty_expiry", Kind.DATE),
        Column("specifications", Kind.JSON),
        Column("maintenance_interval_days", Kind.INTEGER),
        Column("quality_score", Kind.INTEGER),
        Column("notes"),
        Column("metadata", Kind.JSON),
        Column("last_verified_at", Kind.TIMESTAMP),
        Column("next_verification_date", Kind.DATE),
        Column("verified_by", Kind.ID),
        Column("created_at", Kind.TIMESTAMP),
        Column("updated_at", Kind.TIMESTAMP),
    ),
    references=(Reference("vessel", "vessel_id", "@vessel"),),
    prepare=_prepare,
    publish=_publish,
    stats={
        "total_equipment": pl.col("id").is_not_null(),
        "equipment_without_location": pl.col("location_id").is_null(),
        "critical_equipment": pl.col("criticality") == "CRITICAL",
    },
    late_rules=_late,
    rules=(
        Rule(
            "equipment.name_required",
            "name",
            pl.col("name").is_null() | pl.col("name").str.contains(WHITE_SPACE),
            "the target needs a name: give it one in the source",
            severity="error",
        ),
        Rule(
            "equipment.location_unknown",
            "location_id",
            pl.col("~location_unknown"),
            "it names no location of its vessel: correct it in the source",
            severity="error",
        ),
        Rule(
            "equipment.location_missing",
            "location_id",
            pl.col("location_id").is_null(),
            "no location",
        ),
        Rule(
            "equipment.qr_collision",
            "code",
            pl.col("~qr_collision"),
            "its short QR code is another's: it got a longer one",
            lossy=True,
        ),
        Rule(
            "equipment.status_unknown",
            "status",
            unknown("status", STATUS),
            "no status that the mapping knows: operational",
            lossy=True,
        ),
        Rule(
            "equipment.last_maintenance_invalid",
            "metadata",
            pl.col("~last_invalid"),
            "metadata.last_maintenance_date is no date: NULL",
            lossy=True,
        ),
        Rule(
            "equipment.warranty_before_installation",
            "warranty_expiry",
            _dates.before("warranty_expiry", "installation_date"),
            "the warranty ends before the installation",
        ),
        Rule(
            "equipment.quality_score_range",
            "quality_score",
            out_of("quality_score", 0, 100),
            "outside 0 to 100",
        ),
        Rule(
            "equipment.status_collapsed",
            "status",
            collapsed("status", STATUS),
            "several statuses map to this one",
            lossy=True,
            reported=False,
        ),
        Rule(
            "equipment.specifications_wrapped",
            "specifications",
            pl.col("~wrapped"),
            "specifications that are no object became the member `value`",
            lossy=True,
            reported=False,
        ),
    ),
    tables=(
        Table(
            "equipment",
            ("id",),
            {
                "id": Cell(pl.col("@id"), "id"),
                "vessel_id": Cell(pl.col("@vessel"), "vessel_id"),
                "qr_code": Cell(pl.col("~qr"), "code", kept=True),
                **copied("name", "manufacturer", "model", "serial_number"),
                "location": Cell(pl.col("~path"), "location_id"),
                "equipment_type": text("equipment_type"),
                "status": Cell(
                    mapped("status", STATUS, "operational"),
                    "status",
                    ranks=("fault", "maintenance", "operational", "decommissioned"),
                ),
                "installation_date": text("installation_date"),
                "last_maintenance_date": Cell(pl.col("~last"), "metadata"),
                "next_maintenance_date": Cell(pl.col("~next"), "maintenance_interval_days"),
                "specifications": Cell(pl.col("~specifications"), "specifications", json=True),
                **copied("created_at", "updated_at"),
            },
            holds={
                "has a QR code": pl.col("qr_code").str.len_chars() > 0,
                "has a status of the portal": pl.col("status").is_in([*STATUS.values(), "fault"]),
            },
        ),
        Table(
            "equipment_metadata",
            ("equipment_id",),
            {
                "equipment_id": Cell(pl.col("@id"), "id"),
                "original_id": text("id"),
                "original_code": text("code"),
                "original_status": text("status"),
                "original_location_id": text("location_id"),
                **copied(
                    "criticality",
                    "classification",
                    "quality_score",
                    "maintenance_interval_days",
                    "warranty_expiry",
                    "notes",
                ),
                "verification_data": Cell(_specifications.verification_data(), "last_verified_at", json=True),
                "original_metadata": text("metadata", json=True),
            },
        ),
    ),
)
