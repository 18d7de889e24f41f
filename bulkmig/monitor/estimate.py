"""How long a run still takes: by the rows that its vessels are expected to bring, at the pace so far."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from bulkmig.events import Due
from bulkmig.pace import ROWS_PER_EQUIPMENT

# What a vessel takes by itself, in the time that so many rows take: a sync decides much about few rows.
EACH, EACH_OF_SYNC = 300, 2000
# The seconds that comparing takes for each second that loading took: a sync writes little, and one that looks
# at all rows compares all of them, too.
VERIFYING, VERIFYING_OF_SYNC, VERIFYING_OF_ALL = 0.6, 0.75, 1.4
ENOUGH = 0.05  # of the rows must be compared, before the pace says something
PRIOR = 0.25  # how much that counts against what is measured, at the beginning


class Work:
    """Vessels, each with its weight, that one phase handles."""

    def __init__(
        self, vessels: Iterable[Due] = (), each: int = EACH, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self.began: float | None = None  # before its first vessel a phase connects and starts processes
        self.weights = {v.id: each + v.equipment * ROWS_PER_EQUIPMENT for v in vessels}
        self.total = sum(self.weights.values())
        self._behind: set[str] = set()
        self._under_way: set[str] = set()

    def start(self, vessel: str) -> None:
        if self.began is None:
            self.began = self._clock()
        self._under_way.add(vessel)

    def end(self, vessel: str) -> None:
        self._under_way.discard(vessel)
        self._behind.add(vessel)

    def again(self, vessel: str) -> None:
        self._behind.discard(vessel)

    def leave_out(self, vessels: Iterable[str]) -> None:
        """There is nothing to do for these."""
        for vessel in vessels:
            self.total -= self.weights.pop(vessel, 0)

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
        self.loading, self.comparing = Work(), Work()
        self._verifying = 0.0  # 0 where nothing is compared after it was loaded
        self._phase = ""
        self._since = clock()
        self._spent: defaultdict[str, float] = defaultdict(float)  # seconds, up to this phase

    def expect(self, vessels: Sequence[Due], command: str, *, verifies: bool, full: bool) -> None:
        """The vessels that are due; see `RunStarted`."""
        syncs = full or command == "sync"
        self.loading = Work(
            vessels if command != "verify" else (), EACH_OF_SYNC if syncs else EACH, self._clock
        )
        self.comparing = Work(vessels, clock=self._clock)
        verifying = VERIFYING_OF_ALL if full else VERIFYING_OF_SYNC if syncs else VERIFYING
        self._verifying = verifying if verifies else 0.0

    def leave_out(self, vessels: Sequence[str]) -> None:
        """There is nothing to do for these."""
        self.loading.leave_out(vessels)
        self.comparing.leave_out(vessels)

    def enter(self, phase: str) -> None:
        """A phase of the run begins, or goes on."""
        self._spent[self._phase] += self._clock() - self._since
        self._phase, self._since = phase, self._clock()

    @property
    def share(self) -> float:
        """How much of the whole run is behind it, 0 to 1."""
        if not self.loading.total:
            return self.comparing.share
        return (self.loading.share + self.comparing.share * self._verifying) / (1 + self._verifying)

    @property
    def left(self) -> float | None:
        """Seconds until the end; None where nothing is known yet."""
        spent = self._spent[self._phase] + self._clock() - self._since
        loaded_in = self._spent["vessels"]
        if self._phase == "vessels" and self.loading.share:
            whole = spent / self.loading.likely
            return whole - spent + whole * self._verifying
        if self._phase == "verification":
            return self._left_to_compare(spent, loaded_in * self._verifying)
        if loaded_in:  # between the two, or after both
            return max(loaded_in * self._verifying - self._spent["verification"], 0.0)
        return None

    def _left_to_compare(self, spent: float, expected: float) -> float | None:
        """By the pace so far, and at the beginning by what loading took."""
        if self.comparing.began is not None:
            spent = min(spent, self._clock() - self.comparing.began)
        behind = self.comparing.likely if self.comparing.share > ENOUGH else 0.0
        prior = PRIOR * (1 - behind) if expected else 0.0
        if not behind + prior:
            return None
        measured = spent / behind if behind else 0.0
        whole = (prior * expected + behind * measured) / (prior + behind)
        return max(whole - spent, 0.0)
