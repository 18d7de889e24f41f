"""Rows that belong to no vessel, because what they belong through doesn't exist: quarantined with `--all`."""

from __future__ import annotations

import polars as pl
from msgspec import Struct

from bulkmig._core.findings import finding
from bulkmig._core.frames import from_csv
from bulkmig.entities import PER_VESSEL
from bulkmig.postgres.session import Connection
from bulkmig.source import queries
from bulkmig.source.onboarding import read_all
from bulkmig.transform import quarantine


class Orphans(Struct, frozen=True):
    """Rows of one source table that belong nowhere; nothing else about them is looked at."""

    source: str
    findings: pl.DataFrame
    quarantined: pl.DataFrame


async def find(source: Connection) -> list[Orphans]:
    """Looks through every entity whose rows belong to a vessel through another's."""
    found = []
    for entity in PER_VESSEL:
        if entity.through is None:
            continue
        frame = from_csv(await read_all(source, queries.orphans(entity)), queries.columns(entity))
        if frame.height:
            rule = next(rule for rule in entity.rules if rule.field == entity.through[1])
            findings = finding(frame, entity.name, rule.severity, rule.code, rule.field, rule.message)
            quarantined = quarantine(entity, frame, findings.select("code", "message"))
            found.append(Orphans(entity.source, findings, quarantined))
    return found
