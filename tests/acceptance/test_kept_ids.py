"""An id is fixed when it is first written (mapping.md, "Ids"): also where that is rolled back and its row
comes again on another vessel or in another company."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from msgspec.structs import replace

from bulkmig import Selection, Settings, migrate, rollback, sync, verify
from bulkmig._core.ids import derive_one
from bulkmig.entities import DIGITS

COMPANIES, VESSELS = (
    [f"0000000{kind}-0000-4000-8000-00000000000{n}" for n in (1, 2)]
    for kind in (DIGITS["company"], DIGITS["vessel"])
)
USER, PUMP, VALVE, PART, PAPER = (f"000000a{n}-0000-4000-8000-000000000000" for n in range(5))
ROWS = f"""
INSERT INTO companies (id, name, code)
VALUES ('{COMPANIES[0]}', 'one', 'one'), ('{COMPANIES[1]}', 'two', 'two');
INSERT INTO users (id, company_id, email, role) VALUES ('{USER}', '{COMPANIES[0]}', 'a@x.org', 'ADMIN');
INSERT INTO vessels (id, company_id, name, onboarding_status)
VALUES ('{VESSELS[0]}', '{COMPANIES[0]}', 'one', 'APPROVED'),
       ('{VESSELS[1]}', '{COMPANIES[1]}', 'two', 'APPROVED');
