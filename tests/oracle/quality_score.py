"""quality_scores → quality_scores"""

from __future__ import annotations

from tests.oracle.draft import Draft, World
from tests.oracle.source import SourceRow, required

TABLE = "quality_scores"


def draft(world: World, score: SourceRow, *, has_equipment: bool, has_assessor: bool) -> Draft:
    """The row of one score; the flags say whether what it names is there for it."""
    made = Draft(world, "quality_score", score)
    equipment, assessor = score["equipment_id"], score["assessed_by"]
    made.refer(TABLE, {"id": world.target_id("quality_score", made.source_id)})
    made.refer(TABLE, {"vessel_id": world.target_id("vessel", required(score, "vessel_id"))})
    equipment_id = None if equipment is None else world.target_id("equipment", equipment)
    assessed_by = world.target_id("user", assessor) if assessor is not None and has_assessor else None
    made.refer(TABLE, {"equipment_id": equipment_id, "assessed_by": assessed_by})
    made.copy(TABLE, "category", "assessed_at", "created_at", "updated_at")

    if 0 <= int(required(score, "score")) <= 100:
        made.copy(TABLE, "score")
    else:
        made.note("score.out_of_range")
    if equipment is not None and not has_equipment:
        made.note("score.equipment_missing")
    if assessor is not None and not has_assessor:
        made.note("score.assessor_missing")
    return made
