"""Traps of equipment rows."""

from __future__ import annotations

from random import Random

from bulkmig.generate import ids
from bulkmig.generate.frame import Frame
from bulkmig.generate.ships import Kind, Vessel
from bulkmig.generate.traps import jsons, maintenance, qr, texts, times
from bulkmig.generate.traps.locations import MISSING, Leaves
from bulkmig.generate.traps.plant import Family, Planter, Trap
from bulkmig.generate.world import World

_CODES: Family = (
    Trap("code_null", None),
    Trap("code_empty", ""),
    Trap("code_spaces", "  "),
    Trap("code_hyphens", "-A--B-"),
    Trap("code_other_letters", "ÆØÅ-日本"),
    Trap("code_emoji", "🚢"),
    Trap("code_line_break", "ME\n01"),
    Trap("code_slashes", "601/002 %2F ?#"),
    Trap("code_longest", "\u0436" * 100),
)
_STATUSES: Family = (
    *(
        Trap(f"equipment_{status.lower()}", status)
        for status in ("DRAFT", "REVIEWED", "APPROVED", "VERIFIED", "ACTIVE", "REMOVED", "DELETED")
    ),
    Trap("equipment_status_null", None),
    Trap("equipment_status_unknown", "LOST", unknown=True),
)
CRITICALITIES: Family = (
    *(Trap(f"criticality_{value.lower()}", value) for value in ("CRITICAL", "HIGH", "MEDIUM", "LOW")),
    Trap("criticality_null", None),
    Trap("criticality_unknown", "EXTREME", unknown=True),
)
_CLASSIFICATIONS: Family = (
    *(
        Trap(f"classification_{value.lower()}", value)
        for value in ("PERMANENT", "TEMPORARY", "RENTAL", "SPARE")
    ),
    Trap("classification_null", None),
    Trap("classification_unknown", "LEASED", unknown=True),
)
_QUALITY: Family = tuple(
    Trap(f"quality_{name}", value)
    for name, value in (
        ("null", None), ("negative", "-1"), ("zero", "0"), ("hundred", "100"), ("above_hundred", "101"),
        ("largest", "2147483647"), ("smallest", "-2147483648"),
    )
)  # fmt: skip
_VERIFIED: Family = (*times.TIMESTAMPS, Trap("verified_at_null", None))
_VERIFIERS: Family = (Trap("verifier_null", None), Trap("verifier_unknown", ids.uuid))
_SLOTS = {
    "name": (texts.VISIBLE, texts.NOT_WHITE_SPACE),
    "code": (_CODES, texts.VISIBLE),
    "equipment_type": (texts.ANY,),
    "manufacturer": (texts.ANY,),
    "model": (texts.ANY,),
    "serial_number": (texts.ANY,),
    "criticality": (CRITICALITIES,),
    "status": (_STATUSES,),
    "classification": (_CLASSIFICATIONS,),
    "installation_date": (times.DATES,),
    "warranty_expiry": (times.DATES,),
    "specifications": (maintenance.SPECIFICATIONS, jsons.JSON),
    "maintenance_interval_days": (maintenance.INTERVALS,),
    "quality_score": (_QUALITY,),
    "notes": (texts.ANY, texts.LONG),
    "metadata": (*(maintenance.LAST_MAINTENANCE,) * 4, jsons.JSON),
    "last_verified_at": (_VERIFIED,),
    "next_verification_date": (times.DATES,),
    "verified_by": (_VERIFIERS,),
    "created_at": (times.TIMESTAMPS,),
    "updated_at": (times.TIMESTAMPS,),
}
_LOCATION_UNKNOWN = Trap("equipment_location_unknown", ids.uuid, "location_id", error=True)
_LOCATION_ELSEWHERE = Trap("equipment_location_other_vessel", None, "location_id", error=True)
_ERRORS: Family = (*texts.NO_NAME, _LOCATION_UNKNOWN, _LOCATION_ELSEWHERE, *jsons.UNSTORABLE)

