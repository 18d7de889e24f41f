"""Vessels that can't be read, in commands that only look: such a one fails alone, as it would in a
migration."""

from __future__ import annotations

import asyncpg

from bulkmig.errors import VesselError
from bulkmig.events import Listener, VesselFailed
from bulkmig.postgres.errors import describe
from bulkmig.report import Failure, Report
from bulkmig.selection import Vessel

Unreadable = (asyncpg.PostgresError, asyncpg.InterfaceError, VesselError)


def record(vessel: Vessel, error: Exception, report: Report, listen: Listener) -> None:
    """Counts the vessel as failed, and says why. `error`: one of `Unreadable`."""
    phase = error.phase if isinstance(error, VesselError) else "extract"
    why = str(error) if isinstance(error, VesselError) else describe(error)
    report.failed += 1
    report.failures.append(Failure(vessel.id, vessel.name, vessel.imo_number, phase, why))
    listen(VesselFailed(vessel.id, vessel.name, phase, why))
