"""Under the roles that `doctor --grants` prints everything works, and what is taken away is named before
anything is touched."""

from __future__ import annotations

from collections.abc import Iterator

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
from bulkmig.doctor import examine, grants
from bulkmig.doctor.grants import HANGING, READER, WRITER
from bulkmig.doctor.schemas import AUDIT_LOG, read_columns, written_columns
from bulkmig.embedded import Server
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.operators import Scope, grant, turn
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


PRIVILEGES = [
    *(("source", f"SELECT ON {table}", table) for table in read_columns()),
    *(
        ("target", f"{privilege} ON {table}", table)
        for table in written_columns()
        for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE")
    ),
]


async def test_each_privilege_that_is_taken_away_is_named_before_anything_is_touched(
    pg: Server, least: Settings, onboarding_url: str, maintenance_url: str
) -> None:
    await generate_fleet(onboarding_url, SPEC)
    before = await dump(maintenance_url, schema="public")
    for end, privilege, table in PRIVILEGES:
        url, role = (onboarding_url, READER) if end == "source" else (maintenance_url, WRITER)
        await execute(url, f"REVOKE {privilege} FROM {role}")
        bad = [check for check in await examine(least) if check.needed and not check.ok]
        assert [check.name for check in bad] == [f"{end} privileges"], privilege
        assert table in bad[0].detail, privilege
        await execute(url, f"GRANT {privilege} TO {role}")
    needed = [one for one in PRIVILEGES if one[1].startswith(("SELECT", "INSERT"))]  # for new rows
    for end, privilege, _ in needed[:: len(needed) // 6]:
        url, role = (onboarding_url, READER) if end == "source" else (maintenance_url, WRITER)
        await execute(url, f"REVOKE {privilege} FROM {role}")
        with pytest.raises(PreflightError):
            await migrate(least, ALL)
        await execute(url, f"GRANT {privilege} TO {role}")
    assert await dump(maintenance_url, schema="public") == before
    assert await fetchval(maintenance_url, "SELECT to_regclass('bulkmig.runs')") is None
    assert {AUDIT_LOG, *HANGING}.isdisjoint(table for _, _, table in PRIVILEGES)
