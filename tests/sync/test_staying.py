"""Rows that are kept as they were last written while their equipment moves to another vessel."""

from __future__ import annotations

import pytest

from bulkmig import Selection, Settings, migrate, verify
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, state, undone
from tests.support.dumps import apart
from tests.sync.scene import lasting

ALL = Selection(all=True)
COMPANY, ONE, TWO, PUMP, PART, PAPER, SCORE = (f"0000000{n}-0000-4000-8000-000000000000" for n in range(1, 8))
ROWS = f"""
INSERT INTO companies (id, name, code) VALUES ('{COMPANY}', 'c', 'c');
INSERT INTO vessels (id, company_id, name, onboarding_status)
VALUES ('{ONE}', '{COMPANY}', 'one', 'APPROVED'), ('{TWO}', '{COMPANY}', 'two', 'APPROVED');
INSERT INTO equipment (id, vessel_id, name) VALUES ('{PUMP}', '{ONE}', 'pump');
INSERT INTO critical_parts (id, equipment_id, name, part_number, current_stock)
VALUES ('{PART}', '{PUMP}', 'seal', 'S1', 1);
INSERT INTO documents (id, vessel_id, equipment_id, document_type, name, file_path, file_size)
VALUES ('{PAPER}', '{ONE}', '{PUMP}', 'MANUAL', 'm', 's3://b/k', 1);
"""
#: The target holds no numbers beyond these.
NARROW = """
ALTER TABLE critical_parts ALTER current_stock TYPE smallint, ALTER current_stock SET NOT NULL;
ALTER TABLE equipment_documents ALTER file_size TYPE smallint, ALTER file_size SET NOT NULL;
"""


@pytest.mark.only_postgresql("a file's columns hold numbers of any size")
async def test_what_hangs_on_equipment_goes_with_it_also_where_it_is_kept_as_it_was(
    onboarding_url: str, maintenance_url: str
) -> None:
    config = Settings(source=onboarding_url, target=maintenance_url, on_error="quarantine")
    await execute(onboarding_url, ROWS)
    await execute(maintenance_url, NARROW)
    await migrate(config, ALL)
    before = await state(maintenance_url)
    await execute(onboarding_url, f"UPDATE equipment SET vessel_id = '{TWO}', updated_at = now()")
    await execute(onboarding_url, "UPDATE critical_parts SET current_stock = 100000, updated_at = now()")
    await execute(
        onboarding_url, f"UPDATE documents SET vessel_id = '{TWO}', file_size = 100000, updated_at = now()"
    )
    report = await sync(config, ALL)
    assert (report.exit_status, report.failures, report.verified.differences) == (0, [], [])
    after = await state(maintenance_url)
    assert (await verify(config, ALL)).verified.difference_count == 0
    found = (
        "SELECT current_stock * 10 + file_size FROM critical_parts"
        " JOIN equipment_documents USING (equipment_id)"
    )
    assert await fetchval(maintenance_url, found) == 11
    listed = "SELECT string_agg(entity || vessel_id, ',' ORDER BY entity) FROM bulkmig.quarantine"
    assert await fetchval(maintenance_url, listed) == f"critical_part{TWO},document{TWO}"
    back = await undone(config, report)
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []
    await undone(config, back)
    assert apart(lasting(after), lasting(await state(maintenance_url))) == []
    await execute(
        onboarding_url, "UPDATE critical_parts SET current_stock = 2; UPDATE documents SET file_size = 2"
    )
    report = await sync(config, Selection(vessels=(TWO,)))
    assert (report.exit_status, report.selected, report.verified.differences) == (0, 1, [])
    assert await fetchval(maintenance_url, found) == 22
    await undone(config, report)
    assert apart(lasting(after), lasting(await state(maintenance_url))) == []


async def test_a_score_that_is_kept_as_it_was_stays_on_the_vessel_where_the_target_has_it(
    onboarding_url: str, maintenance_url: str
) -> None:
    config = Settings(source=onboarding_url, target=maintenance_url, on_error="quarantine")
    await execute(onboarding_url, ROWS)
    await execute(
        onboarding_url,
        "INSERT INTO quality_scores (id, vessel_id, equipment_id, category, score, assessed_at)"
        f" VALUES ('{SCORE}', '{ONE}', '{PUMP}', 'c', 50, now())",
    )
    await migrate(config, ALL)
    before = await state(maintenance_url)
    await execute(
        onboarding_url,
        f"UPDATE equipment SET vessel_id = '{TWO}', updated_at = now();"
        f"UPDATE documents SET vessel_id = '{TWO}', updated_at = now();"
        f"UPDATE quality_scores SET vessel_id = '{TWO}', score = 500",
    )
    report = await sync(config, ALL)
    assert (report.exit_status, report.verified.differences, report.quarantined["quality_scores"]) == (
        0,
        [],
        1,
    )
    on = (
        "SELECT v.name || e.name || s.score FROM quality_scores s JOIN vessels v ON v.id = s.vessel_id"
        " JOIN equipment e ON e.id = s.equipment_id"
    )
    assert await fetchval(maintenance_url, on) == "onepump50"
    kept = (
        "SELECT kind || vessel_id FROM bulkmig.base WHERE entity = 'quality_score' ORDER BY id DESC LIMIT 1"
    )
    assert await fetchval(maintenance_url, kept) == f"rows{ONE}"  # a checkpoint of that vessel has it
    await undone(config, report)
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []
    assert (await sync(config, ALL)).exit_status == 0
    await execute(onboarding_url, "UPDATE quality_scores SET score = 60")
    report = await sync(config, Selection(vessels=(TWO,)))
    assert (report.exit_status, report.selected, report.verified.differences) == (0, 2, [])
    assert await fetchval(maintenance_url, on) == "twopump60"