_SERIAL = ("manufacturer", "model", "serial_number")
_SERIALS: dict[str, tuple[tuple[str | None, str | None, str | None], ...]] = {
    "serial_twice": (("Maker", "M-1", "{}"),) * 2,
    "serial_three_times": (("Maker", "M-1", "{}"),) * 3,
    "serial_twice_without_maker": ((None, "M-1", "{}"),) * 2,
    "serial_twice_without_model": (("Maker", None, "{}"),) * 2,
    "serial_twice_empty": (("Maker", "M-1", ""),) * 2,
    "serial_twice_null": (("Maker", "M-1", None),) * 2,
    "serial_other_model": (("Maker", "M-1", "{}"), ("Maker", "M-2", "{}")),
    "serial_other_case": (("Maker", "M-1", "a{}"), ("Maker", "M-1", "A{}")),
    "serial_maker_null_and_empty": ((None, "M-1", "{}"), ("", "M-1", "{}")),
    "serial_space_after": (("Maker", "M-1", "{}"), ("Maker", "M-1", "{} ")),
}
_SERIAL_GROUPS: Family = tuple(Trap(name) for name in _SERIALS)
_SERIAL_OTHER_VESSEL = Trap("serial_on_two_vessels")
TRAPS: Family = (
    *(trap for families in _SLOTS.values() for family in families for trap in family),
    *maintenance.ROWS,
    *_ERRORS,
    *_SERIAL_GROUPS,
    _SERIAL_OTHER_VESSEL,
    *qr.TRAPS,
)


def plant(
    planter: Planter, world: World, groups: qr.QrGroups, vessel: Vessel, frame: Frame, leaves: Leaves
) -> list[str]:
    """Changes equipment of a vessel; returns the ids of those that are errors now."""
    rows = planter.rows(frame, all_rows=vessel.kind is not Kind.FLEET)
    broken: list[int] = []
    if vessel.kind is Kind.BROKEN:
        broken, rows = rows, []
    elif vessel.errors:
        broken, rows = rows[: len(rows) // 3], rows[len(rows) // 3 :]
    if broken and len(rows) > 1 and planter.rng.random() < 0.5:
        qr.plant_quarantined(planter, groups, frame, broken[0], rows[0])
    broken = [row for row in broken if _break(planter, world, vessel, frame, row)]
    qr.plant(planter, world, groups, vessel, frame, rows)
    _plant_serials(planter, vessel, frame, rows)
    for row in rows:
        _plant_row(planter, frame, row, leaves)
    return [frame.columns["id"][row] for row in broken]


def _break(planter: Planter, world: World, vessel: Vessel, frame: Frame, row: int) -> bool:
    trap = planter.draw(_ERRORS)
    if trap is None:
        return False
    if trap is _LOCATION_ELSEWHERE:
        value = world.locations.one_elsewhere(vessel.id)
        if value is None:
            return _break(planter, world, vessel, frame, row)
    else:
        value = planter.make(trap)
    frame.put(row, trap.column or planter.rng.choice(("specifications", "metadata")), value)
    frame.claim(row)
    planter.count(trap.name)
    return True


def _plant_serials(planter: Planter, vessel: Vessel, frame: Frame, rows: list[int]) -> None:
    free = list(frame.free_rows(rows, *_SERIAL))
    planter.rng.shuffle(free)
    if free and planter.rng.random() < 0.5:
        _put_serial(frame, free.pop(), ("Maker", "M-9", "ON-EVERY-VESSEL"))
        planter.count(_SERIAL_OTHER_VESSEL.name)
    for _ in range(-(-len(free) // 6)):
        trap = planter.draw(_SERIAL_GROUPS)
        if trap is None or len(free) < 3:
            return
        serial = f"{planter.rng.getrandbits(40):X}"
        for maker, model, pattern in _SERIALS[trap.name]:
            _put_serial(frame, free.pop(), (maker, model, pattern and pattern.format(serial)))
        planter.count(trap.name)


def _put_serial(frame: Frame, row: int, values: tuple[str | None, ...]) -> None:
    for column, value in zip(_SERIAL, values, strict=True):
        frame.put(row, column, value)


def _plant_row(planter: Planter, frame: Frame, row: int, leaves: Leaves) -> None:
    rng: Random = planter.rng
    if rng.random() < 0.2:
        maintenance.plant_row(planter, frame, row)
    name, leaf = rng.choice(leaves)
    if name != MISSING.name or rng.random() < 0.3:
        frame.put(row, "location_id", leaf)
        planter.count(name)
    planter.plant_slots(frame, row, _SLOTS)
