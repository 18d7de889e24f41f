"""Rows of the portal that bulkmig has taken over are known as such in later runs, and no others are."""

from __future__ import annotations

import pytest

from bulkmig import Selection, Settings, migrate, sync, validate
from tests.checkpoint.support import execute, rows

ALL = Selection(all=True)
LINE, OTHER, ANN, BEN, ONE, TWO = (f"0000000{n}-0000-4000-8000-000000000000" for n in range(1, 7))
ROWS = f"""
INSERT INTO companies (id, name, code) VALUES ('{LINE}', 'c', 'line'), ('{OTHER}', 'c', 'other');
INSERT INTO users (id, company_id, email, role)
VALUES ('{ANN}', '{LINE}', 'ann@x.org', 'ADMIN'), ('{BEN}', '{LINE}', 'ben@x.org', 'ADMIN');
INSERT INTO vessels (id, company_id, name, imo_number, onboarding_status)
VALUES ('{ONE}', '{LINE}', 'one', '9074729', 'APPROVED'), ('{TWO}', '{OTHER}', 'two', '9319466', 'APPROVED');
"""
OF_THE_PORTAL = f"""
INSERT INTO companies (id, name, slug) VALUES ('{LINE}', 'own', 'line');
INSERT INTO users (id, company_id, email, role) VALUES ('{ANN}', '{LINE}', 'ann@x.org', 'admin');
INSERT INTO vessels (id, company_id, name, imo_number, status)
VALUES ('{ONE}', '{LINE}', 'own', '9074729', 'operational');
"""
CHANGED = """
UPDATE companies SET name = 'anew', updated_at = now();
UPDATE users SET first_name = 'anew', updated_at = now();
UPDATE vessels SET flag = 'NO', updated_at = now();
"""
ADOPTED = "SELECT source_id::text FROM bulkmig.identities WHERE adopted ORDER BY 1"


@pytest.mark.files_too
async def test_they_are_after_a_sync_of_all_of_them(onboarding_url: str, maintenance_url: str) -> None:
    config = Settings(source=onboarding_url, target=maintenance_url)
    await execute(onboarding_url, ROWS)
    await execute(maintenance_url, OF_THE_PORTAL)
    await migrate(config, ALL)
    assert await rows(maintenance_url, ADOPTED) == [LINE, ANN, ONE]
    await execute(onboarding_url, CHANGED)
    report = await sync(config, ALL)
    assert [report.updated[table] for table in ("companies", "users", "vessels")] == [2, 2, 2]
    assert await rows(maintenance_url, ADOPTED) == [LINE, ANN, ONE]
    found = (await validate(config, ALL)).findings
    assert {code: n for (_, code), n in found.items() if code.endswith(".adopted")} == {
        "company.adopted": 1,
        "user.adopted": 1,
        "vessel.adopted": 1,
    }
