"""How long a run still takes: by the rows that its vessels are expected to bring, at the pace so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from bulkmig.events import Due
from bulkmig.pace import ROWS_PER_EQUIPMENT, ROWS_PER_VESSEL

# Seconds that comparing takes for each second that loading took; and how much that counts against what is
# measured, at the beginning.
VERIFYING = 1.0
PRIOR = 0.25


class Work:
    """Vessels, each with its weight, that one phase handles."""

    def __init__(self, weights: dict[str, int]) -> None:
        self.weights = weights
        self.total = sum(weights.values())
        self._behind: set[str] = set()
        self._under_way: set[str] = set()

    def start(self, vessel: str) -> None:
        self._under_way.add(vessel)

    def end(self, vessel: str) -> None:
        self._under_way.discard(vessel)
        self._behind.add(vessel)

    def again(self, vessel: str) -> None:
        self._behind.discard(vessel)

    @property
    def has_ended_any(self) -> bool:
        return bool(self._behind)

    @property
    def share(self) -> float:
        """How much is behind it, 0 to 1: only what has ended."""
        return self._of(self._behind)

    @property
    def likely(self) -> float:
        """The same with what is under way, half done on average."""
        return self.share + self._of(self._under_way) / 2

    def _of(self, vessels: set[str]) -> float:
        return sum(self.weights.get(v, 0) for v in vessels) / self.total if self.total else 0.0


class Estimate:
    """Work is counted in expected target rows, since vessels differ in size by a thousand."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.loading = Work({})
        self.comparing = Work({})
        self._verifies = False
        self._phase = ""
        self._since = clock()
        self._loaded_in = 0.0

    def expect(self, vessels: Iterable[Due], *, loads: bool, verifies: bool) -> None:
        """The vessels that are due."""
        weights = {v.id: ROWS_PER_VESSEL + v.equipment * ROWS_PER_EQUIPMENT for v in vessels}
        self.loading, self.comparing = Work(weights if loads else {}), Work(weights)
        self._verifies = verifies

    def enter(self, phase: str) -> None:
        """A phase of the run begins."""
        if self._phase == "vessels":
            self._loaded_in = self._clock() - self._since
        self._phase, self._since = phase, self._clock()

    @property
    def share(self) -> float:
        """How much of the whole run is behind it, 0 to 1."""
        if not self.loading.total:
            return self.comparing.share
        if not self._verifies:
            return self.loading.share
        return (self.loading.share + self.comparing.share * VERIFYING) / (1 + VERIFYING)

    @property
    def left(self) -> float | None:
        """Seconds until the end; None where nothing is known yet."""
        spent = self._clock() - self._since
        if self._phase == "vessels" and self.loading.has_ended_any:
            whole = spent / self.loading.likely
            return whole - spent + (whole * VERIFYING if self._verifies else 0.0)
        if self._phase == "verification":
            return self._left_to_compare(spent)
        return None

    def _left_to_compare(self, spent: float) -> float | None:
        behind = self.comparing.likely if self.comparing.has_ended_any else 0.0
        prior = PRIOR * (1 - behind) if self._loaded_in else 0.0
        if not behind + prior:
            return None
        measured = spent / behind if behind else 0.0
        whole = (prior * self._loaded_in * VERIFYING + behind * measured) / (prior + behind)
        return max(whole - spent, 0.0)
