"""critical_parts → critical_parts, part_details"""

from __future__ import annotations

from tests.oracle.draft import Draft, World
from tests.oracle.source import SourceRow, required


def draft(world: World, part: SourceRow) -> Draft:
    """The rows of one part."""
    made = Draft(world, "critical_part", part)
    own_id = world.target_id("critical_part", made.source_id)
    equipment_id = world.target_id("equipment", required(part, "equipment_id"))
    made.refer("critical_parts", {"id": own_id, "equipment_id": equipment_id})
    made.put("critical_parts", "part_number", part["part_number"], "part_number")
    made.put("critical_parts", "description", part["name"], "name")
    causes_failure = "true" if part["criticality"] == "CRITICAL" else "false"
    made.put("critical_parts", "causes_failure", causes_failure, "criticality")
    made.copy("critical_parts", "current_stock", "minimum_stock", "created_at", "updated_at")
    made.refer("part_details", {"part_id": own_id})
    made.put("part_details", "manufacturer", part["manufacturer"], "manufacturer")
    made.put("part_details", "quantity_per_equipment", part["quantity"], "quantity")
    made.put("part_details", "original_criticality", part["criticality"], "criticality")
    made.put("part_details", "original_part_number", part["part_number"], "part_number")

    for column in ("current_stock", "minimum_stock"):
        stock = part[column]
        if stock is not None and int(stock) < 0:
            made.note("part.stock_negative", column)
    current, minimum = part["current_stock"], part["minimum_stock"]
    if current is not None and minimum is not None and int(current) < int(minimum):
        made.note("part.below_minimum")
    return made
