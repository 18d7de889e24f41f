"""A company's slug that the portal gives to another one: nobody takes over what was migrated from another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from bulkmig import Report, Selection, Settings, migrate, rollback, sync


class Portals:
    """Both portals; a company is known by its code."""

    def __init__(self, source: asyncpg.Connection, target: asyncpg.Connection, settings: Settings) -> None:
        self.source, self.target, self.settings = source, target, settings

    async def company(self, code: str) -> Report:
        """Adds one to the source, with a vessel, and migrates it."""
        await self.source.execute(
            "WITH c AS ("
            "INSERT INTO companies (id, name, code) VALUES (gen_random_uuid(), $1, $1) RETURNING id)"
            " INSERT INTO vessels (id, company_id, name, onboarding_status)"
            " SELECT gen_random_uuid(), id, $1, 'APPROVED' FROM c",
            code,
        )
        return await migrate(self.settings, Selection(company=(code,)))

    async def slugs(self) -> dict[str, str]:
        rows = await self.target.fetch("SELECT name, slug FROM companies")
        return {row["name"]: row["slug"] for row in rows}


@pytest.fixture
async def portals(onboarding_url: str, maintenance_url: str) -> AsyncIterator[Portals]:
    source, target = await asyncpg.connect(onboarding_url), await asyncpg.connect(maintenance_url)
    try:
        yield Portals(source, target, Settings(source=onboarding_url, target=maintenance_url))
    finally:
        await source.close()
        await target.close()


async def test_a_newcomer_gets_another_slug_than_the_portal_gave_to_a_migrated_company(
    portals: Portals,
) -> None:
    await portals.company("alpha")
    await portals.target.execute("UPDATE companies SET slug = 'beta'")
    report = await portals.company("beta")
    assert (report.exit_status, report.findings["warning", "company.slug_collision"]) == (0, 1)
    assert report.findings["warning", "company.adopted"] == 0
    assert await portals.slugs() == {"alpha": "beta", "beta": "beta-2"}
    assert (await sync(portals.settings, Selection(all=True))).updated.total() == 0


async def test_a_company_that_comes_back_takes_nobody_over_who_has_its_slug_by_now(portals: Portals) -> None:
    await portals.company("alpha")
    await rollback(portals.settings, run=(await portals.company("beta")).run_id)
    await portals.target.execute("UPDATE companies SET slug = 'beta'")
    report = await migrate(portals.settings, Selection(company=("beta",)))
    assert (report.exit_status, report.failed, report.findings["warning", "company.adopted"]) == (1, 1, 0)
    assert await portals.slugs() == {"alpha": "beta"}


async def test_a_slug_with_a_number_takes_nobody_over_when_its_company_comes_back(portals: Portals) -> None:
    await portals.company("a.b")
    await rollback(portals.settings, run=(await portals.company("a b")).run_id)
    await portals.target.execute(
        "INSERT INTO companies (id, name, slug) VALUES (gen_random_uuid(), 'of the portal', 'a-b-2')"
    )
    report = await migrate(portals.settings, Selection(company=("a b",)))
    assert (report.exit_status, report.failed, report.findings["warning", "company.adopted"]) == (1, 1, 0)
    assert await portals.slugs() == {"a.b": "a-b", "of the portal": "a-b-2"}
