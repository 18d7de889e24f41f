"""What changed in the source since it was last read is stale, also where it shows in rows that didn't change
themselves: no verification fails for it, and a sync ends it."""

from __future__ import annotations

import pytest

from bulkmig import Selection, Settings, migrate, sync, verify
from tests.checkpoint.support import execute

ALL = Selection(all=True)
HERE, ELSEWHERE, ANN, BEN, ONE, TWO, PLACE, PUMP, RADAR, MANUAL = (
    f"000000{n:02}-0000-4000-8000-000000000000" for n in range(1, 11)
)
ROWS = f"""
INSERT INTO companies (id, name, code) VALUES ('{HERE}', 'h', 'h'), ('{ELSEWHERE}', 'e', 'e');
INSERT INTO users (id, company_id, email, role)
VALUES ('{ANN}', '{HERE}', 'ann@x.org', 'ADMIN'), ('{BEN}', '{ELSEWHERE}', 'ben@x.org', 'ADMIN');
INSERT INTO vessels (id, company_id, name, onboarding_status)
VALUES ('{ONE}', '{HERE}', 'one', 'APPROVED'), ('{TWO}', '{HERE}', 'two', 'APPROVED');
INSERT INTO locations (id, vessel_id, name) VALUES ('{PLACE}', '{ONE}', 'p');
INSERT INTO equipment (id, vessel_id, location_id, name)
VALUES ('{PUMP}', '{ONE}', '{PLACE}', 'pump'), ('{RADAR}', '{TWO}', NULL, 'radar');
INSERT INTO documents (id, vessel_id, equipment_id, document_type, name, file_path)
VALUES ('{MANUAL}', '{ONE}', '{PUMP}', 'MANUAL', 'm', 's3://b/k');
"""
LISTED = 2  # a document whose equipment goes: its own row, and that in vessel_documents
CHANGES = {
    "equipment that is gone": (f"DELETE FROM equipment WHERE id = '{PUMP}'", 2 + LISTED),
    "equipment that has an error": (f"UPDATE equipment SET name = ' ' WHERE id = '{PUMP}'", LISTED),
    "equipment whose location is gone": (f"DELETE FROM locations WHERE id = '{PLACE}'", LISTED),
    "equipment that moves": (
        f"UPDATE equipment SET vessel_id = '{TWO}', location_id = NULL WHERE id = '{PUMP}'",
        2 + 2 + LISTED,  # there no more, and not here yet
    ),
    "a vessel that goes to a company that was nobody's": (
        f"UPDATE vessels SET company_id = '{ELSEWHERE}' WHERE id = '{TWO}'",
        1 + 2 + 2,  # the company and its user come with their details
    ),
    "a user who is gone": (f"DELETE FROM users WHERE id = '{ANN}'", 2),
}


@pytest.mark.files_too
@pytest.mark.parametrize("change", CHANGES)
async def test_it_is_stale_and_no_difference(onboarding_url: str, maintenance_url: str, change: str) -> None:
    config = Settings(source=onboarding_url, target=maintenance_url, on_error="quarantine")
    await execute(onboarding_url, ROWS)
    assert (await migrate(config, ALL)).exit_status == 0
    statement, stale = CHANGES[change]
    await execute(onboarding_url, statement)
    report = await verify(config, ALL)
    assert (report.exit_status, report.verified.differences, report.verified.drift) == (0, [], 0)
    assert report.verified.stale == stale
    synced = await sync(config, ALL)
    assert (synced.exit_status, synced.verified.differences) == (0, [])
    after = await verify(config, ALL)
    assert (after.exit_status, after.verified.differences, after.verified.drift) == (0, [], 0)
    assert after.verified.stale == 0
