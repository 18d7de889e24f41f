"""An entity is one file: a copy of the package with one more in `entities/` takes it through all commands."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bulkmig.generate import FleetSpec, generate_fleet
from tests.oracle.file import path_of
from tests.support.files import portal
from tests.support.packages import Package, with_file
from tests.support.servers import Databases

ENTITY = Path(__file__).parent / "new_entity" / "certificate.py"
SPEC = FleetSpec(seed=3, vessels=3, equipment=8, parts=1, documents=1, companies=1, users_per_company=2)
_SOURCE = """
CREATE TABLE certificates (
    id uuid PRIMARY KEY, vessel_id uuid NOT NULL REFERENCES vessels, equipment_id uuid,
    number varchar(100), issuer varchar(255), issued_on date, expires_on date, file_path text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX certificates_vessel ON certificates (vessel_id);
INSERT INTO certificates
SELECT gen_random_uuid(), vessel_id, CASE WHEN n % 2 = 0 THEN id END, 'C-' || n, 'Class Society',
       '2024-02-29', 'infinity', 's3://papers/' || n, '2024-05-01 07:30:00.12+00', '2024-05-01 07:30:00+00'
  FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM equipment) AS e;
UPDATE certificates SET equipment_id = gen_random_uuid() WHERE number = 'C-2';
UPDATE certificates SET number = '' WHERE number = 'C-3';
UPDATE certificates SET expires_on = '2020-01-01' WHERE number = 'C-4';
"""
_COLUMNS = """(
    id {id} PRIMARY KEY, vessel_id {id} NOT NULL REFERENCES vessels ON DELETE CASCADE,
    equipment_id {id} REFERENCES equipment ON DELETE CASCADE, number {text} NOT NULL, issuer {text},
    issued_on {date}, expires_on {date}, file_path {text} NOT NULL, created_at {time} NOT NULL,
    updated_at {time} NOT NULL)"""
_ON_POSTGRES = "CREATE TABLE certificates " + _COLUMNS.format(
    id="uuid", text="text", date="date", time="timestamptz"
)
_ON_SQLITE = "CREATE TABLE certificates " + _COLUMNS.format(
    id="INTEGER", text="TEXT", date="TEXT", time="TEXT"
)
_QUARANTINED = {"certificate.number_required", "certificate.equipment_missing"}


@pytest.fixture
async def source(onboarding_url: str) -> str:
    await generate_fleet(onboarding_url, SPEC)
    await execute(onboarding_url, _SOURCE)
    return onboarding_url


@pytest.fixture
def package(tmp_path: Path, source: str) -> Iterator[Package]:
    """The package with the entity's file in it."""
    with with_file(tmp_path / "package", ENTITY, "entities", source) as made:
        yield made


