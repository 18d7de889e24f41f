"""The QR codes of the whole fleet."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import NamedTuple

from tests.oracle.draft import World
from tests.oracle.source import SourceRow, identity, required

SHORTEST = 6
STEP = 2


class QrCode(NamedTuple):
    """The code that an equipment gets, and whether it had to be longer than others."""

    text: str
    collided: bool


def code_with(equipment: SourceRow, length: int) -> str:
    """The QR code with so many digits of the hash."""
    return f"{equipment['code'] or 'EQ'}-{hashlib.sha256(identity(equipment).encode()).hexdigest()[:length]}"


def qr_codes(world: World) -> dict[str, QrCode]:
    """The QR code of every equipment of the source."""
    held = {required(row, "qr_code") for row in world.target.tables["equipment"]}
    groups: dict[str, list[SourceRow]] = defaultdict(list)
    for equipment in world.source.equipment:
        groups[code_with(equipment, SHORTEST)].append(equipment)
    given: dict[str, QrCode] = {}
    for group in groups.values():
        length = SHORTEST
        codes = [code_with(equipment, length) for equipment in group]
        while len(set(codes)) < len(group) or held.intersection(codes):
            length += STEP
            codes = [code_with(equipment, length) for equipment in group]
        for equipment, code in zip(group, codes, strict=True):
            given[identity(equipment)] = QrCode(code, collided=length > SHORTEST)
    return given
