"""Dates and timestamps as PostgreSQL prints them in UTC, and as a portal on SQLite writes them, compared
without a type that can't hold them all."""

from __future__ import annotations

import re

# 2024-05-01, 2024-05-01 07:30:00.12+00, 20000-01-01 00:00:00+00, 0044-03-15 BC; of a portal on SQLite
# 2024-05-01T07:30:00.120Z, with as many digits as it likes.
_WRITTEN = re.compile(
    r"([0-9]{4,})-([0-9]{2}-[0-9]{2})(?:[ T]([0-9:]+)(?:\.([0-9]+))?)?(?:Z|\+00(?::00)?)?( BC)?"
)


def later(one: str, other: str) -> str:
    """The later of two: `infinity`, years BC and beyond 9999 included. What is no moment, which SQLite
    lets in, gives way to one."""
    return max(one, other, key=_order)


def _order(text: str) -> tuple[int, int, str, str, str]:
    if text in ("infinity", "-infinity"):
        return (-1 if text.startswith("-") else 1, 0, "", "", "")
    written = _WRITTEN.fullmatch(text)
    if written is None:
        return (-2, 0, "", "", "")
    year, day, time, fraction, era = written.groups(default="")
    # 44 BC comes before 43 BC, but within a year time goes forward all the same.
    return (0, -int(year) if era else int(year), day, time, fraction.rstrip("0"))
