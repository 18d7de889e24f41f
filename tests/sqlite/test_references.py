"""A portal's own rows that refer to rows which aren't there. SQLite refuses them only where a connection asks
it to; PostgreSQL has them where a constraint was dropped."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from bulkmig import Selection, Settings, migrate, rollback, sync, verify
from bulkmig.generate import FleetSpec
from tests.support.files import portal, stored, tamper
from tests.support.fleets import Fleets, Origin
from tests.support.servers import Databases

SPEC = FleetSpec(vessels=3, equipment=6, companies=2, users_per_company=3, cross_references=4, seed=2)
ALL = Selection(all=True)
# Rows of nothing, under the numbers that bulkmig would give first.
REMAINS = """
INSERT INTO company_settings (company_id) VALUES (1);
INSERT INTO user_metadata (user_id, original_role) VALUES (1, 'x'), (2, 'x');
INSERT INTO vessel_details (vessel_id, original_status) VALUES (1, 'x');
INSERT INTO equipment_metadata (equipment_id, original_id) VALUES (1, 'a'), (3, 'b');
INSERT INTO critical_parts (id, equipment_id, causes_failure) VALUES (1, 2, 0);
INSERT INTO part_details (part_id) VALUES (2);
INSERT INTO vessel_documents VALUES (1, 1);
INSERT INTO document_details VALUES (1, 'x', 'x');
INSERT INTO maintenance_logs (equipment_id, performed_by, performed_at, description) VALUES (4, 3, 'x', 'x');
"""


class Keys(NamedTuple):
    """What of the source a portal has taken already."""

    email: str
    imo: str
    qr_code: str


def keys(origin: Origin) -> Keys:
    """An e-mail, an IMO number and a QR code of rows that a migration writes."""
    vessel = next(v for v in origin.rows.vessels if v["id"] in origin.approved and v["imo_number"])
    email = next(u["email"] for u in origin.rows.users if u["company_id"] == vessel["company_id"])
    machine = next(e for e in origin.rows.equipment if e["vessel_id"] == vessel["id"] and e["code"])
    digest = hashlib.sha256(str(machine["id"]).encode()).hexdigest()
    return Keys(str(email), str(vessel["imo_number"]), f"{machine['code']}-{digest[:6]}")


def settings(origin: Origin, target: str, **others: Any) -> Settings:
    """How these tests migrate."""
    return Settings(source=origin.url, target=target, on_error="quarantine", continue_on_error=True, **others)


async def holding(databases: Databases, folder: Path, where: str, taken: Keys, company: str) -> str:
    """A portal whose user, vessel and equipment have what is `taken`, and are of no company or vessel."""
    rows = (
        "INSERT INTO users (id, company_id, email, role)"
        f" VALUES ({{id}}, {company}, '{taken.email}', 'admin');"
        "INSERT INTO vessels (id, company_id, name, imo_number)"
        f" VALUES ({{id}}, {company}, 'x', '{taken.imo}');"
        "INSERT INTO equipment (id, vessel_id, qr_code, name, status)"
        f" VALUES ({{id}}, {{lost}}, '{taken.qr_code}', 'x', 'fault');"
    )
    if where == "file":
        target = portal(folder / "portal.db")
        tamper(target, rows.format(id=500, lost=77))
        return target
    target = databases("maintenance")
    connection = await asyncpg.connect(target)
    for table, column in (("users", "company_id"), ("vessels", "company_id"), ("equipment", "vessel_id")):
        await connection.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_fkey, ALTER {column} DROP NOT NULL"
        )
    await connection.execute(rows.format(id="gen_random_uuid()", lost="gen_random_uuid()"))
    await connection.close()
    return target


@pytest.mark.parametrize(
    ("where", "company"), [("file", "999"), ("server", "gen_random_uuid()"), ("server", "NULL")]
)
async def test_what_a_row_of_no_company_has_is_taken_and_its_vessel_adopted(
    fleets: Fleets, databases: Databases, tmp_path: Path, where: str, company: str
) -> None:
    origin = await fleets(SPEC)
    target = await holding(databases, tmp_path, where, keys(origin), company)
    report = await migrate(settings(origin, target), ALL)
    assert (report.status, report.failures, report.verified.differences) == ("completed", [], [])
    codes = ("user.email_taken", "vessel.adopted", "equipment.qr_collision")
    assert [report.findings["warning", code] for code in codes] == [1, 1, 1]
    again = await sync(settings(origin, target, full=True), ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0
    assert (await verify(settings(origin, target), ALL)).exit_status == 0


async def test_numbers_that_rows_of_nothing_name_are_not_given_to_rows(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin, target = await fleets(SPEC), portal(tmp_path / "portal.db")
    tamper(target, REMAINS)
    before = stored(target)
    report = await migrate(settings(origin, target), ALL)
    assert (report.status, report.failures, report.verified.differences) == ("completed", [], [])
    first = {table: rows[0][0] for table, rows in stored(target).items() if rows and len(rows[0]) > 4}
    assert {name: first[name] for name in ("companies", "users", "vessels", "equipment")} == {
        "companies": 2,
        "users": 4,
        "vessels": 2,
        "equipment": 5,
    }
    back = await rollback(settings(origin, target), run=report.run_id)
    assert (back.status, back.failures) == ("completed", [])
    assert stored(target) == before


async def test_a_row_that_would_refer_to_nothing_is_not_brought_back_and_named(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    origin = await fleets(SPEC)
    target = await holding(databases, tmp_path, "file", keys(origin), "999")
    before = stored(target)
    report = await migrate(settings(origin, target), ALL)
    written = stored(target)
    adopted = next(v["id"] for v in origin.rows.vessels if v["imo_number"] == keys(origin).imo)
    refused = await rollback(settings(origin, target), vessel=str(adopted))
    assert refused.exit_status == 1
    (failure,) = refused.failures
    assert "vessels.company_id of row 500 would name row 999 of companies" in failure.error
    assert stored(target) == written
    tamper(target, "INSERT INTO companies (id, name, slug) VALUES (999, 'x', 'x')")
    back = await rollback(settings(origin, target), run=report.run_id)
    assert (back.status, back.failures) == ("completed", [])
    tamper(target, "DELETE FROM companies WHERE id = 999")
    assert stored(target) == before
