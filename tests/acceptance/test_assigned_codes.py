"""A QR code is assigned once, and no equipment gets one that the target has, whoever has it there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256

import asyncpg
import pytest

from bulkmig import Report, Selection, Settings, migrate, rollback, sync
from bulkmig.generate.collisions import collisions

COMPANY = "00000001-0000-4000-8000-000000000001"
ONE, TWO = (f"00000003-0000-4000-8000-00000000000{n}" for n in (1, 2))
LOADED, COMES = collisions().pairs[0]


def code(stem: str, equipment: str, digits: int) -> str:
    return f"{stem}-{sha256(equipment.encode()).hexdigest()[:digits]}"


class Portals:
    """Both portals, with `LOADED` migrated under the code A."""

    def __init__(self, source: asyncpg.Connection, target: asyncpg.Connection, settings: Settings) -> None:
        self.source, self.target, self.settings = source, target, settings

    async def arrives(self, stem: str, equipment: str = COMES, vessel: str = TWO) -> None:
        await self.source.execute(
            "INSERT INTO equipment (id, vessel_id, name, code) VALUES ($1, $2, 'e', $3)",
            equipment,
            vessel,
            stem,
        )

    async def sync(self) -> Report:
        return await sync(self.settings, Selection(all=True))

    async def codes(self) -> dict[str, str]:
        rows = await self.target.fetch(
            "SELECT m.original_id::text, e.qr_code FROM equipment e"
            " JOIN equipment_metadata m ON m.equipment_id = e.id"
        )
        return {row["original_id"]: row["qr_code"] for row in rows}


@pytest.fixture
async def portals(onboarding_url: str, maintenance_url: str) -> AsyncIterator[Portals]:
    source, target = await asyncpg.connect(onboarding_url), await asyncpg.connect(maintenance_url)
    settings = Settings(source=onboarding_url, target=maintenance_url, allow_deletions=True)
    made = Portals(source, target, settings)
    try:
        await source.execute("INSERT INTO companies (id, name, code) VALUES ($1, 'c', 'c')", COMPANY)
        for vessel in (ONE, TWO):
            await source.execute(
                "INSERT INTO vessels (id, company_id, name, onboarding_status)"
                " VALUES ($1, $2, 'v', 'APPROVED')",
                vessel,
                COMPANY,
            )
        await made.arrives("A", LOADED, ONE)
        assert (await migrate(settings, Selection(all=True))).exit_status == 0
        yield made
    finally:
        await source.close()
        await target.close()


async def test_a_newcomer_avoids_the_code_that_another_kept_when_its_own_changed(portals: Portals) -> None:
    await portals.source.execute("UPDATE equipment SET code = 'B', updated_at = now()")
    await portals.arrives("A")
    report = await portals.sync()
    assert (report.exit_status, report.findings["warning", "equipment.qr_collision"]) == (0, 1)
    assert await portals.codes() == {LOADED: code("A", LOADED, 6), COMES: code("A", COMES, 8)}


async def test_a_newcomer_avoids_a_code_that_the_portal_gave_to_migrated_equipment(portals: Portals) -> None:
    await portals.target.execute("UPDATE equipment SET qr_code = $1", code("C", COMES, 6))
    await portals.arrives("C")
    assert (await portals.sync()).exit_status == 0
    assert (await portals.codes())[COMES] == code("C", COMES, 8)


async def test_equipment_that_stays_without_its_source_row_keeps_its_code_to_itself(portals: Portals) -> None:
    await portals.target.execute(
        "INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)"
        " SELECT gen_random_uuid(), id, now(), 'd' FROM equipment"
    )
    await portals.source.execute("DELETE FROM equipment")
    await portals.sync()
    await portals.arrives("A")
    assert (await portals.sync()).exit_status == 0
    await portals.arrives("D", LOADED, ONE)  # it comes back, under another code
    assert (await portals.sync()).exit_status == 0
    assert await portals.codes() == {LOADED: code("A", LOADED, 6), COMES: code("A", COMES, 8)}


async def test_a_code_that_outlives_a_rollback_is_no_collision(portals: Portals) -> None:
    await rollback(portals.settings, vessel=ONE)
    await portals.source.execute("UPDATE equipment SET code = 'B', updated_at = now()")
    report = await migrate(portals.settings, Selection(all=True))
    assert (report.done, report.findings["warning", "equipment.qr_collision"]) == (1, 0)
    assert await portals.codes() == {LOADED: code("A", LOADED, 6)}
