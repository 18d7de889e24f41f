"""Cuts a selection into units of work: a large vessel alone, small ones together."""

from __future__ import annotations

from collections.abc import Iterable

from bulkmig.selection import Vessel

# Rough CSV bytes that an equipment brings with its parts and documents, and a vessel of its own. A unit that
# turns out larger is taken vessel by vessel, so only speed depends on these.
PER_EQUIPMENT = 1800
PER_VESSEL = 4096
MAX_TOGETHER = 64


def room(batch_bytes: int) -> int:
    """How much a unit of several vessels may be expected to hold: less than a batch, since it is a guess."""
    return batch_bytes * 7 // 8


def cut(
    vessels: Iterable[Vessel], batch_bytes: int, *, most_together: int = MAX_TOGETHER
) -> list[list[Vessel]]:
    """Units, largest first, so that no large vessel is left to the end."""
    most = room(batch_bytes)
    alone: list[list[Vessel]] = []
    together: list[list[Vessel]] = []
    size = most + 1
    for vessel in sorted(vessels, key=lambda vessel: (-vessel.equipment, vessel.id)):
        expected = PER_VESSEL + vessel.equipment * PER_EQUIPMENT
        if expected > most:
            alone.append([vessel])
        elif size + expected > most or len(together[-1]) >= min(most_together, MAX_TOGETHER):
            together.append([vessel])
            size = expected
        else:
            together[-1].append(vessel)
            size += expected
    return alone + together


def keys_bytes(vessels: Iterable[Vessel]) -> int:
    """What the equipment keys of vessels in flight take: 28 bytes each, twice while they are put in order."""
    return sum(vessel.equipment for vessel in vessels) * 64
