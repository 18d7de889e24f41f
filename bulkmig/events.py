"""What the core tells whoever watches: plain facts. Logs and progress listen; nothing here does."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Event(msgspec.Struct, frozen=True, tag=True):
    """Base of all events."""


class RunStarted(Event, frozen=True):
    command: str
    run_id: str
    vessels: int
    skipped: int


class PhaseStarted(Event, frozen=True):
    """A phase of the whole run: companies and users, vessels, waiting rows, verification."""

    phase: str
    vessels: int = 0


class VesselDone(Event, frozen=True):
    """A vessel is committed. `rows`: target rows written, `seconds`: from its first row to its commit."""

    vessel_id: str
    name: str
    state: str
    rows: int
    seconds: float


class VesselFailed(Event, frozen=True):
    vessel_id: str
    name: str
    phase: str
    error: str


class VesselVerified(Event, frozen=True):
    vessel_id: str
    name: str
    differences: int


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """A listener that doesn't."""
