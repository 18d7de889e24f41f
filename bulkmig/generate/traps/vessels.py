"""Traps of a vessel's own row."""

from __future__ import annotations

from random import Random

from bulkmig.generate.frame import Frame
from bulkmig.generate.ids import ImoNumbers
from bulkmig.generate.ships import Kind, Vessel
from bulkmig.generate.traps import jsons, texts, times
from bulkmig.generate.traps.plant import Family, Planter, Trap

IMO_EMPTY = Trap(
    "imo_empty", "", error=True
)  # only one vessel may have it; taken as soon as the target has one

_YEARS: Family = (
    Trap("year_null", None),
    Trap("year_1849", "1849"),
    Trap("year_1850", "1850"),
    Trap("year_zero", "0"),
    Trap("year_negative", "-500"),
    Trap("year_far_ahead", "2999"),
    Trap("year_largest", "2147483647"),
)
_TONNAGES: Family = (
    Trap("tonnage_null", None),
    Trap("tonnage_scale", "12.50"),
    Trap("tonnage_zero", "0.00"),
    Trap("tonnage_nan", "NaN"),
    Trap("tonnage_negative", "-0.01"),
    Trap("tonnage_largest", "99999999.99"),
)
_IMAGES: Family = tuple(
    Trap(name, f'{{"crew": 20, {member}}}', json_only=json_only)
    for name, member, json_only in jsons.texts_of("image_url", "image", "https://assets.example.com/v/1.jpg")
)
_STATUSES: Family = (
    Trap("vessel_not_started", "NOT_STARTED"),
    Trap("vessel_in_progress", "IN_PROGRESS"),
    Trap("vessel_submitted", "SUBMITTED"),
    Trap("vessel_rejected", "REJECTED"),
    Trap("vessel_status_unknown", "ARCHIVED", unknown=True),
)
_IMO: Family = tuple(
    Trap(name)
    for name in (
        "imo_null", "imo_check_digit_wrong", "imo_prefix_and_space", "imo_prefix", "imo_six_digits",
        "imo_eight_digits", "imo_space_after", "imo_other_digits", "imo_letters", "imo_line_break_after",
    )
)  # fmt: skip
_EMPTY, _BROKEN = Trap("vessel_empty"), Trap("vessel_broken", error=True)
_VESSEL_UNSTORABLE = Trap("vessel_unstorable", error=True)
_SLOTS = {
    "name": (texts.GIVEN,),
    "vessel_type": (texts.ANY,),
    "flag": (texts.ANY,),
    "class_society": (texts.ANY,),
    "gross_tonnage": (_TONNAGES,),
    "year_built": (_YEARS,),
    "metadata": (_IMAGES, jsons.JSON),
    "created_at": (times.TIMESTAMPS,),
    "updated_at": (times.TIMESTAMPS,),
}
TRAPS: Family = (
    *_YEARS,
    *_TONNAGES,
    *_IMAGES,
    *_STATUSES,
    *_IMO,
    _EMPTY,
    _BROKEN,
    _VESSEL_UNSTORABLE,
)


def statuses(planter: Planter) -> list[Trap]:
    """The states of vessels that aren't APPROVED, as far as the fleet can hold them."""
    return [trap for trap in _STATUSES if planter.allows(trap)]


def plant(planter: Planter, frame: Frame, vessel: Vessel, imo_numbers: ImoNumbers) -> bool:
    """Changes the row of a vessel, and says whether its rows may carry traps too.

    They may not where the vessel itself can't be migrated: nobody would ever see them."""
    if vessel.kind is Kind.HIDDEN:
        planter.count(next(trap.name for trap in _STATUSES if trap.value == vessel.status))
        return False
    if vessel.kind is Kind.FAILING:
        return False
    if vessel.kind is Kind.EMPTY:
        planter.count(_EMPTY.name)
    if vessel.kind is Kind.BROKEN:
        planter.count(_BROKEN.name)
    if vessel.kind is Kind.FLEET and planter.rng.random() >= planter.nasty:
        return True
    if vessel.kind is Kind.CARRIER and vessel.errors:
        if not planter.counts[IMO_EMPTY.name]:
            frame.put(0, "imo_number", "")
            planter.count(IMO_EMPTY.name)
            return False
        if planter.counts[_VESSEL_UNSTORABLE.name] < planter.least:
            planter.count(_VESSEL_UNSTORABLE.name)
            planter.plant(frame, 0, jsons.UNSTORABLE, "metadata")
            return False
    trap = planter.draw(_IMO)
    if trap is not None and frame.is_free(0, "imo_number"):
        frame.put(0, "imo_number", _imo(planter.rng, trap.name, imo_numbers.take()))
        planter.count(trap.name)
    if planter.lacking(_IMAGES):
        planter.plant(frame, 0, _IMAGES, "metadata")
    planter.plant_slots(frame, 0, _SLOTS, share=1.0)
    return True


def _imo(rng: Random, name: str, number: str) -> str | None:
    """A number of the named kind; unique, because `number` is."""
    match name:
        case "imo_null":
            return None
        case "imo_check_digit_wrong":
            return number[:6] + str((int(number[6]) + rng.randrange(1, 10)) % 10)
        case "imo_prefix_and_space":
            return f"IMO {number}"
        case "imo_prefix":
            return f"IMO{number}"
        case "imo_six_digits":
            return number[:6]
        case "imo_eight_digits":
            return number + "0"
        case "imo_space_after":
            return number + " "
        case "imo_other_digits":
            return number.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
        case "imo_line_break_after":
            return number + "\n"
        case _:
            return f"{number[:6]}A"
