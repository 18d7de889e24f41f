"""equipment → equipment, equipment_metadata"""

from __future__ import annotations

import datetime
from collections import defaultdict

from tests.oracle import location
from tests.oracle.draft import Draft, World
from tests.oracle.jsontext import Json, Number, Reading, member
from tests.oracle.moments import as_to_jsonb, days_later, moment_key, ordinary_date, written_date
from tests.oracle.qr import QrCode
from tests.oracle.source import SourceRow, identity, required
from tests.oracle.text import is_blank

STATUSES = {
    "ACTIVE": "operational",
    "VERIFIED": "operational",
    "APPROVED": "operational",
    "REVIEWED": "operational",
    "DRAFT": "maintenance",
    "REMOVED": "decommissioned",
    "DELETED": "decommissioned",
}


def draft(world: World, equipment: SourceRow, locations: dict[str, SourceRow], qr_code: QrCode) -> Draft:
    """The rows of one equipment."""
    made = Draft(world, "equipment", equipment)
    metadata, specifications = made.json("metadata"), made.json("specifications")
    status = equipment["status"]
    last = _last_maintenance(made, metadata)
    next_date = _next_maintenance(equipment, last)

    vessel_id = world.target_id("vessel", required(equipment, "vessel_id"))
    made.refer("equipment", {"id": world.target_id("equipment", made.source_id), "vessel_id": vessel_id})
    made.put("equipment", "qr_code", qr_code.text, "code")
    _put_name(made)
    made.copy("equipment", "manufacturer", "model", "serial_number", "equipment_type", "installation_date")
    made.copy("equipment", "created_at", "updated_at")
    made.put("equipment", "location", _location(made, locations), "location_id")
    made.put("equipment", "status", STATUSES.get(status or "", "operational"), "status")
    made.put("equipment", "last_maintenance_date", last.isoformat() if last else None, "metadata")
    made.put("equipment", "next_maintenance_date", next_date.isoformat() if next_date else None, "metadata")
    made.put_json("equipment", "specifications", _specifications(equipment, specifications))
    _put_metadata(made, metadata)

    if qr_code.collided:
        made.note("equipment.qr_collision")
    if status not in STATUSES:
        made.note("equipment.status_unknown")
    warranty, installation = equipment["warranty_expiry"], equipment["installation_date"]
    if warranty is not None and installation is not None and moment_key(warranty) < moment_key(installation):
        made.note("equipment.warranty_before_installation")
    score = equipment["quality_score"]
    if score is not None and not 0 <= int(score) <= 100:
        made.note("equipment.quality_score_range")
    return made


def _put_name(made: Draft) -> None:
    name = made.source["name"]
    if name is None or is_blank(name):
        made.note("equipment.name_required")
    else:
        made.put("equipment", "name", name, "name")


def _location(made: Draft, locations: dict[str, SourceRow]) -> str | None:
    """The path of the equipment's location."""
    location_id = made.source["location_id"]
    if location_id is None:
        made.note("equipment.location_missing")
        return None
    if location_id not in locations or locations[location_id]["vessel_id"] != made.source["vessel_id"]:
        made.note("equipment.location_unknown")
        return None
    return location.path(locations, location_id)


def _last_maintenance(made: Draft, metadata: Reading) -> datetime.date | None:
    """The date in the metadata; anything else than a date, nothing and null is found."""
    written = member(metadata.value, "last_maintenance_date")
    if written is None:
        return None
    date = written_date(written) if isinstance(written, str) else None
    if date is None:
        made.note("equipment.last_maintenance_invalid")
    return date


def _next_maintenance(equipment: SourceRow, last: datetime.date | None) -> datetime.date | None:
    interval = equipment["maintenance_interval_days"]
    base = last or ordinary_date(equipment["installation_date"])
    if interval is None or int(interval) <= 0 or base is None:
        return None
    return days_later(base, int(interval))


def _specifications(equipment: SourceRow, reading: Reading) -> Json:
    """The source object and the three columns that it may lack."""
    if reading.sql_null:
        merged: dict[str, Json] = {}
    elif isinstance(reading.value, dict):
        merged = dict(reading.value)
    else:
        merged = {"value": reading.value}
    additions: dict[str, Json] = {
        "criticality": equipment["criticality"],
        "classification": equipment["classification"],
    }
    interval = equipment["maintenance_interval_days"]
    additions["maintenance_interval_days"] = None if interval is None else Number(interval)
    for key, value in additions.items():
        if value is not None and key not in merged:
            merged[key] = value
    return merged


def _put_metadata(made: Draft, metadata: Reading) -> None:
    table, source = "equipment_metadata", made.source
    made.refer(table, {"equipment_id": made.world.target_id("equipment", made.source_id)})
    made.refer(table, {"original_id": made.source_id, "original_location_id": source["location_id"]})
    made.put(table, "original_code", source["code"], "code")
    made.put(table, "original_status", source["status"], "status")
    made.copy(table, "criticality", "classification", "quality_score", "maintenance_interval_days")
    made.copy(table, "warranty_expiry", "notes")
    made.copy_json(table, "original_metadata", metadata)
    columns = ("last_verified_at", "next_verification_date", "verified_by")
    verification: dict[str, Json] = {}
    for column in columns:
        value = source[column]
        verification[column] = None if value is None else as_to_jsonb(value)
    made.put_json(table, "verification_data", verification)


def find_duplicates(world: World, vessel_id: str) -> None:
    """Serial numbers that one vessel has twice: each but the first by id."""
    alike: dict[tuple[str | None, str | None, str], list[str]] = defaultdict(list)
    for equipment in world.source.equipment:
        serial = equipment["serial_number"]
        if equipment["vessel_id"] == vessel_id and serial:
            alike[equipment["manufacturer"], equipment["model"], serial].append(identity(equipment))
    for same in alike.values():
        for later in sorted(same)[1:]:
            world.findings.note("equipment.serial_duplicate", "equipment", later)
