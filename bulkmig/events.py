"""What the core tells whoever watches: plain facts. Logs and progress listen; nothing here does."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Event(msgspec.Struct, frozen=True, tag=True):
    """Base of all events."""


class RunStarted(Event, frozen=True):
    """`vessels`: how many are due, besides those `skipped`. `verifies`: what is written is compared at the
    end; `full`: all rows of what was migrated before are looked at, changed or not."""

    command: str
    run_id: str
    vessels: int
    skipped: int
    verifies: bool = False
    full: bool = False


class RunEnded(Event, frozen=True):
    command: str
    run_id: str
    status: str


class Due(msgspec.Struct, frozen=True):
    """A vessel that a run is to handle."""

    id: str
    name: str
    imo_number: str | None
    equipment: int


class FleetListed(Event, frozen=True):
    """The vessels that are due, once, before the first of them."""

    vessels: tuple[Due, ...]


class VesselsUnchanged(Event, frozen=True):
    """Vessels of a sync in which nothing can have changed: they are up to date, and nothing is done with
    them."""

    vessels: tuple[str, ...]


class PhaseStarted(Event, frozen=True):
    """A phase of the whole run: companies and users, changes (of a sync: which vessels have any), vessels,
    waiting rows, verification, rollback. `vessels` may come more than once."""

    phase: str
    vessels: int = 0


class VesselStarted(Event, frozen=True):
    """A vessel's rows begin to be read; again where it is tried again."""

    vessel_id: str
    name: str


class VesselReached(Event, frozen=True):
    """A vessel under way has come to a phase: load, commit or verify."""

    vessel_id: str
    name: str
    phase: str


class VesselDone(Event, frozen=True):
    """A vessel is committed. `rows`: target rows written, `seconds`: from its first row to its commit."""

    vessel_id: str
    name: str
    state: str
    rows: int
    seconds: float
    warnings: int = 0
    quarantined: int = 0


class VesselUndone(Event, frozen=True):
    """The target has crashed before this vessel's commit was on disk: it is not done."""

    vessel_id: str
    name: str


class VesselFailed(Event, frozen=True):
    vessel_id: str
    name: str
    phase: str
    error: str


class Unencrypted(Event, frozen=True):
    """There is no key: what the ledger keeps of rows lies in the clear."""

    hint: str = "see --key-file"


class Retrying(Event, frozen=True):
    """What failed may pass by itself, and is tried again. `attempt`: the number of the one that failed."""

    what: str
    attempt: int
    cause: str


class QueueMoved(Event, frozen=True):
    """Of a run that other machines work on: jobs that wait, jobs at work, and workers that show signs of
    life."""

    waiting: int
    at_work: int
    workers: int


class VesselVerified(Event, frozen=True):
    vessel_id: str
    name: str
    differences: int


class Sampled(Event, frozen=True):
    """The memory of a process of the run, twice a second while vessels are under way: bytes of rows in
    flight, their bound, and all that the process takes."""

    process: int
    in_flight: int
    bound: int
    resident: int


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """A listener that doesn't."""
