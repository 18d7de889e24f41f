"""Moments and ids in order: no two alike."""

from __future__ import annotations

import datetime

START = datetime.datetime(2024, 5, 1, 12, 0, tzinfo=datetime.UTC)


class Clock:
    """Each moment is a minute after the one before, each id one higher."""

    def __init__(self) -> None:
        self.ticks = 0

    def moment(self) -> str:
        """The next moment, as PostgreSQL writes it."""
        self.ticks += 1
        return f"{START + datetime.timedelta(minutes=self.ticks):%Y-%m-%d %H:%M:%S}+00"

    def id(self, kind: int) -> str:
        """An id that no row has."""
        self.ticks += 1
        return f"{kind:08d}-0000-4000-8000-{self.ticks:012d}"

    def word(self, stem: str) -> str:
        """A text that nobody else has."""
        self.ticks += 1
        return f"{stem} {self.ticks}"
