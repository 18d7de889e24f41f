"""Who has assessed a score, where its vessel comes in a later run than the user."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bulkmig import Selection, Settings, migrate, plan, verify
from tests.checkpoint.support import execute, table

COMPANY, ANN, BEN, ONE, TWO = (f"0000000{n}-0000-4000-8000-000000000000" for n in range(1, 6))
ROWS = f"""
INSERT INTO companies (id, name, code) VALUES ('{COMPANY}', 'c', 'c');
INSERT INTO users (id, company_id, email, role)
VALUES ('{ANN}', '{COMPANY}', 'ann@x.org', 'ADMIN'), ('{BEN}', '{COMPANY}', 'ben@x.org', 'ADMIN');
INSERT INTO vessels (id, company_id, name, onboarding_status)
VALUES ('{ONE}', '{COMPANY}', 'one', 'APPROVED'), ('{TWO}', '{COMPANY}', 'two', 'APPROVED');
INSERT INTO quality_scores (id, vessel_id, category, score, assessed_by, assessed_at)
VALUES (gen_random_uuid(), '{TWO}', 'of Ann', 50, '{ANN}', now()),
       (gen_random_uuid(), '{TWO}', 'of Ben', 50, '{BEN}', now());
"""
SCORES = "SELECT category, email FROM quality_scores s LEFT JOIN users u ON u.id = s.assessed_by ORDER BY 1"


@pytest.mark.files_too
async def test_it_is_a_user_who_is_there_and_nobody_where_the_portal_has_deleted_the_user(
    onboarding_url: str, maintenance_url: str
) -> None:
    config = Settings(source=onboarding_url, target=maintenance_url)
    await execute(onboarding_url, ROWS)
    assert (await migrate(config, Selection(vessels=(ONE,)))).exit_status == 0
    await execute(maintenance_url, "DELETE FROM users WHERE email = 'ben@x.org'")
    report = await migrate(config, Selection(vessels=(TWO,)))
    assert (report.exit_status, report.findings["warning", "score.assessor_missing"]) == (0, 1)
    assert [tuple(row) for row in await table(maintenance_url, SCORES)] == [
        ("of Ann", "ann@x.org"),
        ("of Ben", None),
    ]


@pytest.mark.files_too
@pytest.mark.parametrize("processes", [1, 2])
async def test_nobody_expects_a_user_whom_the_portal_has_deleted(
    onboarding_url: str, maintenance_url: str, processes: int
) -> None:
    """A plan foretells what the migration does, and no verification waits for a sync that changes nothing."""
    config = Settings(source=onboarding_url, target=maintenance_url)
    await execute(onboarding_url, ROWS)
    assert (await migrate(config, Selection(vessels=(ONE,)))).exit_status == 0
    await execute(maintenance_url, "DELETE FROM users WHERE email = 'ben@x.org'")
    config = replace(config, processes=processes)
    foretold = await plan(config, Selection(vessels=(TWO,)))
    done = await migrate(config, Selection(vessels=(TWO,)))
    assert (done.exit_status, done.verified.difference_count) == (0, 0)
    assert foretold.findings == done.findings
    assert +foretold.inserted == +done.inserted
    report = await verify(config, Selection(vessels=(ONE, TWO)))
    assert (report.exit_status, report.verified.difference_count, report.verified.stale) == (0, 0, 0)
    assert report.verified.drift == 2  # the user and its details
