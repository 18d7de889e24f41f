"""The board: what is known of a run while it is at work, made of the events that it emits.

Events come from the run's thread, whoever shows the board reads it from another one. What counts as done here
is committed: the event says so, and is taken back by `VesselUndone`.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from threading import Lock

from msgspec import Struct, field

from bulkmig.events import (
    Event,
    FleetListed,
    PhaseStarted,
    Retrying,
    RunEnded,
    RunStarted,
    VesselDone,
    VesselFailed,
    VesselReached,
    VesselStarted,
    VesselsUnchanged,
    VesselUndone,
    VesselVerified,
)
from bulkmig.monitor.estimate import Estimate
from bulkmig.timeline import Timeline

RECENT = 10  # errors that are kept


class Seen(Struct):
    """A vessel on the board. `state`: waiting, running, migrated, quarantined, unchanged, skipped or failed;
    `phase`: what is done with it now, or the last that was."""

    id: str
    name: str = ""
    imo_number: str | None = None
    equipment: int = 0
    state: str = "waiting"
    phase: str = ""
    rows: int = 0
    seconds: float = 0.0
    error: str = ""
    differences: int | None = None
    active: bool = False
    since: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)  # seconds a phase


class Trouble(Struct, frozen=True):
    """A failure or a retry. `kind`: the phase that failed, or `retry`."""

    at: float
    kind: str
    what: str
    cause: str


class Board:
    """Hears a run. `began` and `ended` are seconds of the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.lock = Lock()
        self.command = self.run_id = self.status = self.phase = ""
        self.began = clock()
        self.ended = 0.0
        self.skipped = 0
        self.verifies = self.full = False
        self.vessels: dict[str, Seen] = {}
        self.counts: Counter[str] = Counter()
        self.verified = 0
        self.differences = 0
        self.warnings = 0
        self.quarantined = 0
        self.retries = 0
        self.troubles: deque[Trouble] = deque(maxlen=RECENT)
        self.trouble_kinds: Counter[str] = Counter()
        self.timeline = Timeline(clock)
        self.estimate = Estimate(clock)

    @property
    def rows(self) -> int:
        return self.timeline.rows

    @property
    def bound(self) -> int:
        return self.timeline.bound

    @property
    def active(self) -> list[Seen]:
        """The vessels under way, the longest first."""
        return sorted((v for v in self.vessels.values() if v.active), key=lambda v: (v.since, v.id))

    @property
    def seconds(self) -> float:
        """How long the run has taken so far, or took."""
        return (self.ended or self._clock()) - self.began

    @property
    def average_seconds(self) -> float:
        """How long a migrated vessel took, on average."""
        done = [v.seconds for v in self.vessels.values() if v.state == "migrated"]
        return sum(done) / len(done) if done else 0.0

    def hear(self, event: Event) -> None:
        """Takes an event in."""
        with self.lock:
            self.timeline.hear(event)
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.command, self.run_id, self.status = event.command, event.run_id, "running"
                self.began, self.skipped, self.verifies = self._clock(), event.skipped, event.verifies
                self.full = event.full
            case FleetListed():
                for due in event.vessels:
                    self.vessels[due.id] = Seen(due.id, due.name, due.imo_number, due.equipment)
                self.counts["waiting"] = len(event.vessels)
                self.estimate.expect(event.vessels, self.command, verifies=self.verifies, full=self.full)
            case PhaseStarted():
                self.phase = event.phase
                self.estimate.enter(event.phase)
            case VesselsUnchanged():
                for vessel in event.vessels:
                    self._rest(vessel, "", "unchanged")
                self.estimate.leave_out(event.vessels)
            case VesselStarted():
                self._work(event.vessel_id, event.name, "extract", state="running")
                self.estimate.loading.start(event.vessel_id)
            case VesselReached():
                compares = event.phase == "verify"
                self._work(event.vessel_id, event.name, event.phase, state=None if compares else "running")
                if compares:
                    self.estimate.comparing.start(event.vessel_id)
            case VesselDone():
                seen = self._rest(event.vessel_id, event.name, event.state)
                seen.rows, seen.seconds, seen.error = event.rows, event.seconds, ""
                self.warnings += event.warnings
                self.quarantined += event.quarantined
                self.estimate.loading.end(event.vessel_id)
            case VesselFailed():
                seen = self._rest(event.vessel_id, event.name, "failed")
                seen.error, seen.phase = event.error, event.phase
                self.estimate.loading.end(event.vessel_id)
                self.estimate.comparing.end(event.vessel_id)
                self._trouble(event.phase, event.name or event.vessel_id, event.error)
            case VesselUndone():
                self._rest(event.vessel_id, event.name, "waiting").rows = 0
                self.estimate.loading.again(event.vessel_id)
            case VesselVerified():
                seen = self._rest(event.vessel_id, event.name, None)
                seen.differences = event.differences
                self.verified += 1
                self.differences += event.differences
                self.estimate.comparing.end(event.vessel_id)
            case Retrying():
                self.retries += 1
                self._trouble("retry", event.what, event.cause)
            case RunEnded():
                self.status, self.ended = event.status, self._clock()

    def _work(self, vessel: str, name: str, phase: str, *, state: str | None) -> None:
        seen = self._move(vessel, name, state)
        self._leave_phase(seen)
        seen.active, seen.phase, seen.since = True, phase, self._clock()

    def _rest(self, vessel: str, name: str, state: str | None) -> Seen:
        seen = self._move(vessel, name, state)
        self._leave_phase(seen)
        seen.active = False
        return seen

    def _leave_phase(self, seen: Seen) -> None:
        if seen.active:
            seen.spent[seen.phase] = seen.spent.get(seen.phase, 0.0) + self._clock() - seen.since

    def _move(self, vessel: str, name: str, state: str | None) -> Seen:
        seen = self.vessels.get(vessel)
        if seen is None:  # of a command that lists no fleet
            seen = self.vessels[vessel] = Seen(vessel)
            self.counts[seen.state] += 1
        seen.name = name or seen.name
        if state is not None:
            self.counts[seen.state] -= 1
            self.counts[state] += 1
            seen.state = state
        return seen

    def _trouble(self, kind: str, what: str, cause: str) -> None:
        self.trouble_kinds[kind] += 1
        self.troubles.append(Trouble(self._clock(), kind, what, cause))