INSERT INTO equipment (id, vessel_id, name)
VALUES ('{PUMP}', '{VESSELS[0]}', 'pump'), ('{VALVE}', '{VESSELS[0]}', 'valve');
INSERT INTO critical_parts (id, equipment_id, name, part_number) VALUES ('{PART}', '{PUMP}', 'seal', 'S1');
INSERT INTO documents (id, vessel_id, document_type, name, file_path)
VALUES ('{PAPER}', '{VESSELS[0]}', 'MANUAL', 'm', 's3://b/k');
"""
MOVED = f"""
UPDATE users SET company_id = '{COMPANIES[1]}';
UPDATE equipment SET vessel_id = '{VESSELS[1]}' WHERE id = '{PUMP}';
UPDATE documents SET vessel_id = '{VESSELS[1]}';
"""
FOUND = {
    "equipment": "SELECT id::text, name AS is FROM equipment",
    "critical_part": "SELECT id::text, description AS is FROM critical_parts",
    "document": "SELECT id::text, file_name AS is FROM equipment_documents",
}


@pytest.fixture
async def settings(onboarding_url: str, maintenance_url: str) -> Settings:
    return Settings(source=onboarding_url, target=maintenance_url)


@pytest.fixture
async def source(onboarding_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(onboarding_url)
    try:
        await connection.execute(ROWS)
        yield connection
    finally:
        await connection.close()


async def ids(target: str, entity: str) -> dict[str, str]:
    """Of the rows that are there: by what they are."""
    connection = await asyncpg.connect(target)
    try:
        return {row["is"]: row["id"] for row in await connection.fetch(FOUND[entity])}
    finally:
        await connection.close()


async def test_rows_of_a_vessel_that_was_rolled_back_keep_their_ids_on_another_vessel(
    source: asyncpg.Connection, settings: Settings
) -> None:
    first = await migrate(settings, Selection(vessels=(VESSELS[0],)))
    was = {entity: await ids(settings.target, entity) for entity in FOUND}
    await rollback(settings, run=first.run_id)
    await source.execute(MOVED)
    assert (await migrate(settings, Selection(vessels=(VESSELS[1],)))).exit_status == 0
    assert await ids(settings.target, "equipment") == {"pump": was["equipment"]["pump"]}
    assert await ids(settings.target, "critical_part") == was["critical_part"]
    assert await ids(settings.target, "document") == was["document"]
    assert (await migrate(settings, Selection(vessels=(VESSELS[0],)))).exit_status == 0
    assert await ids(settings.target, "equipment") == was["equipment"]


async def test_a_user_who_was_rolled_back_keeps_the_id_in_another_company(
    source: asyncpg.Connection, settings: Settings
) -> None:
    first = await migrate(settings, Selection(vessels=(VESSELS[0],)))
    await rollback(settings, run=first.run_id)
    await source.execute(MOVED)
    assert (await migrate(settings, Selection(vessels=(VESSELS[1],)))).exit_status == 0
    connection = await asyncpg.connect(settings.target)
    try:
        found = await connection.fetchval("SELECT id::text FROM users")
    finally:
        await connection.close()
    assert found == derive_one(COMPANIES[0], USER, DIGITS["user"])


async def test_a_vessel_that_was_taken_over_has_an_id_of_its_own_once_that_is_taken_back(
    source: asyncpg.Connection, settings: Settings
) -> None:
    await source.execute(f"UPDATE vessels SET imo_number = '9074729' WHERE id = '{VESSELS[0]}'")
    target = await asyncpg.connect(settings.target)
    try:
        await target.execute(
            "WITH c AS (INSERT INTO companies (id, name, slug) VALUES (gen_random_uuid(), 'own', 'own')"
            " RETURNING id) INSERT INTO vessels (id, company_id, name, imo_number, status)"
            " SELECT gen_random_uuid(), id, 'own', '9074729', 'operational' FROM c"
        )
        first = await migrate(settings, Selection(vessels=(VESSELS[0],)))
        assert first.findings["warning", "vessel.adopted"] == 1
        await rollback(settings, run=first.run_id)
        await target.execute("UPDATE vessels SET imo_number = 'another'")
        assert (await migrate(settings, Selection(vessels=(VESSELS[0],)))).exit_status == 0
        found = await target.fetchval("SELECT id::text FROM vessels WHERE imo_number = '9074729'")
    finally:
        await target.close()
    assert found == derive_one(VESSELS[0], VESSELS[0], DIGITS["vessel"])


async def test_a_vessel_that_comes_back_takes_over_what_the_portal_has_under_its_number_by_now(
    source: asyncpg.Connection, settings: Settings
) -> None:
    await source.execute(f"UPDATE vessels SET imo_number = '9074729' WHERE id = '{VESSELS[0]}'")
    first = await migrate(settings, Selection(vessels=(VESSELS[0],)))
    await rollback(settings, run=first.run_id)
    target = await asyncpg.connect(settings.target)
    try:
        own = await target.fetchval(
            "WITH c AS (INSERT INTO companies (id, name, slug) VALUES (gen_random_uuid(), 'own', 'own')"
            " RETURNING id) INSERT INTO vessels (id, company_id, name, imo_number, status)"
            " SELECT gen_random_uuid(), id, 'own', '9074729', 'operational' FROM c RETURNING id::text"
        )
        report = await migrate(settings, Selection(vessels=(VESSELS[0],)))
        assert (report.exit_status, report.findings["warning", "vessel.adopted"]) == (0, 1)
        found = await target.fetch(
            "SELECT v.id::text, v.name, count(e.id) FROM vessels v JOIN equipment e ON e.vessel_id = v.id"
            " JOIN vessel_details d ON d.vessel_id = v.id GROUP BY v.id"
        )
    finally:
        await target.close()
    assert [tuple(row) for row in found] == [(own, "one", 2)]


@pytest.mark.parametrize("gone", [False, True], ids=["", "the vessel that they leave goes"])
async def test_rows_that_a_sync_deletes_since_they_are_on_another_vessel_come_with_that_under_their_ids(
    source: asyncpg.Connection, settings: Settings, *, gone: bool
) -> None:
    await migrate(settings, Selection(vessels=(VESSELS[0],)))
    was = {entity: await ids(settings.target, entity) for entity in FOUND}
    await source.execute(MOVED)
    if gone:
        await source.execute(f"DELETE FROM equipment WHERE vessel_id = '{VESSELS[0]}'")
        await source.execute(f"DELETE FROM vessels WHERE id = '{VESSELS[0]}'")
    allowed = replace(settings, allow_deletions=True, new=False)
    assert (await sync(allowed, Selection(all=True))).exit_status == 0
    assert "pump" not in await ids(settings.target, "equipment")
    if not gone:  # else no vessel is left
        assert (await verify(settings, Selection(all=True))).verified.difference_count == 0
    assert (await migrate(settings, Selection(vessels=(VESSELS[1],)))).exit_status == 0
    now = {entity: await ids(settings.target, entity) for entity in FOUND}
    assert now["equipment"]["pump"] == was["equipment"]["pump"]
    assert (now["critical_part"], now["document"]) == (was["critical_part"], was["document"])
    assert (await verify(settings, Selection(all=True))).verified.difference_count == 0
