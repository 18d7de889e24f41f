"""A window that ends mid-fleet: vessels that are not expected to finish inside are not started."""

from __future__ import annotations

import msgspec
import pytest

from bulkmig import Settings
from bulkmig.generate import FleetSpec
from bulkmig.sqlite.address import is_file
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, migrated, settings
from tests.support.fleets import Fleets
from tests.sync.scene import ALL, THERE, gone_vessel

SPEC = FleetSpec(seed=4, vessels=3, companies=1, users_per_company=2, equipment=4)
CHANGE = "UPDATE equipment SET model = 'changed', updated_at = now()"
# What the ledger says that a vessel's last change took, and when that was: the first has waited longest.
HISTORY = (
    "UPDATE bulkmig.vessels SET seconds = {seconds}, finished_at = '2024-01-0{day}T00:00:00.000000Z'"
    " WHERE vessel_id = '{vessel}'"
)
CHANGED = (
    "SELECT count(*) > 0 FROM equipment e JOIN bulkmig.identities i ON i.target_id = e.vessel_id"
    " WHERE i.source_id = $1::text::uuid AND e.model = 'changed'"
)
HOUR = 3600.0


async def _prepared(fleets: Fleets, target: str, seconds: list[float]) -> tuple[Settings, list[str]]:
    """A migrated fleet of which every vessel has changed; and its vessels, the longest waiting first."""
    origin, config, _ = await migrated(fleets, SPEC, target, fresh=True, parallel_vessels=1)
    order = list(reversed(origin.approved[:3]))
    for day, (vessel, took) in enumerate(zip(order, seconds, strict=True), start=1):
        await execute(target, HISTORY.format(seconds=took, day=day, vessel=vessel))
    await execute(origin.url, CHANGE)
    return config, order


@pytest.mark.files_too
async def test_a_sync_starts_no_vessel_that_is_not_expected_to_finish_inside(
    fleets: Fleets, maintenance_url: str
) -> None:
    config, order = await _prepared(fleets, maintenance_url, [0.0, 2 * HOUR, 0.0])
    report = await sync(msgspec.structs.replace(config, window=HOUR), ALL)
    assert (report.status, report.exit_status) == ("stopped", 4)
    assert (report.done, report.failed, report.remaining) == (1, 0, 2)
    assert [await fetchval(maintenance_url, CHANGED, vessel) for vessel in order] == [True, False, False]
    if not is_file(maintenance_url):
        idle = (
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = $1"
        )
        assert await fetchval(maintenance_url, idle, maintenance_url.rpartition("/")[2]) == 0
    # The next window goes on with the vessels that waited longest.
    again = await sync(msgspec.structs.replace(config, window=4 * HOUR), ALL)
    assert (again.status, again.done, again.remaining) == ("completed", 3, 0)
    assert [await fetchval(maintenance_url, CHANGED, vessel) for vessel in order] == [True, True, True]


async def test_a_sync_whose_window_is_over_changes_no_vessel(fleets: Fleets, maintenance_url: str) -> None:
    config, order = await _prepared(fleets, maintenance_url, [0.0, 0.0, 0.0])
    report = await sync(msgspec.structs.replace(config, window=0.0), ALL)
    assert (report.status, report.exit_status, report.remaining) == ("stopped", 4, 3)
    assert not any([await fetchval(maintenance_url, CHANGED, vessel) for vessel in order])


async def test_a_window_that_ends_amid_vanished_vessels_leaves_the_rest_to_the_next(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin, config, _ = await migrated(
        fleets, SPEC, maintenance_url, fresh=True, parallel_vessels=1, allow_deletions=True
    )
    first, second, stays = sorted(origin.approved[:3])
    for vessel, seconds in ((first, 0.0), (second, 2 * HOUR)):
        await execute(maintenance_url, HISTORY.format(seconds=seconds, day=1, vessel=vessel))
        await gone_vessel(origin, vessel)
    report = await sync(msgspec.structs.replace(config, window=HOUR), ALL)
    assert (report.status, report.exit_status) == ("stopped", 4)
    assert (report.done, report.failed, report.remaining) == (2, 0, 1)
    assert [await fetchval(maintenance_url, THERE, vessel) for vessel in (first, second)] == [0, 1]
    again = await sync(msgspec.structs.replace(config, window=4 * HOUR), ALL)
    assert (again.status, again.remaining) == ("completed", 0)
    assert [await fetchval(maintenance_url, THERE, vessel) for vessel in (second, stays)] == [0, 1]


async def test_a_vessel_that_fails_before_the_window_ends_is_told_beside_those_that_remain(
    fleets: Fleets, maintenance_url: str
) -> None:
    config, order = await _prepared(fleets, maintenance_url, [0.0, 0.0, 2 * HOUR])
    failing, done, remaining = order
    await execute(config.source, "UPDATE equipment SET name = NULL WHERE vessel_id = $1::text::uuid", failing)
    strict = msgspec.structs.replace(config, on_error="fail", continue_on_error=True)
    report = await sync(msgspec.structs.replace(strict, window=HOUR), ALL)
    assert (report.status, report.exit_status) == ("stopped", 4)
    assert [failure.vessel_id for failure in report.failures] == [failing]
    assert (report.done, report.failed, report.remaining) == (1, 1, 1)
    # The next window begins with what failed, which has waited longest, and says so again.
    again = await sync(msgspec.structs.replace(strict, window=4 * HOUR), ALL)
    assert (again.status, again.exit_status, again.remaining) == ("completed_with_failures", 1, 0)
    assert [failure.vessel_id for failure in again.failures] == [failing]
    assert [await fetchval(maintenance_url, CHANGED, vessel) for vessel in (done, remaining)] == [True, True]


@pytest.mark.only_postgresql("tests/sqlite/test_portal_at_work.py has it for files")
async def test_a_dry_run_on_a_target_that_bulkmig_never_wrote_to_creates_nothing(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC, fresh=True)
    report = await sync(settings(origin, maintenance_url, dry_run=True), ALL)
    assert (report.status, report.failures, report.done) == ("completed", [], len(origin.approved))
    assert report.inserted["vessels"] == len(origin.approved)
    assert await fetchval(maintenance_url, "SELECT to_regnamespace('bulkmig') IS NULL")
    assert await fetchval(maintenance_url, "SELECT count(*) FROM companies") == 0
