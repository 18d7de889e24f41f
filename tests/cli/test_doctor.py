"""`bulkmig doctor`: what is missing is named with its remedy, and so is what is too much."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from bulkmig import Selection, Settings, migrate, plan, rollback, verify
from bulkmig.doctor import Check, examine, grants
from bulkmig.doctor.grants import READER, WRITER
from bulkmig.embedded import Server
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.ledger import schema
from bulkmig.preflight import target_only
from tests.checkpoint.support import execute
from tests.support.files import portal, tamper
from tests.support.programs import run as run_program

SPEC = FleetSpec(seed=11, vessels=2, equipment=4)
ALL = Selection(all=True)
OWNER = {"source least privilege", "target least privilege"}  # tests connect as superusers unless they say so
NO_KEY = "encryption at rest"


def named(checks: list[Check]) -> dict[str, Check]:
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def bad(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if not check.ok}


def database(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.fixture
def least(pg: Server, onboarding_url: str, maintenance_url: str) -> Iterator[Callable[[], Settings]]:
    """Makes the roles that --grants prints, and connects as them."""
    made = False

    def make() -> Settings:
        nonlocal made
        made = True
        pg.execute(grants()["source"], database(onboarding_url))
        pg.execute(grants()["target"], database(maintenance_url))
        return Settings(
            source=pg.url(database(onboarding_url), user=READER),
            target=pg.url(database(maintenance_url), user=WRITER),
        )

    yield make
    if made:
        for role, url in ((READER, onboarding_url), (WRITER, maintenance_url)):
            pg.execute(f"DROP OWNED BY {role} CASCADE", database(url))
            pg.execute(f"DROP ROLE {role}")


async def test_the_roles_of_grants_are_enough_for_every_step(
    least: Callable[[], Settings], onboarding_url: str
) -> None:
    await generate_fleet(onboarding_url, SPEC)
    settings = least()
    assert (await plan(settings, ALL)).status == "completed"
    first = await migrate(settings, ALL)
    assert (first.status, first.done, first.verified.difference_count) == ("completed", 2, 0)
    assert (await verify(settings, ALL)).status == "completed"
    assert (await rollback(settings, run=first.run_id)).status == "completed"
    again = await migrate(settings, ALL)
    assert (again.status, again.done) == ("completed", 2)


async def test_the_roles_of_grants_have_no_more_than_is_needed(
    least: Callable[[], Settings], onboarding_url: str
) -> None:
    await generate_fleet(onboarding_url, SPEC)
    settings = least()
    for _ in range(2):  # without a ledger, and with one
        checks = await examine(settings)
        assert bad(checks) == {NO_KEY}, [check.document() for check in checks]
        await migrate(settings, ALL)


async def test_a_superuser_is_more_than_is_needed_and_only_advised_against(
    onboarding_url: str, maintenance_url: str
) -> None:
    checks = named(await examine(Settings(source=onboarding_url, target=maintenance_url)))
    assert {name for name, check in checks.items() if not check.ok} == {*OWNER, NO_KEY}
    assert checks["source least privilege"].detail == "the role is a superuser"
    assert not any(check.needed for check in checks.values() if not check.ok)


@pytest.mark.parametrize(
    ("end", "statement", "check", "detail"),
    [
        ("source", f"GRANT INSERT, TRUNCATE ON users TO {READER}", "source least privilege", "users: INSERT"),
        ("source", f"GRANT CREATE ON SCHEMA public TO {READER}", "source least privilege", "schema public"),
        ("source", f"REVOKE SELECT ON documents FROM {READER}", "source privileges", "table documents may"),
        ("source", f"REVOKE SELECT ON audit_logs FROM {READER}", "source privileges for sync", "audit"),
        ("source", "ALTER TABLE users ENABLE ROW LEVEL SECURITY", "source privileges", "hides rows of users"),
        ("source", "ALTER TABLE users DROP COLUMN phone", "source schema", "column users.phone is missing"),
        ("source", "DROP TABLE audit_logs", "source audit log", "audit_logs is missing"),
        ("source", "DROP INDEX equipment_vessel", "source indexes for extraction", "equipment (vessel_id)"),
        ("target", f"REVOKE DELETE ON part_details FROM {WRITER}", "target privileges", "no DELETE"),
        ("target", f"REVOKE ALL ON maintenance_logs FROM {WRITER}", "target privileges for rollback", "no"),
        ("target", "ALTER TABLE users ENABLE ROW LEVEL SECURITY", "target privileges", "hides rows of users"),
        (
            "target", "ALTER TABLE maintenance_logs ENABLE ROW LEVEL SECURITY",
            "target privileges for rollback", "hides rows of maintenance_logs",
        ),
        ("target", f"ALTER ROLE {WRITER} BYPASSRLS", "target least privilege", "passes by row security"),
        ("target", f"GRANT TRUNCATE ON equipment TO {WRITER}", "target least privilege", "TRUNCATE"),
        ("target", f"ALTER TABLE users OWNER TO {WRITER}", "target least privilege", "it owns users"),
        ("target", "DROP SCHEMA bulkmig", "target ledger privileges", "may not create one"),
        ("target", "DROP TABLE vessel_documents", "target schema", "table vessel_documents is missing"),
        ("target", f"ALTER ROLE {WRITER} SET default_transaction_read_only = on", "target writable", "read"),
    ],
)  # fmt: skip
async def test_one_thing_that_is_wrong_is_the_one_that_is_named(
    pg: Server,
    least: Callable[[], Settings],
    onboarding_url: str,
    maintenance_url: str,
    end: str,
    statement: str,
    check: str,
    detail: str,
) -> None:
    settings = least()
    pg.execute(statement, database(onboarding_url if end == "source" else maintenance_url))
    checks = named(await examine(settings))
    assert bad(list(checks.values())) == {check, NO_KEY}
    assert detail in checks[check].detail
    assert checks[check].remedy


async def test_a_role_that_passes_by_row_security_is_right_where_there_is_some(
    pg: Server, least: Callable[[], Settings], maintenance_url: str
) -> None:
    settings = least()
    pg.execute(
        f"ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER ROLE {WRITER} BYPASSRLS",
        database(maintenance_url),
    )
    assert bad(await examine(settings)) == {NO_KEY}


async def test_the_indexes_that_the_source_lacks_for_sync_are_named(
    pg: Server, onboarding_url: str, maintenance_url: str
) -> None:
    pg.execute("DROP INDEX audit_logs_created, equipment_updated", database(onboarding_url))
    checks = named(await examine(Settings(source=onboarding_url, target=maintenance_url)))
    lacks = checks["source indexes for sync"]
    assert (lacks.ok, lacks.needed) == (False, False)
    assert lacks.remedy == (
        "CREATE INDEX CONCURRENTLY ON audit_logs (created_at);"
        " CREATE INDEX CONCURRENTLY ON equipment (updated_at);"
    )


async def test_a_run_that_nobody_carries_on_is_found(
    pg: Server, onboarding_url: str, maintenance_url: str
) -> None:
    await generate_fleet(onboarding_url, SPEC)
    settings = Settings(source=onboarding_url, target=maintenance_url)
    await migrate(settings, ALL)
    assert "runs left running" not in bad(await examine(settings))
    pg.execute("UPDATE bulkmig.runs SET status = 'running'", database(maintenance_url))
    assert "no process" in named(await examine(settings))["runs left running"].detail


async def test_too_few_connections_and_one_database_for_both_are_found(onboarding_url: str) -> None:
    settings = Settings(source=onboarding_url, target=onboarding_url, parallel_vessels=5000)
    checks = named(await examine(settings))
    assert {"source connections", "target connections", "two databases"} <= bad(list(checks.values()))


async def test_a_key_for_checkpoints_counts(
    onboarding_url: str, maintenance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(source=onboarding_url, target=maintenance_url)
    monkeypatch.setenv("BULKMIG_KEY", "00" * 32)
    assert NO_KEY not in bad(await examine(settings))
    await execute(maintenance_url, "CREATE SCHEMA bulkmig; CREATE TABLE bulkmig.keys (id bytea, since date)")
    await execute(maintenance_url, "INSERT INTO bulkmig.keys VALUES ('other', now())")
    other = named(await examine(settings))[NO_KEY]
    assert (other.ok, other.needed) == (False, True)
    assert "encrypted with the key" in other.detail
    monkeypatch.setenv("BULKMIG_KEY", "short")
    assert named(await examine(settings))[NO_KEY].needed


async def test_what_bears_the_names_of_a_ledger_and_is_none_is_a_check_beside_all_others(
    onboarding_url: str, maintenance_url: str
) -> None:
    await execute(
        maintenance_url,
        "CREATE SCHEMA bulkmig; CREATE TABLE bulkmig.keys (); CREATE TABLE bulkmig.checkpoints ()",
    )
    checks = await examine(Settings(source=onboarding_url, target=maintenance_url))
    assert bad(checks) == {*OWNER, "ledger version", NO_KEY}
    assert "names of its tables: bulkmig.checkpoints" in named(checks)["ledger version"].detail


async def test_of_a_file_a_damaged_ledger_and_a_wrong_key_are_checks_too(
    onboarding_url: str, tmp_path: Path
) -> None:
    config = Settings(source=onboarding_url, target=portal(tmp_path / "portal.db"))
    async with target_only(config, needs_ledger=False) as target:
        await schema.upgrade(target)
    expected = {"source least privilege", NO_KEY}
    (tmp_path / "key").write_text("short")
    checks = await examine(replace(config, key_file=str(tmp_path / "key")))
    assert (bad(checks), named(checks)[NO_KEY].needed) == (expected, True)
    tamper(config.target, "DROP TABLE bulkmig_keys")
    checks = await examine(config)
    assert bad(checks) == {*expected, "ledger version"}
    assert "table keys is missing" in named(checks)["ledger version"].detail


async def test_an_end_that_is_not_there_is_a_check_and_the_other_end_is_looked_at(
    onboarding_url: str,
) -> None:
    checks = named(await examine(Settings(source=onboarding_url, target="postgresql://127.0.0.1:1/none")))
    assert not checks["target connection"].ok
    assert checks["source schema"].ok


@pytest.mark.parametrize("there", [True, False])
async def test_the_exit_status_is_that_of_a_failed_preflight_only_where_a_run_would_refuse(
    onboarding_url: str, maintenance_url: str, there: bool
) -> None:
    ended = await run_program(onboarding_url, maintenance_url if there else onboarding_url, "doctor")
    assert ended.status == (0 if there else 3), ended.said
    assert ended.document["command"] == "doctor"
    assert all(
        {"name", "ok", "detail", "remedy"} <= check.keys() and bool(check["ok"]) != bool(check["remedy"])
        for check in ended.document["checks"]
    ), json.dumps(ended.document, indent=1)
