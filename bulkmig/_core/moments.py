"""Dates and timestamps as PostgreSQL prints them in UTC, compared without a type that can't hold them all."""

from __future__ import annotations


def later(one: str, other: str) -> str:
    """The later of two: `infinity`, years BC and beyond 9999 included."""
    return max(one, other, key=_order)


def _order(text: str) -> tuple[int, int, str]:
    if text.endswith("infinity"):
        return (-1 if text.startswith("-") else 1, 0, "")
    year, _, rest = text.removesuffix(" BC").partition("-")
    # 44 BC comes before 43 BC, but within a year time goes forward all the same.
    number = -int(year) if text.endswith(" BC") else int(year)
    return (0, number, rest.removesuffix("+00"))
