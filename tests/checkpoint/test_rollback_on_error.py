"""`--rollback-on-error`: a vessel that fails its verification is as it was before the run, and has failed."""

from __future__ import annotations

import pytest

from bulkmig import Report, Selection, UsageError, migrate, rollback
from bulkmig.generate import FleetSpec, generate_portal
from tests.checkpoint.support import execute, fetchval, settings, state
from tests.support.dumps import apart, dump
from tests.support.fleets import Fleets, Origin

SPEC = FleetSpec(seed=12, vessels=5, equipment=12, companies=2, cross_references=6)
ALL = Selection(all=True)

of_triggers = pytest.mark.only_postgresql(
    "SQLite doesn't tell what a trigger wrote from what the portal did (decision 0015)"
)
# The target writes something else than it is given, for some equipment of one vessel.
TRIGGER = """
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.vessel_id IN (SELECT id FROM vessels WHERE name = '{name}') THEN
        NEW.{column} := '{value}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON equipment FOR EACH ROW EXECUTE FUNCTION meddle();
"""
ADDS = """
CREATE FUNCTION report() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO maintenance_logs (id, equipment_id, performed_by, performed_at, description)
    SELECT gen_random_uuid(), NEW.id, (SELECT id FROM users LIMIT 1), now(), 'put into service';
    RETURN NEW;
END $$;
CREATE TRIGGER report AFTER INSERT ON equipment FOR EACH ROW EXECUTE FUNCTION report();
"""


def meddling(origin: Origin, number: int, column: str = "name", value: str = "meddled with") -> str:
    return TRIGGER.format(name=name_of(origin, number).replace("'", "''"), column=column, value=value)


def name_of(origin: Origin, number: int) -> str:
    return next(str(v["name"]) for v in origin.rows.vessels if v["id"] == origin.approved[number])


async def migrated(origin: Origin, target: str, **others: object) -> Report:
    return await migrate(settings(origin, target, rollback_on_error=True, **others), ALL)


@of_triggers
@pytest.mark.parametrize("processes", [1, 2])
async def test_the_vessel_is_gone_and_has_failed_and_the_others_are_there(
    fleets: Fleets, maintenance_url: str, processes: int
) -> None:
    origin = await fleets(SPEC)
    await execute(maintenance_url, meddling(origin, 1))
    report = await migrated(origin, maintenance_url, processes=processes)
    (failure,) = report.failures
    assert (failure.vessel_id, failure.phase) == (origin.approved[1], "verify")
    assert "equipment" in failure.error
    assert "name" in failure.error
    assert (report.status, report.exit_status) == ("completed_with_failures", 1)
    assert (report.done, report.failed, report.remaining) == (len(origin.approved) - 1, 1, 0)
    rows = {table: len(lines.splitlines()) for table, lines in (await dump(maintenance_url)).items()}
    assert rows["vessels"] == report.done
    written = {table: n for table, n in report.inserted.items() if n}
    assert written == {table: rows[table] for table in written}
    assert rows["companies"] == 2
    assert report.pending == rows["bulkmig.pending"]
    mark = await fetchval(
        maintenance_url,
        "SELECT state || ' ' || phase FROM bulkmig.vessels WHERE vessel_id = $1::text::uuid",
        failure.vessel_id,
    )
    assert mark == "failed verify"
    # Once the cause is gone, the same command ends as if nothing had happened.
    await execute(maintenance_url, "DROP TRIGGER meddle ON equipment")
    again = await migrated(origin, maintenance_url)
    assert (again.status, again.done) == ("completed", 1)
    assert await fetchval(maintenance_url, "SELECT count(*) FROM bulkmig.pending") == 0


@of_triggers
async def test_without_the_option_it_stays_and_the_differences_are_reported(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    await execute(maintenance_url, meddling(origin, 1))
    report = await migrate(settings(origin, maintenance_url), ALL)
    assert (report.status, report.exit_status) == ("completed_with_failures", 1)
    assert (report.done, report.failed) == (len(origin.approved), 0)
    assert report.verified.difference_count > 0
    assert {d.field for d in report.verified.differences} == {"name"}


@of_triggers
async def test_so_it_is_with_more_differences_than_are_listed(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets(FleetSpec(seed=3, vessels=3, equipment=(400, 400, 10), parts=0, documents=0))
    await execute(
        maintenance_url,
        meddling(origin, 0)
        + meddling(origin, 1, "manufacturer").replace("meddle", "meddle2")
        + meddling(origin, 1, "model").replace("meddle", "meddle3"),
    )
    report = await migrated(origin, maintenance_url)
    assert {failure.vessel_id for failure in report.failures} == set(origin.approved[:2])
    assert report.done == 1
    assert await fetchval(maintenance_url, "SELECT count(*) FROM vessels") == 1


@of_triggers
async def test_an_adopted_vessel_is_the_portal_s_again(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets(SPEC)
    await generate_portal(maintenance_url, origin.url, origin.spec)
    await execute(
        maintenance_url,
        "CREATE TABLE kept AS SELECT name FROM vessels;"
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.name NOT IN (SELECT name FROM kept) THEN NEW.name := 'mine'; END IF; RETURN NEW;"
        " END $$; CREATE TRIGGER meddle BEFORE UPDATE ON vessels FOR EACH ROW EXECUTE FUNCTION meddle()",
    )
    before = await dump(maintenance_url, schema="public")
    report = await migrated(origin, maintenance_url)
    assert report.failures
    assert {failure.phase for failure in report.failures} == {"verify"}
    assert all(failure.error.endswith("name is not as expected") for failure in report.failures)
    taken_over = report.failed
    assert report.done == len(origin.approved) - taken_over
    assert await fetchval(maintenance_url, "SELECT count(*) FROM vessels WHERE name = 'mine'") == 0
    after = await state(maintenance_url)
    portal = "SELECT id::text FROM vessels WHERE substr(id::text, 15, 1) <> '8' LIMIT 1"
    id_ = (await fetchval(maintenance_url, portal)).encode()
    (old,) = [line for line in before["vessels"].splitlines() if line.startswith(id_)]
    assert old in after["vessels"].splitlines()


@of_triggers
async def test_rows_that_a_trigger_adds_go_with_the_vessel(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets(SPEC)
    await execute(maintenance_url, ADDS + meddling(origin, 0))
    report = await migrated(origin, maintenance_url)
    assert [failure.vessel_id for failure in report.failures] == [origin.approved[0]]
    assert "could not be rolled back" not in report.failures[0].error
    assert await fetchval(maintenance_url, "SELECT count(*) FROM vessels") == report.done


@of_triggers
async def test_it_can_be_rolled_forward_again(fleets: Fleets, maintenance_url: str) -> None:
    """What was taken back is kept in a checkpoint, like that of any rollback."""
    origin = await fleets(SPEC)
    await execute(maintenance_url, meddling(origin, 1))
    await migrated(origin, maintenance_url)
    own = await fetchval(
        maintenance_url, "SELECT id::text FROM bulkmig.checkpoints WHERE restored IS NOT NULL"
    )
    await execute(maintenance_url, "ALTER TABLE equipment DISABLE TRIGGER meddle")
    done = await rollback(settings(origin, maintenance_url), checkpoint=own)
    assert (done.status, done.failures) == ("completed", [])
    assert await fetchval(maintenance_url, "SELECT count(*) FROM vessels") == len(origin.approved)
    assert await fetchval(maintenance_url, "SELECT count(*) FROM equipment WHERE name = 'meddled with'") > 0


async def test_it_needs_the_verification(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets(SPEC)
    with pytest.raises(UsageError, match="--rollback-on-error needs the verification"):
        await migrated(origin, maintenance_url, verify=False)


async def test_nothing_is_rolled_back_where_nothing_differs(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets(SPEC)
    report = await migrated(origin, maintenance_url)
    assert (report.status, report.failures) == ("completed", [])
    other = await fetchval(
        maintenance_url, "SELECT count(*) FROM bulkmig.checkpoints WHERE restored IS NOT NULL"
    )
    assert other == 0
    assert apart(await state(maintenance_url), await state(maintenance_url)) == []
