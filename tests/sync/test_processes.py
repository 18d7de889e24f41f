"""A sync over several processes ends where one process ends, and stops where one stops."""

from __future__ import annotations

import asyncpg
import msgspec
import pytest

from bulkmig.events import Event, VesselStarted
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, migrated, settings
from tests.support.dumps import apart, dump
from tests.support.fleets import Fleets
from tests.support.servers import Databases
from tests.sync.scene import ALL, THERE, gone_vessel

SPEC = FleetSpec(seed=14, vessels=8, companies=2, users_per_company=3, equipment=6, approved=0.75)
# Of every kind: rows, a place above many, a user, a row that turns erroneous, one that goes, one that moves
# to another vessel; and vessels that are new.
CHANGES = """
UPDATE equipment SET name = name || ' 2', updated_at = now();
UPDATE locations SET name = name || ' 2' WHERE id IN (SELECT id FROM locations ORDER BY id LIMIT 3);
UPDATE users SET first_name = 'Another' WHERE id IN (SELECT id FROM users ORDER BY id LIMIT 2);
UPDATE equipment SET name = NULL WHERE id = (SELECT id FROM equipment ORDER BY id DESC LIMIT 1);
DELETE FROM documents WHERE id = (SELECT id FROM documents ORDER BY id LIMIT 1);
UPDATE equipment SET vessel_id = (SELECT max(id::text)::uuid FROM vessels), location_id = NULL
 WHERE id = (SELECT id FROM equipment WHERE vessel_id = (SELECT min(id::text)::uuid FROM vessels)
              ORDER BY id LIMIT 1);
UPDATE vessels SET onboarding_status = 'APPROVED';
"""
# Somebody at work in the portal: these are conflicts.
PORTAL = (
    "UPDATE equipment SET name = 'the portal''s' WHERE id IN (SELECT id FROM equipment ORDER BY id LIMIT 5)"
)
LEDGER = (
    "SELECT entity, source_id, vessel_id, kind, status FROM bulkmig.conflicts ORDER BY 1, 2",
    "SELECT entity, source_id, vessel_id, code FROM bulkmig.quarantine ORDER BY 1, 2",
    "SELECT entity, source_id, vessel_id FROM bulkmig.pending ORDER BY 1, 2",
    "SELECT entity, source_id, vessel_id, reason FROM bulkmig.retained ORDER BY 1, 2",
    "SELECT vessel_id, state FROM bulkmig.vessels ORDER BY 1",
)


async def _ledger(target: str) -> list[list[tuple[object, ...]]]:
    connection = await asyncpg.connect(target)
    try:
        return [[tuple(row) for row in await connection.fetch(query)] for query in LEDGER]
    finally:
        await connection.close()


@pytest.mark.only_postgresql("a file has one writer, and one process")
@pytest.mark.parametrize("window", [None, pytest.param(3600.0, marks=pytest.mark.long)])
async def test_a_sync_over_processes_ends_where_one_process_ends(
    fleets: Fleets, databases: Databases, window: float | None
) -> None:
    """Target, ledger and report; within a window, where each vessel starts for itself, too."""
    origin = await fleets.changing(SPEC)
    one, two = databases("maintenance"), databases("maintenance")
    configs = [settings(origin, target, conflict="manual", window=window) for target in (one, two)]
    for config, target in zip(configs, (one, two), strict=True):
        await fleets.migrate(origin, config)
        await execute(target, PORTAL)
    await execute(origin.url, CHANGES)
    alone = await sync(configs[0], ALL)
    report = await sync(msgspec.structs.replace(configs[1], processes=2), ALL)
    assert apart(await dump(one, schema="public"), await dump(two, schema="public")) == []
    assert await _ledger(one) == await _ledger(two)
    assert report.conflicts["open"] > 0
    documents = [one.document() for one in (alone, report)]
    for key in ("status", "vessels", "rows", "findings", "quarantined", "pending", "conflicts", "failures"):
        assert documents[0][key] == documents[1][key], key


@pytest.mark.parametrize(
    "processes", [1, pytest.param(2, marks=[pytest.mark.only_postgresql("one writer"), pytest.mark.long])]
)
async def test_after_a_failure_no_new_vessel_is_started(
    fleets: Fleets, maintenance_url: str, processes: int
) -> None:
    """Without --continue-on-error: neither one that the target hasn't got yet, nor is one deleted."""
    origin, config, _ = await migrated(
        fleets, SPEC, maintenance_url, fresh=True, processes=processes, parallel_vessels=1
    )
    gone, failing, *others = sorted(origin.approved)
    new = await fetchval(
        origin.url, "SELECT id::text FROM vessels WHERE onboarding_status <> 'APPROVED' LIMIT 1"
    )
    await execute(
        origin.url, "UPDATE vessels SET onboarding_status = 'APPROVED' WHERE id = $1::text::uuid", new
    )
    await execute(origin.url, "UPDATE equipment SET name = NULL WHERE vessel_id = $1::text::uuid", failing)
    await gone_vessel(origin, gone)
    started: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, VesselStarted):
            started.append(event.vessel_id)

    strict = msgspec.structs.replace(config, on_error="fail", continue_on_error=False, allow_deletions=True)
    report = await sync(strict, ALL, listen=listen)
    assert (report.exit_status, [one.vessel_id for one in report.failures]) == (1, [failing])
    assert (report.done, report.failed, report.remaining) == (len(others), 1, 2)
    assert new not in started
    assert await fetchval(maintenance_url, THERE, new) == 0
    assert await fetchval(maintenance_url, THERE, gone) == 1
    await execute(origin.url, "UPDATE equipment SET name = 'again' WHERE name IS NULL")
    again = await sync(strict, ALL)
    assert (again.exit_status, again.remaining, again.error) == (0, 0, "")
    assert await fetchval(maintenance_url, THERE, new) == 1
    assert await fetchval(maintenance_url, THERE, gone) == 0
