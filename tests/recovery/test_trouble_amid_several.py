"""Trouble amid a transaction of several vessels, as a migration and a sync write them by default. A
cause that passes fails none of them; one that stays fails each by its name, and nothing is there in part.
Once it is gone, or where the process was killed, the same command again ends as if it had never been."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import asyncpg
import pytest

from bulkmig import Report, Selection, Settings, migrate, rollback, sync, verify
from bulkmig.embedded import Server
from bulkmig.generate import FleetSpec
from tests.checkpoint.support import execute, fetchval, rows
from tests.recovery.test_bad_target import fill, small_disk
from tests.support.aftermath import left_behind, until
from tests.support.dumps import apart, dump
from tests.support.fleets import Fleets, Origin
from tests.support.programs import program
from tests.support.proxy import PATIENCE, Hold, Proxy
from tests.support.servers import Databases

SPEC = FleetSpec(seed=8, vessels=6, equipment=6, exact=True, companies=1)
ALL = Selection(all=True)
# How they write the equipment of all of them.
EQUIPMENT = {"migrate": "COPY equipment", "sync": "INSERT equipment"}
CHANGE = "UPDATE equipment SET model = 'changed', updated_at = '2031-01-01'"
COMMITS = "SELECT count(DISTINCT xmin::text) FROM bulkmig.vessels WHERE state = 'migrated'"


class Scene:
    """A command whose vessels are all written in one transaction, and the state of the target that it begins
    and ends with."""

    def __init__(self, name: str, origin: Origin, target: str, undisturbed: str) -> None:
        self.name, self.origin, self.target, self.undisturbed = name, origin, target, undisturbed
        self.before: dict[str, bytes] = {}
        self.after: dict[str, bytes] = {}

    def settings(self, target: str = "") -> Settings:
        return Settings(
            source=self.origin.url, target=target or self.target, continue_on_error=True, parallel_vessels=1,
            attempts=2, connect_timeout=1.0, outage=3.0,
        )  # fmt: skip

    def writes(self, proxy: Proxy) -> Hold:
        """Stops at the equipment of all of them."""
        key = EQUIPMENT[self.name]
        return proxy.amid(key) if self.name == "migrate" else proxy.before(key)

    def command(self, target: str = "") -> Awaitable[Report]:
        return (migrate if self.name == "migrate" else sync)(self.settings(target), ALL)

    async def check(self) -> None:
        """What an undisturbed run leaves is there, and nothing else of this one."""
        assert apart(self.after, await dump(self.target, schema="public")) == []
        assert (await verify(self.settings(), ALL)).verified.difference_count == 0
        assert await left_behind(self.origin.url, self.target) == []

    async def finishes(self) -> None:
        report = await self.command()
        assert (report.status, report.failures) == ("completed", [])
        await self.check()

    async def none_is_done(self, report: Report, *words: str) -> None:
        """Each has failed by its name, and the target is as it was."""
        told = {failure.vessel_id: failure.error for failure in report.failures}
        assert sorted(told) == sorted(self.origin.approved), report.failures
        assert [error for error in told.values() if not all(word in error for word in words)] == []
        assert (report.status, report.exit_status) == ("completed_with_failures", 1)
        assert (report.done, report.failed, report.remaining) == (0, 6, 0)
        # Companies and users may have come before.
        for name in ("vessels", "equipment", "critical_parts", "quality_scores", "cross_references"):
            found = await dump(self.target, schema="public")
            assert found[name] == self.before[name]


@pytest.fixture(params=["migrate", "sync"])
async def scene(request: pytest.FixtureRequest, fleets: Fleets, databases: Databases) -> Scene:
    origin = await fleets.changing(SPEC)
    undisturbed, target = databases("maintenance"), databases("maintenance")
    made = Scene(request.param, origin, target, undisturbed)
    report = await fleets.migrate(origin, made.settings(undisturbed))
    if made.name == "sync":
        await fleets.migrate(origin, made.settings(target))
        await execute(origin.url, CHANGE)
        report = await made.command(undisturbed)
    assert report.status == "completed"
    made.before = await dump(target, schema="public")
    assert await fetchval(undisturbed, COMMITS) == 1, "the vessels come together"
    made.after = await dump(undisturbed, schema="public")
    return made


async def _finishes_beside_a_user(scene: Scene, held: str, then: str) -> None:
    """The command waits for what a user of the portal has written and not committed; he does something more,
    and gives it all up."""
    connection = await asyncpg.connect(scene.target)
    try:
        await connection.execute("SET deadlock_timeout = '10min'")  # it isn't he who finds out
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(held)
        run = asyncio.ensure_future(scene.command())
        await _waits(scene.target)
        await connection.execute(then)
        await transaction.rollback()
    finally:
        await connection.close()
    report = await run
    assert (report.status, report.done, report.failures) == ("completed", 6, [])
    await scene.check()


async def _waits(target: str) -> None:
    """Until a session waits for a lock."""

    async def one() -> bool:
        return bool(await fetchval(target, "SELECT count(*) FROM pg_locks WHERE NOT granted"))

    assert await until(one, PATIENCE)


async def test_a_statement_that_is_cancelled_amid_several_fails_none_of_them(scene: Scene) -> None:
    """As by an administrator who sees it wait for a user of the portal."""
    cancelled = "SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted"
    await _finishes_beside_a_user(scene, "LOCK TABLE equipment IN EXCLUSIVE MODE", cancelled)


async def test_a_target_that_becomes_read_only_fails_each_by_that_name(scene: Scene, pg: Server) -> None:
    """As after a failover: sessions end, new ones may only read."""
    database = scene.target.rpartition("/")[2]
    async with Proxy(scene.target) as proxy:
        hold = scene.writes(proxy)
        run = asyncio.ensure_future(scene.command(proxy.url))
        session = await hold.reached()
        await execute(pg.url(), f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        await execute(pg.url(), f"SELECT pg_terminate_backend({session.pid}, 10000)")
        hold.release()
        report = await run
    await execute(pg.url(), f"ALTER DATABASE {database} RESET default_transaction_read_only")
    await scene.none_is_done(report, "read-only")
    await scene.finishes()


async def test_a_full_disk_fails_each_that_does_not_fit(scene: Scene, pg: Server) -> None:
    async with small_disk(pg, scene.target) as disk:
        async with Proxy(scene.target) as proxy:
            hold = scene.writes(proxy)
            run = asyncio.ensure_future(scene.command(proxy.url))
            await hold.reached()
            ballast = disk / "ballast"
            with pytest.raises(OSError, match="No space"):
                fill(ballast)
            hold.release()
            report = await run
        await scene.none_is_done(report, "No space left on device", "53100")
        ballast.unlink()
    await scene.finishes()


# What a user of the portal has written and not committed, and what he wants then of what they hold.
HOLDS = {
    "migrate": "WITH c AS (INSERT INTO companies (id, name, slug)"
    " VALUES (gen_random_uuid(), 'o', 'o') RETURNING id),"
    " v AS (INSERT INTO vessels (id, company_id, name) SELECT gen_random_uuid(), id, 'o' FROM c RETURNING id)"
    " INSERT INTO equipment (id, vessel_id, qr_code, name, status)"
    " SELECT gen_random_uuid(), id, '{label}', 'o', 'operational' FROM v",
    "sync": "UPDATE equipment SET name = 'o' WHERE qr_code = '{label}'",
}
WANTS = {
    "migrate": "SELECT FROM companies FOR UPDATE",
    "sync": "SELECT FROM equipment FOR UPDATE",
}


async def test_a_deadlock_with_a_user_of_the_portal_fails_none_of_them(scene: Scene) -> None:
    """They wait for him amid their equipment, he for what they have locked before; he gives up after all."""
    label = await fetchval(scene.undisturbed, "SELECT qr_code FROM equipment ORDER BY id DESC LIMIT 1")
    await _finishes_beside_a_user(scene, HOLDS[scene.name].format(label=label), WANTS[scene.name])


POINTS = [
    "after {equipment}",
    pytest.param("before INSERT bulkmig.checkpoints", marks=pytest.mark.long),
    pytest.param("before COMMIT after INSERT bulkmig.vessels", marks=pytest.mark.long),
    "after COMMIT after INSERT bulkmig.vessels",
]
CHANGES = "SELECT run_id::text FROM bulkmig.checkpoints GROUP BY 1 ORDER BY max(seq) DESC"


@pytest.mark.parametrize("point", POINTS)
async def test_killed_amid_several_the_same_command_again_ends_undisturbed(scene: Scene, point: str) -> None:
    """And what became of them goes back as if there had been no kill."""
    when, _, key = point.format(equipment=EQUIPMENT[scene.name]).partition(" ")
    async with Proxy(scene.target) as proxy:
        # Companies and users have checkpoints before them.
        occurrence = 2 if "checkpoints" in key and scene.name == "migrate" else 1
        hold = (proxy.before if when == "before" else proxy.after)(key, occurrence)
        command = (scene.name, "--all", "--continue-on-error", "--parallel-vessels", "1")
        async with program(scene.origin.url, proxy.url, *command) as started:
            await hold.reached()
            await started.kill()
    assert await left_behind(scene.origin.url, scene.target) == []
    found = await dump(scene.target, schema="public")
    there = scene.after if point.startswith("after COMMIT") else scene.before
    assert found["equipment"] == there["equipment"]
    await scene.finishes()
    changes = await rows(scene.target, CHANGES)
    for run in changes if scene.name == "migrate" else changes[:-1]:
        done = await rollback(scene.settings(), run=run)
        assert (done.status, done.failures) == ("completed", [])
    assert apart(scene.before, await dump(scene.target, schema="public")) == []
