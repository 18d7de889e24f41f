"""Cuts a selection into units of work: a large vessel alone, small ones together."""

from __future__ import annotations

from collections.abc import Iterable

from bulkmig._core.ids import prefix
from bulkmig.config import EXPANSION, MEBIBYTE
from bulkmig.selection import Vessel

# Rough CSV bytes that an equipment brings with its parts and documents, and a vessel of its own. A unit that
# turns out larger is taken vessel by vessel, so only speed depends on these.
PER_EQUIPMENT = 1800
PER_VESSEL = 4096
MAX_TOGETHER = 64
# Of a unit of several vessels one table at a time is a frame, while the others are text and base already.
_EXPANSION_TOGETHER = 4
# Units become smaller towards the end, so that the workers end together: of what is left, each takes a share.
_SHARES = 4
_LEAST = MEBIBYTE


def bound_together(batch_bytes: int) -> int:
    """The CSV bytes that a unit of several vessels may really have."""
    return batch_bytes * EXPANSION // _EXPANSION_TOGETHER


def room(batch_bytes: int) -> int:
    """How much such a unit may be expected to hold: less, since it is a guess."""
    return bound_together(batch_bytes) * 7 // 8


def cut(
    vessels: Iterable[Vessel], batch_bytes: int, *, most_together: int = MAX_TOGETHER
) -> list[list[Vessel]]:
    """Units: large vessels alone and first, so that none is left to the end; the others in the order of
    their target ids, so that rows go into the target's indexes side by side."""
    fits, most = room(batch_bytes), min(most_together, MAX_TOGETHER)
    in_order = sorted(vessels, key=lambda vessel: (-vessel.equipment, vessel.id))
    alone = [vessel for vessel in in_order if _expected(vessel) > fits]
    small = sorted(in_order[len(alone) :], key=lambda vessel: (prefix(vessel.id), vessel.id))
    left = sum(map(_expected, small))
    together: list[list[Vessel]] = []
    size = limit = 0
    for vessel in small:
        expected = _expected(vessel)
        if not together or size + expected > limit or len(together[-1]) >= most:
            left -= size
            size, limit = 0, min(fits, max(left // _SHARES, _LEAST))
            together.append([])
        together[-1].append(vessel)
        size += expected
    return [*([vessel] for vessel in alone), *together]


def in_order(vessels: Iterable[Vessel], batch_bytes: int, *, one_writes: bool = False) -> list[list[Vessel]]:
    """Units that keep the order of the vessels: large ones alone, small ones that follow each other together;
    the last ones smaller, so that the workers end together. Where `one_writes` while another reads, not so
    small that a vessel is alone: nothing is read beside it."""
    due, fits = list(vessels), room(batch_bytes)
    least = fits // 2 if one_writes else _LEAST
    left = sum(map(_expected, due))
    units: list[list[Vessel]] = []
    size = limit = 0
    for vessel in due:
        expected = _expected(vessel)
        if not units or size + expected > limit or len(units[-1]) >= MAX_TOGETHER:
            size, limit = 0, min(fits, max(left // _SHARES, least))
            units.append([])
        units[-1].append(vessel)
        size += expected
        left -= expected
    return units


def fits(vessels: Iterable[Vessel], batch_bytes: int) -> bool:
    """Whether these are expected to be small enough to be held together."""
    return sum(map(_expected, vessels)) <= room(batch_bytes)


def _expected(vessel: Vessel) -> int:
    return PER_VESSEL + vessel.equipment * PER_EQUIPMENT


def keys_bytes(vessels: Iterable[Vessel]) -> int:
    """What the equipment keys of vessels in flight take: 28 bytes each, twice while they are put in order."""
    return sum(vessel.equipment for vessel in vessels) * 64
