"""Traps of documents."""

from __future__ import annotations

from bulkmig.generate import ids
from bulkmig.generate.frame import Frame
from bulkmig.generate.ships import Kind, Vessel
from bulkmig.generate.traps import texts, times
from bulkmig.generate.traps.plant import Family, Planter, Trap
from bulkmig.generate.world import World

_TYPES: Family = (
    *(
        Trap(f"document_{name.lower()}", name)
        for name in ("MANUAL", "DRAWING", "CERTIFICATE", "DATASHEET", "PHOTO", "REPORT", "OTHER")
    ),
    Trap("document_type_unknown", "VIDEO", unknown=True),
)
_SIZES: Family = (
    Trap("file_size_null", None),
    Trap("file_size_zero", "0"),
    Trap("file_size_negative", "-1"),
    Trap("file_size_largest_int4", "2147483647"),
    Trap("file_size_beyond_int4", "2147483648"),
    Trap("file_size_smallest_int4", "-2147483648"),
    Trap("file_size_below_int4", "-2147483649"),
    Trap("file_size_beyond_double", "9007199254740993"),
    Trap("file_size_largest", "9223372036854775807"),
)
_PATHS: Family = (
    Trap("path_https", "https://files.example.com/a/b.pdf?version=2"),
    Trap("path_key_of_text", "s3://bucket/ключ 🚢/plan (1).pdf"),
    Trap("path_empty", ""),
    Trap("path_without_scheme", "documents/plan.pdf"),
    Trap("path_other_scheme", "ftp://files.example.com/plan.pdf"),
    Trap("path_plain_http", "http://files.example.com/plan.pdf"),
    Trap("path_without_bucket", "s3:///plan.pdf"),
    Trap("path_without_key", "s3://bucket"),
    Trap("path_local", "C:\\plans\\plan.pdf"),
    Trap("path_100_kb", lambda rng: "s3://bucket/" + f"{rng.getrandbits(64):016x}/" * 6000, heavy=True),
)
_MISSING = Trap("document_equipment_unknown")
_ELSEWHERE = Trap("document_equipment_other_vessel")
_QUARANTINED = Trap("document_of_quarantined", error=True)
_OF_VESSEL = Trap("document_of_vessel")
_SLOTS = {
    "document_type": (_TYPES,),
    "name": (texts.GIVEN,),
    "file_path": (_PATHS, _PATHS, texts.GIVEN),
    "file_size": (_SIZES,),
    "mime_type": (texts.ANY,),
    "created_at": (times.TIMESTAMPS,),
    "updated_at": (times.TIMESTAMPS,),
}
TRAPS: Family = (
    *(trap for families in _SLOTS.values() for family in families for trap in family),
    _MISSING,
    _ELSEWHERE,
    _QUARANTINED,
    _OF_VESSEL,
)


def plant(planter: Planter, world: World, vessel: Vessel, frame: Frame, quarantined: list[str]) -> None:
    """Changes documents of a vessel, of which the equipment in `quarantined` are errors."""
    for row in planter.rows(frame, all_rows=vessel.kind is not Kind.FLEET):
        kind = planter.rng.random()
        if vessel.kind is Kind.BROKEN or kind < 0.1:
            _refer(planter, frame, row, ids.uuid(planter.rng), _MISSING)
        elif kind < 0.2:
            elsewhere = world.equipment.one_elsewhere(vessel.id)
            _refer(planter, frame, row, elsewhere, _ELSEWHERE if elsewhere else _OF_VESSEL)
        elif kind < 0.4 and quarantined:
            _refer(planter, frame, row, planter.rng.choice(quarantined), _QUARANTINED)
        elif kind < 0.5:
            _refer(planter, frame, row, None, _OF_VESSEL)
        planter.plant_slots(frame, row, _SLOTS)


def _refer(planter: Planter, frame: Frame, row: int, equipment: str | None, trap: Trap) -> None:
    frame.put(row, "equipment_id", equipment)
    planter.count(trap.name)
