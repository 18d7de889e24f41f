"""Traps of critical parts."""

from __future__ import annotations

from bulkmig.generate import ids
from bulkmig.generate.frame import Frame
from bulkmig.generate.ships import Kind, Vessel
from bulkmig.generate.traps import texts, times
from bulkmig.generate.traps.equipment import CRITICALITIES
from bulkmig.generate.traps.plant import Family, Planter, Trap

_NUMBERS: Family = (
    Trap("part_number_null", None),
    Trap("part_number_empty", ""),
    Trap("part_number_100", "N" * 100),
    Trap("part_number_101", "N" * 100 + "!"),
    Trap("part_number_255", "0123456789" * 25 + "abcde"),
    Trap("part_number_100_wide", "Ж" * 50 + "🚢" * 50),
    Trap("part_number_101_wide", "Ж" * 50 + "🚢" * 51),
    Trap("part_number_255_wide", "🚢" * 255),
    Trap("part_number_cut_in_cluster", "N" * 99 + "e\u0301" + "x" * 20),
    Trap("part_number_spaces_beyond", "N" * 98 + " " * 10),
)
_STOCK: Family = (
    Trap("stock_null", None),
    Trap("stock_zero", "0"),
    Trap("stock_negative", "-1"),
    Trap("stock_largest", "2147483647"),
    Trap("stock_smallest", "-2147483648"),
)
_QUANTITIES: Family = (
    Trap("quantity_null", None),
    Trap("quantity_zero", "0"),
    Trap("quantity_negative", "-4"),
    Trap("quantity_largest", "2147483647"),
)
_BELOW_MINIMUM = Trap("part_below_minimum")
_ORPHAN = Trap("part_orphan", ids.uuid)
_QUARANTINED = Trap("part_of_quarantined", error=True)
_SLOTS = {
    "name": (texts.ANY,),
    "part_number": (_NUMBERS, texts.VISIBLE),
    "manufacturer": (texts.ANY,),
    "criticality": (CRITICALITIES,),
    "quantity": (_QUANTITIES,),
    "minimum_stock": (_STOCK,),
    "current_stock": (_STOCK,),
    "created_at": (times.TIMESTAMPS,),
    "updated_at": (times.TIMESTAMPS,),
}
TRAPS: Family = (
    *(trap for families in _SLOTS.values() for family in families for trap in family),
    _BELOW_MINIMUM,
    _ORPHAN,
    _QUARANTINED,
)


def plant(planter: Planter, vessel: Vessel, frame: Frame, quarantined: list[str]) -> None:
    """Changes parts of a vessel, of which the equipment in `quarantined` are errors."""
    for row in planter.rows(frame, all_rows=vessel.kind is not Kind.FLEET):
        kind = planter.rng.random()
        if vessel.kind is Kind.BROKEN or kind < 0.1:
            frame.put(row, "equipment_id", ids.uuid(planter.rng))
            planter.count(_ORPHAN.name)
        elif quarantined and kind < 0.3:
            frame.put(row, "equipment_id", planter.rng.choice(quarantined))
            planter.count(_QUARANTINED.name)
        elif kind < 0.4:
            frame.put(row, "minimum_stock", "5")
            frame.put(row, "current_stock", "4")
            planter.count(_BELOW_MINIMUM.name)
        planter.plant_slots(frame, row, _SLOTS)
