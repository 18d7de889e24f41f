"""cross_references → cross_references"""

from __future__ import annotations

from enum import Enum, auto

from tests.oracle.draft import Draft, World
from tests.oracle.source import SourceRow, required

TABLE = "cross_references"
ENDS = ("source_equipment_id", "target_equipment_id")


class End(Enum):
    """What becomes of the equipment at one end."""

    THERE = auto()
    NOT_YET = auto()
    NEVER = auto()


def draft(world: World, reference: SourceRow) -> Draft:
    """The row of one cross reference, its ends not looked at yet."""
    made = Draft(world, "cross_reference", reference)
    made.refer(TABLE, {"id": world.target_id("cross_reference", made.source_id)})
    made.refer(TABLE, {"vessel_id": world.target_id("vessel", required(reference, "vessel_id"))})
    for column in ENDS:
        made.refer(TABLE, {column: world.target_id("equipment", required(reference, column))})
    made.copy(TABLE, "reference_type", "notes", "created_at", "updated_at")
    return made


def find_missing_ends(made: Draft, ends: dict[str, End]) -> None:
    """An end that never comes is found, each by itself."""
    for column, end in ends.items():
        if end is End.NEVER:
            made.note("cross_reference.end_missing", column)
