"""Rows that belong to no vessel, because what they belong through doesn't exist: quarantined with `--all`."""

from __future__ import annotations

from bulkmig._core.frames import from_csv
from bulkmig._core.unit import Decisions, Unit
from bulkmig.entities import PER_VESSEL
from bulkmig.postgres.session import Connection
from bulkmig.source import queries
from bulkmig.source.onboarding import read_all
from bulkmig.transform import Outcome, transform


async def find(source: Connection, decisions: Decisions) -> list[Outcome]:
    """What becomes of such rows: findings and quarantine, never an image."""
    outcomes = []
    for entity in PER_VESSEL:
        if entity.through is None:
            continue
        frame = from_csv(await read_all(source, queries.orphans(entity)), queries.columns(entity))
        if frame.height:
            outcomes.append(transform(entity, frame, Unit(decisions, ())))
    return outcomes
