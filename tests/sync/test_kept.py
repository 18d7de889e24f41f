"""A row that can't follow the source keeps what was last written, fails nothing, and follows when it can."""

from __future__ import annotations

from uuid import uuid4

import msgspec
import pytest

from bulkmig import Settings, migrate, validate, verify
from bulkmig.generate import FleetSpec
from bulkmig.retry.run import retry
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, rows, settings, state
from tests.checkpoint.test_rollback import of_the_portal
from tests.support.dumps import apart
from tests.support.fleets import Origin
from tests.sync.scene import ALL

SPEC = FleetSpec(seed=5, vessels=2, companies=1, users_per_company=3, equipment=14)


async def test_a_loaded_row_that_turns_erroneous_keeps_what_was_last_written_until_it_is_right_again(
    origin: Origin, config: Settings
) -> None:
    source_id = await fetchval(
        origin.url,
        "SELECT e.id::text FROM equipment e JOIN critical_parts p ON p.equipment_id = e.id"
        " JOIN documents d ON d.equipment_id = e.id ORDER BY e.id LIMIT 1",
    )
    before = await state(config.target)
    name = await fetchval(origin.url, f"SELECT name FROM equipment WHERE id = '{source_id}'")
    await execute(origin.url, f"UPDATE equipment SET name = ' ' WHERE id = '{source_id}'")
    report = await sync(config, ALL)
    assert (report.status, report.verified.differences) == ("completed", [])
    assert report.quarantined["equipment"] == 1
    assert apart(of_the_portal(before), of_the_portal(await state(config.target))) == []
    assert (await verify(config, ALL)).verified.difference_count == 0
    await execute(origin.url, f"UPDATE equipment SET name = $1 || '!' WHERE id = '{source_id}'", name)
    report = await sync(config, ALL)
    assert (report.updated["equipment"], report.verified.differences) == (1, [])
    assert (
        await fetchval(config.target, "SELECT count(*) FROM bulkmig.quarantine WHERE entity = 'equipment'")
        == 0
    )


