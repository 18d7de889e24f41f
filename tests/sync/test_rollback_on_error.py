"""`sync --rollback-on-error`: a vessel that differs is what it was before the sync, and has failed."""

from __future__ import annotations

import msgspec

from bulkmig import Settings
from bulkmig.generate import FleetSpec
from bulkmig.sqlite.address import is_file
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, state
from tests.checkpoint.test_rollback_on_error import name_of, of_triggers
from tests.support.dumps import apart
from tests.support.files import tamper
from tests.support.fleets import Origin
from tests.sync.scene import ALL, lasting

SPEC = FleetSpec(seed=12, vessels=3, companies=1, users_per_company=3, equipment=12)
RENAME = "UPDATE equipment SET {column} = 'changed', updated_at = now() WHERE vessel_id = $1::text::uuid"
# The target writes something else than it is given, where the source has changed.
MEDDLES = """
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.model = 'changed' AND NEW.vessel_id IN (SELECT id FROM vessels WHERE name = '{name}') THEN
        NEW.name := 'meddled with';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON equipment FOR EACH ROW EXECUTE FUNCTION meddle();
"""
CHANGED = (
    "SELECT count(*) FROM equipment e JOIN bulkmig.identities i ON i.target_id = e.vessel_id"
    " WHERE i.source_id = $1::text::uuid AND e.model = 'changed'"
)


@of_triggers
async def test_the_vessel_is_as_it_was_and_the_others_are_synced(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    wrong, right = origin.approved[:2]
    await execute(maintenance_url, MEDDLES.format(name=name_of(origin, 0)))
    await execute(origin.url, RENAME.format(column="model"), wrong)
    before = await state(maintenance_url)
    report = await sync(msgspec.structs.replace(config, rollback_on_error=True), ALL)
    (failure,) = report.failures
    assert (failure.vessel_id, failure.phase) == (wrong, "verify")
    assert "name is not as expected" in failure.error
    assert "could not be rolled back" not in failure.error
    assert (report.status, report.exit_status) == ("completed_with_failures", 1)
    assert (report.done, report.failed, report.remaining) == (len(origin.approved) - 1, 1, 0)
    assert report.updated["equipment"] == 0
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []
    # The others go on; this one waits until somebody migrates it again.
    await execute(origin.url, RENAME.format(column="model"), right)
    again = await sync(msgspec.structs.replace(config, rollback_on_error=True), ALL)
    assert (again.status, again.failures) == ("completed", [])
    assert await fetchval(maintenance_url, CHANGED, right) > 0
    assert await fetchval(maintenance_url, CHANGED, wrong) == 0


@of_triggers
async def test_vessels_that_changed_in_the_same_commit_go_back_with_it(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    wrong, other = origin.approved[:2]
    await execute(maintenance_url, MEDDLES.format(name=name_of(origin, 0)))
    await execute(
        origin.url,
        "UPDATE equipment SET location_id = NULL, vessel_id = $1::text::uuid, model = 'changed' WHERE id ="
        f" (SELECT id FROM equipment WHERE vessel_id = '{other}' ORDER BY id LIMIT 1)",
        wrong,
    )
    before = await state(maintenance_url)
    report = await sync(msgspec.structs.replace(config, rollback_on_error=True), ALL)
    assert {failure.vessel_id for failure in report.failures} == {wrong, other}
    assert any("changed in the same commit" in failure.error for failure in report.failures)
    assert (report.done, report.failed) == (len(origin.approved) - 2, 2)
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []


async def test_a_vessel_that_the_run_has_not_changed_stays_and_the_report_says_so(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    if is_file(maintenance_url):
        tamper(maintenance_url, "UPDATE critical_parts SET equipment_id = 0 WHERE id = 1")
    else:
        await execute(
            maintenance_url,
            "SET session_replication_role = replica;"
            " UPDATE critical_parts SET equipment_id = gen_random_uuid()"
            " WHERE id = (SELECT min(id::text)::uuid FROM critical_parts); RESET session_replication_role",
        )
    before = await state(maintenance_url)
    report = await sync(msgspec.structs.replace(config, rollback_on_error=True, full=True), ALL)
    (failure,) = report.failures
    assert "this run has changed nothing of it" in failure.error
    assert (report.status, report.exit_status) == ("completed_with_failures", 1)
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []
