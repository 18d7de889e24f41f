"""vessel → vessels, vessel_details"""

from __future__ import annotations

import re

from tests.oracle.draft import Draft, World
from tests.oracle.jsontext import member, text_or
from tests.oracle.source import SourceRow, required

STATUSES = {
    "APPROVED": "operational",
    "NOT_STARTED": "onboarding",
    "IN_PROGRESS": "onboarding",
    "SUBMITTED": "onboarding",
    "REJECTED": "inactive",
}
_IMO = re.compile(r"(?:IMO)?([0-9]{7})")


def is_imo_number(text: str) -> bool:
    """Seven digits, with or without IMO before them, the last one right."""
    found = _IMO.fullmatch(text)
    if found is None:
        return False
    digits = [int(digit) for digit in found[1]]
    total = sum(digit * weight for digit, weight in zip(digits[:6], (7, 6, 5, 4, 3, 2), strict=True))
    return total % 10 == digits[6]


def draft(world: World, vessel: SourceRow) -> Draft:
    """The rows of one vessel."""
    made = Draft(world, "vessel", vessel)
    metadata = made.json("metadata")
    status = required(vessel, "onboarding_status")

    made.refer("vessels", {"company_id": world.target_id("company", required(vessel, "company_id"))})
    made.copy("vessels", "name", "imo_number", "vessel_type", "created_at", "updated_at")
    if not metadata.unstorable:
        image = text_or(member(metadata.value, "image_url"), "/assets/vessels/default.svg")
        made.put("vessels", "image_url", image, "metadata")
    made.put("vessels", "status", STATUSES.get(status, "onboarding"), "onboarding_status")
    made.copy("vessel_details", "flag", "gross_tonnage", "year_built", "class_society")
    made.put("vessel_details", "original_status", status, "onboarding_status")
    made.copy_json("vessel_details", "metadata", metadata)

    if status not in STATUSES:
        made.note("vessel.status_unknown")
    year_built = vessel["year_built"]
    if year_built is not None and not 1850 <= int(year_built) <= world.year + 3:
        made.note("vessel.year_built_implausible")

    _settle_imo(made, vessel["imo_number"])
    own_id = world.target_id("vessel", made.source_id)
    made.refer("vessels", {"id": own_id})
    made.refer("vessel_details", {"vessel_id": own_id})
    return made


def _settle_imo(made: Draft, imo: str | None) -> None:
    """The IMO number's own rules, and the row of the target that it adopts."""
    world = made.world
    if imo is None or imo == "":
        made.note("vessel.imo_missing")
    elif not is_imo_number(imo):
        made.note("vessel.imo_invalid")
    if imo is None:
        return
    for row in world.target.tables["vessels"]:
        if row["imo_number"] == imo:
            if imo == "":
                made.note("vessel.imo_taken")
            elif not world.findings.errors("vessel", made.source_id):
                made.note("vessel.adopted")
                world.adopt("vessel", made.source_id, row)
