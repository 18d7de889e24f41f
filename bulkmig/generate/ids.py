"""Identifiers, all from the seed: UUIDs in batches, and IMO numbers with their check digits."""

from __future__ import annotations

from random import Random

_VERSION_4 = bytes(0x40 | byte & 0x0F for byte in range(256))
_VARIANT = bytes(0x80 | byte & 0x3F for byte in range(256))
_IMO_FIRST, _IMO_COUNT = 100_000, 900_000
_IMO_STRIDE = 389_171  # has no factor in common with _IMO_COUNT, so every number comes up before one repeats


def uuids(rng: Random, count: int) -> list[str]:
    """Random UUIDs (version 4) in their canonical form."""
    raw = bytearray(rng.randbytes(16 * count))
    raw[6::16] = raw[6::16].translate(_VERSION_4)
    raw[8::16] = raw[8::16].translate(_VARIANT)
    h = raw.hex()
    return [
        f"{h[i : i + 8]}-{h[i + 8 : i + 12]}-{h[i + 12 : i + 16]}-{h[i + 16 : i + 20]}-{h[i + 20 : i + 32]}"
        for i in range(0, 32 * count, 32)
    ]


def uuid(rng: Random) -> str:
    """One random UUID."""
    return uuids(rng, 1)[0]


class ImoNumbers:
    """A fleet's IMO numbers, none of them twice."""

    def __init__(self, seed: int) -> None:
        self._next = Random(f"{seed}/imo").randrange(_IMO_COUNT)

    def take(self) -> str:
        """The next number."""
        digits = str(_IMO_FIRST + self._next)
        self._next = (self._next + _IMO_STRIDE) % _IMO_COUNT
        return digits + imo_check_digit(digits)


def imo_check_digit(digits: str) -> str:
    """The seventh digit that belongs to the first six."""
    return str(sum(int(digit) * weight for digit, weight in zip(digits, range(7, 1, -1), strict=True)) % 10)
