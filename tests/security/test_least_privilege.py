"""Under the roles that `doctor --grants` prints everything works, and what is taken away is named before
anything is touched."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator

import msgspec
import pytest

from bulkmig import (
    PreflightError,
    Selection,
    Settings,
    audit_log,
    migrate,
    plan,
    resolve,
    retry,
    rollback,
    sync,
    verify,
)
from bulkmig import conflicts as listed
from bulkmig.cluster.worker import work
from bulkmig.doctor import examine, grants
from bulkmig.doctor.grants import HANGING, READER, WRITER
from bulkmig.doctor.schemas import AUDIT_LOG, read_columns, written_columns
from bulkmig.embedded import Server
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.ledger import schema
from bulkmig.operators import Scope, grant, turn
from bulkmig.preflight import target_only
from bulkmig.rotation import rotate
from tests.checkpoint.support import execute, fetchval
from tests.support.dumps import dump

SPEC = FleetSpec(seed=35, vessels=2, equipment=4, nasty=0.3, least=0)
ALL = Selection(all=True)


@pytest.fixture
def least(pg: Server, onboarding_url: str, maintenance_url: str) -> Iterator[Settings]:
    """Settings that connect as the roles that --grants prints."""
    source, target = (url.rpartition("/")[2] for url in (onboarding_url, maintenance_url))
    pg.execute(grants()["source"], source)
    pg.execute(grants()["target"], target)
    yield Settings(
        source=pg.url(source, user=READER),
        target=pg.url(target, user=WRITER),
        on_error="quarantine",
        continue_on_error=True,
        operator="officer",
    )
    for role, database in ((READER, source), (WRITER, target)):
        pg.execute(f"DROP OWNED BY {role} CASCADE", database)
        pg.execute(f"DROP ROLE {role}")


async def test_rows_that_a_policy_hides_are_not_taken_for_rows_that_are_not_there(
    least: Settings, onboarding_url: str, maintenance_url: str
) -> None:
    """Equipment with maintenance logs stays, and its logs went along with it."""
    await generate_fleet(onboarding_url, SPEC)
    assert (await migrate(least, ALL)).failures == []
    logs = "SELECT count(*) FROM maintenance_logs"
    await execute(
        maintenance_url,
        "INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)"
        " SELECT gen_random_uuid(), id, now(), 'oil' FROM equipment",
    )
    before = await fetchval(maintenance_url, logs)
    await execute(maintenance_url, "ALTER TABLE maintenance_logs ENABLE ROW LEVEL SECURITY")
    loaded = await fetchval(maintenance_url, "SELECT min(original_id::text) FROM equipment_metadata")
    await execute(onboarding_url, f"DELETE FROM equipment WHERE id = '{loaded}'")
    report = await sync(least, ALL)
    assert ["maintenance_logs" in failure.error for failure in report.failures] == [True]
    assert await fetchval(maintenance_url, logs) == before


async def test_the_printed_roles_are_enough_for_every_command(
    least: Settings, onboarding_url: str, maintenance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await generate_fleet(onboarding_url, SPEC)
    monkeypatch.setenv("BULKMIG_KEY", "0c" * 32)
    assert (await plan(least, ALL)).run_id == ""  # it wrote nothing
    first = await migrate(least, ALL)
    assert (first.failures, first.verified.difference_count) == ([], 0)
    await execute(onboarding_url, "UPDATE equipment SET name = 's', updated_at = '2031-01-01'")
    parts = "SELECT id FROM critical_parts LIMIT 2"
    await execute(onboarding_url, f"DELETE FROM critical_parts WHERE id IN ({parts})")
    await execute(maintenance_url, "UPDATE equipment SET name = 'p', updated_at = '2030-01-01'")
    manual = msgspec.structs.replace(least, conflict="manual")
    assert (await sync(manual, ALL)).failures == []
    some = [one["id"] for one in await listed(least, "open")]
    assert (await resolve(least, some[:1], take="source")).status == "completed"
    assert (await retry(least)).failures == []
    assert (await verify(least, ALL)).verified.difference_count == 0
    monkeypatch.setenv("BULKMIG_KEY", f"{'0d' * 32},{'0c' * 32}")
    assert (await rotate(least)).total() > 0
    await grant(least, "officer", ["administer", "rollback"], Scope())
    await turn(least, on=True)
    assert (await rollback(least, run=first.run_id, force=True)).failures == []
    assert (await audit_log.export(least, "csv"))[1] > 5
    assert (await audit_log.verify(least)).problems == []


# Each single privilege that `--grants` prints: end, what to revoke, and how doctor calls it.
PRINTED = [
    (end, f"{privilege} ON {table}", table.removeprefix("public."))
    for end, text in grants().items()
    for privileges, tables in re.findall(r"^GRANT ([A-Z, ]+) ON\s+(public[^;]+?)\s*TO", text, re.MULTILINE)
    for privilege in privileges.split(", ")
    for table in re.split(r",\s+", tables)
]
NEEDED = [one for one in PRINTED if one[2] not in (AUDIT_LOG, *HANGING)]
Privileges = list[tuple[str, str, str]]
Some = Callable[[Privileges], Privileges]


def one_a_table(privileges: Privileges) -> Privileges:
    """Of each table one, and of all tables together each kind."""
    of_table: dict[tuple[str, str], Privileges] = {}
    for one in privileges:
        of_table.setdefault((one[0], one[2]), []).append(one)
    return [found[number % len(found)] for number, found in enumerate(of_table.values())]


SHARES = pytest.mark.parametrize(
    "some",
    [
        pytest.param(one_a_table, id="one of each table"),
        pytest.param(list, id="all", marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
# In turns: every privilege meets one of them.
COMMANDS: list[Callable[[Settings], Awaitable[object]]] = [
    lambda settings: migrate(settings, ALL),
    lambda settings: migrate(msgspec.structs.replace(settings, queue=True), ALL),
    lambda settings: work(settings, once=True),
    lambda settings: sync(settings, ALL),
    lambda settings: sync(msgspec.structs.replace(settings, queue=True), ALL),
]


@SHARES
async def test_each_privilege_that_is_taken_away_is_named_before_anything_is_touched(
    pg: Server, least: Settings, onboarding_url: str, maintenance_url: str, some: Some
) -> None:
    await generate_fleet(onboarding_url, SPEC)
    before = await dump(maintenance_url, schema="public")
    assert len(PRINTED) == len(read_columns()) + 1 + 4 * len((*written_columns(), *HANGING))
    for end, privilege, table in some(PRINTED):
        url, role = (onboarding_url, READER) if end == "source" else (maintenance_url, WRITER)
        await execute(url, f"REVOKE {privilege} FROM {role}")
        bad = [check for check in await examine(least) if not check.ok and check.name in OF_PRIVILEGES]
        assert [check.needed for check in bad] == [table not in (AUDIT_LOG, *HANGING)], privilege
        verb = "" if end == "source" else privilege.split()[0]
        assert table in bad[0].detail and verb in bad[0].detail, privilege  # noqa: PT018 - one sentence
        await execute(url, f"GRANT {privilege} TO {role}")
    for number, (end, privilege, table) in enumerate(some(NEEDED)):
        url, role = (onboarding_url, READER) if end == "source" else (maintenance_url, WRITER)
        await execute(url, f"REVOKE {privilege} FROM {role}")
        named = rf"table {table} may not be {'read' if end == 'source' else ''}"
        named += "" if end == "source" else rf".*{privilege.partition(' ')[0]}"
        with pytest.raises(PreflightError, match=named):
            await COMMANDS[number % len(COMMANDS)](least)
        await execute(url, f"GRANT {privilege} TO {role}")
    assert await dump(maintenance_url, schema="public") == before
    assert await fetchval(maintenance_url, "SELECT to_regclass('bulkmig.runs')") is None


OF_PRIVILEGES = {
    f"{end} privileges{of}" for end in ("source", "target") for of in ("", " for sync", " for rollback")
} | {"target ledger privileges", "source connection", "target connection"}


@SHARES
async def test_whatever_surrounds_the_tables_is_named_too(
    least: Settings, onboarding_url: str, maintenance_url: str, some: Some
) -> None:
    def take(url: str, what: str, role: str) -> tuple[str, str, str]:
        database = url.rpartition("/")[2]
        what = what.format(database=database)
        return url, f"REVOKE {what} FROM {role}, public", f"GRANT {what} TO {role}, public"

    for url, role, end in ((onboarding_url, READER, "source"), (maintenance_url, WRITER, "target")):
        for what, named in (
            ("CONNECT ON DATABASE {database}", "permission denied for database"),
            ("USAGE ON SCHEMA public", "the schema public: no USAGE"),
            ("TEMPORARY ON DATABASE {database}", "the database: no TEMPORARY"),
        ):
            if (end, what.split()[0]) == ("source", "TEMPORARY"):
                continue
            _, revoke, give = take(url, what, role)
            await execute(url, revoke)
            said = [c.detail for c in await examine(least) if c.name.startswith(end) and not c.ok]
            assert any(named in detail for detail in said), (end, what, said)
            await execute(url, give)
    await execute(maintenance_url, "ALTER SCHEMA bulkmig OWNER TO postgres")
    said = [check.detail for check in await examine(least) if check.name == "target ledger privileges"]
    assert "may not create" in said[0]
    await execute(maintenance_url, f"ALTER SCHEMA bulkmig OWNER TO {WRITER}")
    async with target_only(least, needs_ledger=False) as target:
        await schema.upgrade(target)
    tables = await fetchval(
        maintenance_url,
        "SELECT array_agg(relname::text ORDER BY 1) FROM pg_class"
        " WHERE relnamespace = 'bulkmig'::regnamespace AND relkind = 'r'",
    )
    fixed = ("audit", "audit_chain", "migrations")
    of_ledger = [
        ("target", privilege, table)
        for table in tables
        for privilege in ("SELECT", "INSERT", *(() if table in fixed else ("UPDATE", "DELETE")))
    ]
    for _, privilege, table in some(of_ledger):
        await execute(maintenance_url, f"REVOKE {privilege} ON bulkmig.{table} FROM {WRITER}")
        bad = [c for c in await examine(least) if c.name == "target ledger privileges" and not c.ok]
        assert f"bulkmig.{table}: no {privilege}" in bad[0].detail
        await execute(maintenance_url, f"GRANT {privilege} ON bulkmig.{table} TO {WRITER}")
    assert all(check.ok for check in await examine(least) if check.name in OF_PRIVILEGES)
