"""Dates and times as PostgreSQL writes them in UTC with ISO dates: order, arithmetic, to_jsonb's spelling."""

from __future__ import annotations

import datetime
import re

_MOMENT = re.compile(
    r"(?P<year>[0-9]{4,})-(?P<day>[0-9]{2}-[0-9]{2})"
    r"(?: (?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]+))?\+00)?"
    r"(?P<bc> BC)?"
)
_WRITTEN_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ][0-9]{2}:[0-9]{2}.*)?", re.DOTALL)

MomentKey = tuple[int, int, str, str, str]


def moment_key(text: str) -> MomentKey:
    """Sorts dates as dates and timestamps as timestamps, infinities and years BC included."""
    if text in {"infinity", "-infinity"}:
        return (-1 if text.startswith("-") else 1, 0, "", "", "")
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year = int(found["year"])
    if found["bc"]:
        year = 1 - year
    return (0, year, found["day"], found["time"] or "", (found["fraction"] or "").ljust(6, "0"))


def ordinary_date(text: str | None) -> datetime.date | None:
    """The date, None where there is none of the years 1 to 9999."""
    if text is None:
        return None
    found = _MOMENT.fullmatch(text)
    if found is None or found["bc"] or int(found["year"]) > datetime.MAXYEAR:
        return None
    return datetime.date.fromisoformat(f"{int(found['year']):04}-{found['day']}")


def written_date(text: str) -> datetime.date | None:
    """The date that a text begins with, where it is a real date, alone or followed by a time."""
    found = _WRITTEN_DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(group) for group in found.groups())
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


def days_later(date: datetime.date, days: int) -> datetime.date | None:
    """The date so many days on, None where that leaves the years 1 to 9999."""
    try:
        return date + datetime.timedelta(days=days)
    except OverflowError:
        return None


def as_to_jsonb(text: str) -> str:
    """The text of a timestamptz (or a date) as to_jsonb writes it in UTC."""
    return text.replace(" BC", "\0").replace(" ", "T").replace("+00", "+00:00").replace("\0", " BC")
