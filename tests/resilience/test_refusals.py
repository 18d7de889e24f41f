"""A target that refuses: the vessel fails and says why, the fleet goes on, nothing of it is there."""

from __future__ import annotations

import asyncpg
import pytest

from bulkmig import Report, Settings
from bulkmig.ledger import schema
from bulkmig.preflight import target_only
from tests.resilience.conftest import Migrate, figures
from tests.support.fleets import Origin

_RAISES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.original_id = '{equipment}' THEN RAISE EXCEPTION 'not this one' USING ERRCODE = '{state}'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse {when} ON equipment_metadata {deferred} FOR EACH ROW EXECUTE FUNCTION refuse();
"""
AT_ONCE = {"when": "BEFORE INSERT", "deferred": ""}


async def prepare(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def one(origin: Origin) -> tuple[str, str]:
    """An approved vessel with equipment in order, and a piece of that."""
    row = next(r for r in origin.rows.equipment if r["vessel_id"] in origin.approved)
    return row["vessel_id"] or "", row["id"] or ""


@pytest.mark.parametrize(
    ("state", "when"),
    [
        ("53100", AT_ONCE),
        ("25006", AT_ONCE),
        ("57014", AT_ONCE),
        ("P0001", AT_ONCE),
        ("23514", AT_ONCE),
        ("23505", AT_ONCE),
        ("40P01", AT_ONCE),  # also if it passes for an unlucky one: it ends after all attempts
        ("23514", {"when": "AFTER INSERT", "deferred": "DEFERRABLE INITIALLY DEFERRED"}),
    ],
)
async def test_the_vessel_fails_with_the_cause_and_the_others_are_migrated(
    state: str, when: dict[str, str], run: Migrate, origin: Origin, maintenance_url: str
) -> None:
    vessel, equipment = one(origin)
    sql = _RAISES.format(equipment=equipment, state=state, **when)
    if when["deferred"]:
        sql = sql.replace("CREATE TRIGGER", "CREATE CONSTRAINT TRIGGER")
    await prepare(maintenance_url, sql)
    report = await run(attempts=2)
    assert report.exit_status == 1
    (failure,) = report.failures
    assert (failure.vessel_id, failure.phase) == (vessel, "load")
    assert f"SQLSTATE {state}" in failure.error
    assert "not this one" not in failure.error or state != "P0001"
    assert (report.failed, report.remaining) == (1, 0)
    assert report.verified.difference_count == 0
    connection = await asyncpg.connect(maintenance_url)
    try:
        mark = await connection.fetchrow(
            "SELECT state, phase FROM bulkmig.vessels WHERE vessel_id = $1", vessel
        )
        assert tuple(mark or ()) == ("failed", "load")
        rows = await connection.fetchval("SELECT count(*) FROM bulkmig.base WHERE vessel_id = $1", vessel)
        assert rows == 0
    finally:
        await connection.close()


async def test_a_failure_that_cannot_even_be_recorded_is_reported(
    run: Migrate, origin: Origin, maintenance_url: str
) -> None:
    vessel, equipment = one(origin)
    await prepare(maintenance_url, _RAISES.format(equipment=equipment, state="53100", **AT_ONCE))
    async with target_only(Settings(target=maintenance_url), needs_ledger=False) as connection:
        await schema.upgrade(connection)
    await prepare(
        maintenance_url,
        """
        CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER disk_full BEFORE INSERT ON bulkmig.vessels FOR EACH ROW WHEN (NEW.state = 'failed')
        EXECUTE FUNCTION disk_full();
        """,
    )
    report = await run()
    (failure,) = report.failures
    assert failure.vessel_id == vessel
    assert failure.error.count("SQLSTATE 53100") == 2
    assert report.exit_status == 1


@pytest.mark.parametrize("memory", [1024 * 1024, 256 * 1024 * 1024], ids=["streaming", "together"])
async def test_what_passes_is_tried_again(
    memory: int, run: Migrate, origin: Origin, maintenance_url: str, undisturbed: Report
) -> None:
    _, equipment = one(origin)
    await prepare(
        maintenance_url,
        _RAISES.format(equipment=equipment, state="40P01", **AT_ONCE).replace(
            "THEN RAISE", "AND nextval('tries') < 3 THEN RAISE"
        )
        + "CREATE SEQUENCE tries",  # what a rollback doesn't take back
    )
    report = await run(memory=memory)
    assert figures(report) == figures(undisturbed)
