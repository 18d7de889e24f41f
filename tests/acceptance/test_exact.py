"""Fleets full of traps, migrated under both modes: every cell, finding, quarantined row and loss is what the
second statement of the mapping (tests/oracle) says."""

from __future__ import annotations

from collections import Counter

import asyncpg
import pytest

from bulkmig import Report, Selection, Settings, migrate
from bulkmig.generate import FleetSpec, generate_fleet
from tests.oracle.compare import compare
from tests.oracle.expect import LOSSY, Expectation, expect
from tests.oracle.source import read_source
from tests.oracle.target import read_target


async def found(url: str) -> set[tuple[str, str, str, str, str]]:
    """The findings in the ledger."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT severity, code, entity, source_id::text, field FROM bulkmig.findings"
    )
    await connection.close()
    assert len(rows) == len(set(rows)), "a finding is recorded once"
    return {tuple(row) for row in rows}


async def quarantined(url: str) -> dict[tuple[str, str], str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT entity, source_id::text, code FROM bulkmig.quarantine")
    await connection.close()
    return {(row["entity"], row["source_id"]): row["code"] for row in rows}


def differences(
    expected: Expectation, report: Report, actual: set[tuple[str, str, str, str, str]]
) -> list[str]:
    """What of the findings, counts and losses is not as expected."""
    wanted = {(f.severity, f.code, f.entity, f.source_id, f.field) for f in expected.findings}
    lines = [f"finding missing: {finding}" for finding in sorted(wanted - actual)]
    lines += [f"finding not expected: {finding}" for finding in sorted(actual - wanted)]
    codes = Counter({code: n for code, n in report.lossiness.items() if code in LOSSY})
    if codes != expected.lossiness:
        lines.append(f"lossiness {codes - expected.lossiness} too much, {expected.lossiness - codes} missing")
    return lines


@pytest.mark.parametrize("on_error", ["fail", "quarantine"])
@pytest.mark.parametrize("seed", range(2))
async def test_a_fleet_of_traps_becomes_what_the_mapping_says(
    onboarding_url: str, maintenance_url: str, seed: int, on_error: str
) -> None:
    await generate_fleet(onboarding_url, FleetSpec(seed=seed, vessels=6, equipment=40, nasty=0.3))
    source, before = await read_source(onboarding_url), await read_target(maintenance_url)
    expected = expect(source, before, on_error=on_error)
    settings = Settings(
        source=onboarding_url, target=maintenance_url, on_error=on_error, continue_on_error=True
    )
    report = await migrate(settings, Selection(all=True))
    lines = differences(expected, report, await found(maintenance_url))
    kept_out = await quarantined(maintenance_url)
    lines += [f"not quarantined: {k} {c}" for k, c in expected.quarantined.items() if k not in kept_out]
    lines += [
        f"quarantined: {k} {c}" for k, c in kept_out.items() if c not in expected.quarantined.get(k, ())
    ]
    lines += await compare(expected, maintenance_url)
    assert lines == []
    assert report.verified.difference_count == 0
    assert {failure.vessel_id for failure in report.failures} == expected.failed_vessels
    assert report.stats == expected.stats
    assert report.pending == len(expected.pending)