async def test_a_row_on_equipment_that_the_portal_deleted_has_nowhere_to_go_and_fails_nothing(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    equipment = await fetchval(origin.url, "SELECT min(equipment_id::text) FROM critical_parts")
    await execute(
        maintenance_url,
        "DELETE FROM equipment WHERE id IN"
        f" (SELECT equipment_id FROM equipment_metadata WHERE original_id = '{equipment}')",
    )
    await execute(
        origin.url,
        "UPDATE critical_parts SET current_stock = 55, updated_at = now()"
        f" WHERE equipment_id = '{equipment}'; INSERT INTO critical_parts"
        " (id, equipment_id, name, created_at, updated_at)"
        f" VALUES (gen_random_uuid(), '{equipment}', 'new', now(), now())",
    )
    report = await sync(config, ALL)
    assert (report.status, report.failures, report.inserted["critical_parts"]) == ("completed", [], 0)
    assert report.conflicts["source_wins"] > 0


async def test_a_row_that_comes_to_name_equipment_that_the_portal_has_deleted_keeps_what_was_written(
    origin: Origin, config: Settings
) -> None:
    """The vessel's other rows flow on, and the row follows when the equipment is there again."""
    score = await fetchval(
        origin.url, "SELECT min(id::text) FROM quality_scores WHERE equipment_id IS NOT NULL"
    )
    away = await fetchval(
        origin.url,
        "SELECT min(e.id::text) FROM equipment e JOIN quality_scores s USING (vessel_id)"
        " WHERE s.id = $1::text::uuid AND e.id <> s.equipment_id",
        score,
    )
    of_score = " WHERE id = $1::text::uuid"
    on = (
        "SELECT m.original_id::text FROM quality_scores s JOIN equipment_metadata m USING (equipment_id)"
        " WHERE s.category = 'this'"
    )
    await execute(origin.url, "UPDATE quality_scores SET category = 'this'" + of_score, score)
    await sync(config, ALL)
    before = await fetchval(config.target, on)
    await execute(
        config.target,
        "DELETE FROM equipment WHERE id ="
        " (SELECT equipment_id FROM equipment_metadata WHERE original_id = $1::text::uuid)",
        away,
    )
    await execute(origin.url, f"UPDATE quality_scores SET equipment_id = '{away}'::uuid" + of_score, score)
    await execute(origin.url, "UPDATE vessels SET flag = 'XX'")
    report = await sync(config, ALL)
    assert (report.exit_status, report.failures, report.updated["vessel_details"]) == (0, [], 2)
    assert before != away
    assert await fetchval(config.target, on) == before
    assert (await verify(config, ALL)).verified.difference_count == 0
    again = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0
    await execute(origin.url, "UPDATE equipment SET name = 'anew'" + of_score, away)
    report = await sync(config, ALL)
    assert (report.exit_status, report.failures) == (0, [])
    assert await fetchval(config.target, on) == away
    assert (await verify(config, ALL)).verified.difference_count == 0


async def test_a_reference_that_went_with_equipment_comes_back_in_the_sync_that_brings_it_back(
    origin: Origin, maintenance_url: str
) -> None:
    """Of another vessel, and in whichever order the two are looked at."""
    config = settings(origin, maintenance_url)
    one, other = await rows(origin.url, "SELECT min(id::text) FROM equipment GROUP BY vessel_id ORDER BY 1")
    await execute(
        origin.url,
        "INSERT INTO cross_references"
        " (id, vessel_id, source_equipment_id, target_equipment_id, reference_type)"
        f" SELECT gen_random_uuid(), vessel_id, '{one}', '{other}', 'lasting' FROM equipment"
        f" WHERE id IN ('{one}', '{other}')",
    )
    await migrate(config, ALL)
    there = "SELECT count(*) FROM cross_references WHERE reference_type = 'lasting'"
    assert await fetchval(maintenance_url, there) == 2
    await execute(
        maintenance_url,
        "DELETE FROM equipment WHERE id ="
        " (SELECT equipment_id FROM equipment_metadata WHERE original_id = $1::text::uuid)",
        other,
    )
    await execute(origin.url, "UPDATE cross_references SET notes = 'x' WHERE reference_type = 'lasting'")
    assert (await sync(config, ALL)).exit_status == 0
    assert await fetchval(maintenance_url, there) == 0
    await execute(origin.url, "UPDATE equipment SET name = 'anew' WHERE id = $1::text::uuid", other)
    assert (await sync(config, ALL)).exit_status == 0
    assert await fetchval(maintenance_url, there) == 2
    assert (await verify(config, ALL)).verified.difference_count == 0


@pytest.mark.parametrize("turn", [0, 1])
async def test_a_reference_whose_end_goes_with_another_vessel_is_counted_once(
    origin: Origin, config: Settings, turn: int
) -> None:
    """In whichever order the two are looked at, one after the other."""
    config = msgspec.structs.replace(config, parallel_vessels=1, max_rows_per_second=10**9)
    query = "SELECT vessel_id::text FROM bulkmig.vessels ORDER BY finished_at, vessel_id"
    vessels = await rows(config.target, query)
    first = "SELECT min(id::text) FROM equipment WHERE vessel_id ="
    end, other = [await fetchval(origin.url, f"{first} '{vessels[place]}'") for place in (turn, 1 - turn)]
    await execute(
        origin.url,
        "DELETE FROM cross_references;"
        "INSERT INTO cross_references"
        " (id, vessel_id, source_equipment_id, target_equipment_id, reference_type)"
        f" SELECT gen_random_uuid(), '{vessels[1 - turn]}', '{other}', '{end}', n::text"
        " FROM generate_series(1, 3) n",
    )
    assert (await sync(config, ALL)).inserted["cross_references"] == 3
    await execute(origin.url, f"DELETE FROM equipment WHERE id = '{end}'")
    report = await sync(config, ALL)
    listed = "SELECT count(*) FROM bulkmig.quarantine WHERE entity = 'cross_reference'"
    told = "SELECT count(*) FROM bulkmig.findings WHERE entity = 'cross_reference' AND run_id ="
    assert report.quarantined["cross_references"] == await fetchval(config.target, listed) == 3
    assert await fetchval(config.target, f"{told} '{report.run_id}'") == 3
    assert report.findings["warning", "cross_reference.end_missing"] == 3


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("full", [False, True])
async def test_a_loaded_reference_to_kept_equipment_of_another_vessel_is_listed_and_there_after_a_retry(
    origin: Origin, config: Settings, turn: int, full: bool
) -> None:
    """Whichever of the vessels has its turn first, and though nothing has changed on the reference's."""
    config = msgspec.structs.replace(config, parallel_vessels=1, max_rows_per_second=10**9)
    query = "SELECT min(id::text) FROM equipment GROUP BY vessel_id ORDER BY vessel_id"
    pair = await rows(origin.url, query)
    own, end = pair[1 - turn], pair[turn]
    await execute(
        origin.url,
        "DELETE FROM cross_references;"
        "INSERT INTO cross_references"
        " (id, vessel_id, source_equipment_id, target_equipment_id, reference_type)"
        f" SELECT gen_random_uuid(), vessel_id, id, '{end}', 'kept' FROM equipment WHERE id = '{own}'",
    )
    await sync(config, ALL)
    before = await state(config.target)
    await execute(origin.url, f"UPDATE equipment SET name = ' ' WHERE id = '{end}'")
    report = await sync(msgspec.structs.replace(config, full=full), ALL)
    listed = "SELECT count(*) FROM bulkmig.quarantine WHERE entity = 'cross_reference'"
    assert report.quarantined["cross_references"] == await fetchval(config.target, listed) == 1
    assert report.findings["warning", "cross_reference.end_missing"] == 1
    assert report.done == report.selected == 2
    assert (await retry(config)).exit_status == 0
    assert apart(of_the_portal(before), of_the_portal(await state(config.target))) == []
    assert await fetchval(config.target, listed) == 1
    assert (await verify(config, ALL)).verified.difference_count == 0
    await execute(origin.url, f"UPDATE equipment SET name = 'anew' WHERE id = '{end}'")
    await execute(origin.url, "UPDATE cross_references SET notes = 'anew'")
    report = await sync(config, ALL)
    assert (report.updated["equipment"], report.updated["cross_references"]) == (1, 1)
    assert await fetchval(config.target, listed) == 0
    assert (await verify(config, ALL)).verified.difference_count == 0


async def test_users_whose_e_mails_are_taken_one_after_the_other_are_as_recorded_and_not_stale(
    origin: Origin, config: Settings
) -> None:
    """The first would have the portal's own user's, the second the first one's, which he keeps."""
    loaded = (
        "SELECT i.source_id::text FROM bulkmig.identities i JOIN users u ON u.id = i.target_id ORDER BY 1"
    )
    first, second = (await rows(config.target, loaded))[:2]
    kept = await fetchval(origin.url, f"SELECT email FROM users WHERE id = '{first}'")
    company, own = (str(uuid4()) for _ in range(2))
    await execute(
        config.target, f"INSERT INTO companies (id, name, slug) VALUES ('{company}', 'Own', 'the-portal-s')"
    )
    await execute(
        config.target,
        "INSERT INTO users (id, company_id, email, role)"
        f" VALUES ('{own}', '{company}', 'taken@example.org', 'admin')",
    )
    before = await state(config.target)
    await execute(origin.url, f"UPDATE users SET email = 'taken@example.org' WHERE id = '{first}'")
    await execute(origin.url, f"UPDATE users SET email = '{kept}' WHERE id = '{second}'")
    report = await sync(config, ALL)
    assert (report.status, report.verified.differences) == ("completed", [])
    assert apart(of_the_portal(before), of_the_portal(await state(config.target))) == []
    found = (await verify(config, ALL)).verified
    assert (found.difference_count, found.drift, found.stale) == (0, 0, 0)
    await execute(config.target, f"DELETE FROM users WHERE id = '{own}'")
    found = (await verify(config, ALL)).verified
    assert (found.difference_count, found.drift, found.stale > 0) == (0, 0, True)
    assert (await sync(config, ALL)).updated["users"] == 2


@pytest.mark.parametrize("processes", [1, 2])
async def test_vessels_whose_numbers_are_taken_one_after_the_other_are_as_recorded_and_not_stale(
    origin: Origin, config: Settings, processes: int
) -> None:
    """The first would have the portal's own vessel's, the second the first one's, which it keeps."""

    async def errors() -> int:
        return (await validate(config, ALL)).findings["error", "vessel.imo_taken"]

    first, second = await rows(origin.url, "SELECT id::text FROM vessels ORDER BY id")
    kept = await fetchval(origin.url, f"SELECT imo_number FROM vessels WHERE id = '{first}'")
    own = str(uuid4())
    await execute(
        config.target,
        f"INSERT INTO vessels (id, company_id, name, imo_number) SELECT '{own}', id, 'Own', 'taken'"
        " FROM companies LIMIT 1",
    )
    before = await state(config.target)
    await execute(origin.url, f"UPDATE vessels SET imo_number = 'taken' WHERE id = '{first}'")
    await execute(origin.url, f"UPDATE vessels SET imo_number = '{kept}' WHERE id = '{second}'")
    config = msgspec.structs.replace(config, processes=processes)
    assert await errors() == 2
    report = await sync(config, ALL)
    assert (report.status, report.verified.differences) == ("completed", [])
    assert report.findings["error", "vessel.imo_taken"] == 2
    assert apart(of_the_portal(before), of_the_portal(await state(config.target))) == []
    found = (await verify(config, ALL)).verified
    assert (found.difference_count, found.drift, found.stale) == (0, 0, 0)
    await execute(config.target, f"DELETE FROM vessels WHERE id = '{own}'")
    assert await errors() == 0
    found = (await verify(config, ALL)).verified
    assert (found.difference_count, found.drift, found.stale > 0) == (0, 0, True)
    assert (await sync(config, ALL)).updated["vessels"] == 2


async def test_a_vessel_that_gets_the_number_of_one_that_gets_its_own_is_no_error(
    origin: Origin, config: Settings
) -> None:
    await execute(
        origin.url,
        "ALTER TABLE vessels DROP CONSTRAINT vessels_imo_number_key;"
        "UPDATE vessels v SET imo_number = o.imo_number FROM vessels o WHERE o.id <> v.id",
    )
    assert (await validate(config, ALL)).findings["error", "vessel.imo_taken"] == 0
    assert (await verify(config, ALL)).verified.stale > 0
    assert (await sync(config, ALL)).updated["vessels"] == 2


@pytest.mark.parametrize("strategy", ["target_wins", "manual"])
@pytest.mark.parametrize("processes", [1, 2])
async def test_vessels_of_which_one_keeps_its_number_by_a_decision_do_not_exchange_them(
    origin: Origin, config: Settings, strategy: str, processes: int
) -> None:
    config = msgspec.structs.replace(config, conflict=strategy, processes=processes)
    number = await fetchval(origin.url, "SELECT min(imo_number) FROM vessels")
    await execute(
        origin.url,
        "ALTER TABLE vessels DROP CONSTRAINT vessels_imo_number_key;"
        "UPDATE vessels v SET imo_number = o.imo_number FROM vessels o WHERE o.id <> v.id",
    )
    await execute(
        config.target,
        f"UPDATE vessels SET updated_at = updated_at + '1 day'::interval WHERE imo_number = '{number}'",
    )
    before = await state(config.target)
    report = await sync(config, ALL)
    assert (report.exit_status, report.verified.differences) == (0, [])
    assert report.findings["error", "vessel.imo_taken"] == 1
    assert apart(of_the_portal(before), of_the_portal(await state(config.target))) == []
    found = await validate(config, ALL)
    assert found.findings["error", "vessel.imo_taken"] == 1
    verified = (await verify(config, ALL)).verified
    assert (verified.difference_count, verified.stale) == (0, 0)
