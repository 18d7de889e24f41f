"""The fleet that every sequence begins with: all entities, references between vessels, some traps."""

from __future__ import annotations

from collections.abc import Callable

from tests.model.clock import Clock
from tests.model.onboarding import Onboarding
from tests.oracle.source import COLUMNS, SourceRow

KIND = {table: number for number, table in enumerate(COLUMNS, start=1)}
Add = Callable[..., str]


def start(onboarding: Onboarding, clock: Clock) -> None:
    """Fills an empty source."""

    def add(table: str, **values: str | None) -> str:
        return str(new_row(onboarding, clock, table, **values)["id"])

    acme = add("companies", name="Acme", code="ACME", settings='{"branding": {"primaryColor": "#123456"}}')
    blue = add("companies", name="Blue", code="Blue Line", timezone="Europe/Oslo")
    green = add("companies", name="Green", code="acme")
    ann = add("users", company_id=acme, email="ann@x.org", role="ADMIN", first_name="Ann")
    bob = add("users", company_id=acme, email="bob@x.org", role="HSE_OFFICER")
    cid = add("users", company_id=blue, email="cid@x.org", role="VIEWER", settings='{"a": 1.50}')
    add("users", company_id=blue, email="ANN@x.org", role="MANAGER")
    add("users", company_id=green, email="dan@x.org", role="TECHNICIAN")
    one = add("vessels", company_id=acme, name="One", imo_number="9074729", gross_tonnage="10.50")
    two = add("vessels", company_id=acme, name="Two", imo_number="9319466", metadata='{"image_url": "/two"}')
    three = add("vessels", company_id=blue, name="Three", imo_number=None)
    four = add("vessels", company_id=blue, name="Four", imo_number="9321483", onboarding_status="IN_PROGRESS")
    deck = add("locations", vessel_id=one, name="Deck")
    room = add("locations", vessel_id=one, parent_id=deck, name="Engine room")
    hold = add("locations", vessel_id=two, parent_id=deck, name="Hold")
    bridge = add("locations", vessel_id=three, name="Bridge")
    pump = add(
        "equipment",
        vessel_id=one,
        location_id=room,
        name="Pump",
        code="P-1",
        criticality="CRITICAL",
        installation_date="2020-01-31",
        maintenance_interval_days="30",
        specifications='{"power": 1.50}',
        metadata='{"last_maintenance_date": "2024-02-03"}',
        verified_by=ann,
    )
    fan = add("equipment", vessel_id=one, location_id=deck, name="Fan", code="F-1", quality_score="70")
    valve = add("equipment", vessel_id=one, location_id=None, name="Valve", code=None, serial_number="S1")
    crane = add("equipment", vessel_id=two, location_id=hold, name="Crane", code="C-1", status="DRAFT")
    winch = add("equipment", vessel_id=two, location_id=hold, name="Winch", code="W-1", notes="old")
    radar = add("equipment", vessel_id=three, location_id=bridge, name="Radar", code="R-1")
    radio = add("equipment", vessel_id=three, location_id=bridge, name="Radio", code="R-2")
    anchor = add("equipment", vessel_id=four, location_id=None, name="Anchor", code="A-1")
    add(
        "critical_parts",
        equipment_id=pump,
        name="Seal",
        part_number="77",
        current_stock="3",
        minimum_stock="1",
    )
    add("critical_parts", equipment_id=pump, name="Shaft", criticality="CRITICAL", quantity="2")
    add("critical_parts", equipment_id=crane, name="Rope", current_stock="5")
    add("critical_parts", equipment_id=clock.id(90), name="Of nothing")
    add("documents", vessel_id=one, equipment_id=pump, file_size="100", mime_type="application/pdf")
    add("documents", vessel_id=one, equipment_id=None, document_type="CERTIFICATE")
    add("documents", vessel_id=two, equipment_id=crane, document_type="PHOTO", file_path="https://x.org/1")
    add("documents", vessel_id=three, equipment_id=radar)
    add("quality_scores", vessel_id=one, equipment_id=pump, score="80", assessed_by=bob)
    add("quality_scores", vessel_id=two, equipment_id=None, score="40", assessed_by=cid)
    add("quality_scores", vessel_id=two, equipment_id=winch, score="60", assessed_by=clock.id(91))
    add("cross_references", vessel_id=one, source_equipment_id=pump, target_equipment_id=fan)
    add("cross_references", vessel_id=one, source_equipment_id=valve, target_equipment_id=crane, notes="x")
    add("cross_references", vessel_id=three, source_equipment_id=radar, target_equipment_id=pump)
    add("cross_references", vessel_id=three, source_equipment_id=radio, target_equipment_id=anchor)


def new_row(onboarding: Onboarding, clock: Clock, table: str, **values: str | None) -> SourceRow:
    """A row of its own moment."""
    now = clock.moment()
    values = {"id": clock.id(KIND[table]), "created_at": now, "updated_at": now, **values}
    return onboarding.put(table, **values)
