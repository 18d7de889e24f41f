"""The course of a run: rows written and memory in use over time, in a bounded number of points."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from bulkmig.events import Event, Listener, Sampled, VesselDone, VesselUndone

MOST = 240  # points; where there would be more, every other one goes
LATE = 10.0  # seconds that count as of late
SILENT_SECONDS = 2.0  # a process that has said nothing for so long is gone


class Point(NamedTuple):
    """`seconds` since the run's start; rows in the target by then; bytes in flight and resident."""

    seconds: float
    rows: int
    in_flight: int
    resident: int


class Timeline:
    """Hears a run's events and keeps its course."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._apart = 0.0  # seconds between two points
        self._memory: dict[int, tuple[float, Sampled]] = {}  # by process: when, and what it said last
        self._rows: dict[str, int] = {}
        self.points: list[Point] = []
        self.rows = 0

    def hearing(self, listen: Listener) -> Listener:
        """A listener that keeps what it hears here, and passes it on."""

        def both(event: Event) -> None:
            self.hear(event)
            listen(event)

        return both

    def hear(self, event: Event) -> None:
        if isinstance(event, Sampled):
            now = self._clock()
            living = {p: said for p, said in self._memory.items() if now - said[0] < SILENT_SECONDS}
            self._memory = {**living, event.process: (now, event)}
            self._add()
        elif isinstance(event, VesselDone):
            self._count(event.vessel_id, event.rows)
        elif isinstance(event, VesselUndone):
            self._count(event.vessel_id, 0)

    @property
    def now(self) -> Point:
        """The point that would be added now."""
        memory = [sample for _, sample in self._memory.values()]
        return Point(
            round(self._clock() - self._began, 2),
            self.rows,
            sum(sample.in_flight for sample in memory),
            sum(sample.resident for sample in memory),
        )

    @property
    def bound(self) -> int:
        """The bound on bytes in flight, of all processes together."""
        return sum(sample.bound for _, sample in self._memory.values())

    def rate(self) -> float:
        """Rows a second, of late."""
        now, of_late = self.now, (p for p in reversed(self.points) if self.now.seconds - p.seconds >= LATE)
        since = next(of_late, Point(0, 0, 0, 0))
        return (now.rows - since.rows) / max(now.seconds - since.seconds, 0.1)

    def document(self) -> list[list[float]]:
        """For JSON: seconds, rows, bytes in flight, bytes resident, each."""
        return [list(point) for point in self.points]

    def _count(self, vessel: str, rows: int) -> None:
        self.rows += rows - self._rows.get(vessel, 0)
        self._rows[vessel] = rows

    def _add(self) -> None:
        point = self.now
        if self.points and point.seconds - self.points[-1].seconds < self._apart:
            return
        self.points.append(point)
        if len(self.points) > MOST:
            self.points = self.points[::2]
            self._apart = max(self._apart * 2, 1.0)