async def execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def rows_on_postgres(url: str) -> list[tuple[Any, ...]]:
    """The certificates with the names of what they belong to."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT c.number, c.issued_on::text, c.expires_on::text, c.created_at::text, v.name, e.name"
            " FROM certificates c JOIN vessels v ON v.id = c.vessel_id"
            " LEFT JOIN equipment e ON e.id = c.equipment_id ORDER BY c.number"
        )
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


def on_sqlite(url: str, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path_of(url))
    try:
        with connection:
            return connection.execute(sql).fetchall()
    finally:
        connection.close()


async def goes_through(package: Package, target: str) -> str:
    """Plan, migrate, verify; returns the run's id."""
    quarantine = ("--all", "--on-error", "quarantine")
    planned = await package.call("plan", *quarantine, target=target, status=1)
    assert planned["findings"]["by_code"].items() >= dict.fromkeys(_QUARANTINED, 1).items()
    migrated = await package.call("migrate", *quarantine, target=target)
    assert migrated["rows"]["certificates"]["inserted"] == planned["rows"]["certificates"]["inserted"]
    assert migrated["quarantined"]["certificates"] == 2
    assert migrated["findings"]["by_code"]["certificate.expires_before_issued"] == 1
    assert migrated["verification"]["failed"] == 0
    assert (await package.call("verify", "--all", target=target))["verification"]["differences"] == []
    listed = (await package.call("quarantine", "list", target=target))["quarantine"]
    assert {row["code"] for row in listed if row["entity"] == "certificate"} == _QUARANTINED
    return str(migrated["run_id"])


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_one_file_takes_an_entity_to_postgres_and_back(
    package: Package, source: str, maintenance_url: str
) -> None:
    """Plan, migrate, verify, sync with a conflict, the dashboard, rollback."""
    await execute(maintenance_url, _ON_POSTGRES)
    run = await goes_through(package, maintenance_url)
    before = await rows_on_postgres(maintenance_url)
    assert len(before) == len({row[0] for row in before}) > 15
    assert {row[1:4] for row in before} >= {("2024-02-29", "infinity", "2024-05-01 07:30:00.12+00")}

    await execute(
        source,
        "UPDATE certificates SET issuer = 'Another', updated_at = now() WHERE number IN ('C-5', 'C-6');"
        "UPDATE certificates SET number = 'C-3', updated_at = now() WHERE number = '';"
        "DELETE FROM certificates WHERE number = 'C-7'",
    )
    await execute(
        maintenance_url, "UPDATE certificates SET issuer = 'Ours', updated_at = now() WHERE number = 'C-6'"
    )
    synced = await package.call("sync", "--all", "--on-error", "quarantine", target=maintenance_url)
    assert synced["rows"]["certificates"] == synced["rows"]["certificates"] | {
        "inserted": 1,
        "updated": 2,
        "deleted": 1,
    }
    (conflict,) = (await package.call("conflicts", "list", target=maintenance_url))["conflicts"]
    assert (conflict["entity"], conflict["fields"]["issuer"]["result"]) == ("certificate", "Another")
    assert (await package.call("verify", "--all", target=maintenance_url))["verification"][
        "differences"
    ] == []

    page = shown(package, maintenance_url)["ledger"]
    for records in (page["quarantine"], page["conflicts"]):
        assert "certificate" in {record["entity"] for record in records}
    await package.call("rollback", "--run", run, "--force", target=maintenance_url)
    assert await rows_on_postgres(maintenance_url) == []


def shown(package: Package, target: str) -> dict[str, Any]:
    """What the dashboard shows."""
    with subprocess.Popen(
        package.command("dashboard", "--listen", "127.0.0.1:0"),
        cwd=package.where,
        env=package.environment(target),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as served:
        try:
            assert served.stdout is not None
            url = json.loads(b"".join(iter(served.stdout.readline, b"}\n")) + b"}")["url"].rstrip("/")
            with urllib.request.urlopen(f"{url}/api/state", timeout=30) as answer:
                return dict(json.load(answer))
        finally:
            served.terminate()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_one_file_takes_an_entity_to_sqlite_and_from_there_to_postgres(
    package: Package, databases: Databases, tmp_path: Path
) -> None:
    """The portal's own comes along; rows that bulkmig wrote are as a direct migration has them."""
    file = portal(tmp_path / "portal.db")
    on_sqlite(file, _ON_SQLITE)
    await goes_through(package, file)
    assert on_sqlite(file, "SELECT DISTINCT issued_on, typeof(id), created_at FROM certificates") == [
        ("2024-02-29", "integer", "2024-05-01T07:30:00.120000Z")
    ]
    direct, lifted = databases("maintenance"), databases("maintenance")
    for url in (direct, lifted):
        await execute(url, _ON_POSTGRES)
    await package.call("migrate", "--all", "--on-error", "quarantine", target=direct)
    on_sqlite(
        file,
        "INSERT INTO certificates SELECT 9000, vessel_id, equipment_id, 'own', issuer, issued_on, expires_on,"
        " file_path, created_at, updated_at FROM certificates LIMIT 1",
    )
    await package.call("lift", file, lifted, target=lifted)
    there = await rows_on_postgres(lifted)
    assert [row for row in there if row[0] != "own"] == await rows_on_postgres(direct)
    assert len(there) == len(await rows_on_postgres(direct)) + 1
    assert (await package.call("verify", "--all", target=lifted))["verification"]["differences"] == []
    again = await package.call("sync", "--all", "--on-error", "quarantine", target=lifted)
    assert again["rows"]["certificates"]["updated"] == again["rows"]["certificates"]["inserted"] == 0
