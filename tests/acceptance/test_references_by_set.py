"""The proof of references by one query names what leads nowhere, and nothing else."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import asyncpg
import pytest

from bulkmig import Selection, Settings, migrate
from bulkmig._core.unit import Decisions
from bulkmig.generate import FleetSpec
from bulkmig.target.references import dangling, foreign_keys
from tests.support.aftermath import until
from tests.support.fleets import Fleets
from tests.support.proxy import PATIENCE, Proxy

SPEC = FleetSpec(seed=3, vessels=3, equipment=30, exact=True, parts=3, documents=2)
WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted)"


async def test_what_leads_nowhere_is_named_once_for_each_kind_of_reference(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    settings = Settings(source=origin.url, target=maintenance_url, verify=False, fk_check="set")
    assert (await migrate(settings, Selection(all=True))).status == "completed"
    db = await asyncpg.connect(maintenance_url)
    try:
        keys = await foreign_keys(db, Decisions("fail", {}, {}))
        vessels = [row[0] for row in await db.fetch("SELECT vessel_id::text FROM bulkmig.vessels ORDER BY 1")]
        assert await dangling(db, keys, vessels) == []
        assert await dangling(db, [], vessels) == []
        # One equipment goes, and so does a user: what they leave behind lies on one vessel, and on several.
        await db.execute("SET session_replication_role = replica")
        gone = await db.fetchval("SELECT equipment_id FROM critical_parts ORDER BY id LIMIT 1")
        await db.execute("DELETE FROM equipment WHERE id = $1", gone)
        await db.execute("DELETE FROM users")
        columns = {
            (key.child, key.column)
            for key in keys
            if await db.fetchval(
                f"SELECT EXISTS (SELECT FROM {key.child} c LEFT JOIN {key.parent} p"
                f" ON p.{key.parent_column} = c.{key.column} WHERE c.{key.column} IS NOT NULL"
                f" AND p.{key.parent_column} IS NULL)"
            )
        }
        assert {("critical_parts", "equipment_id"), ("quality_scores", "assessed_by")} <= columns
        assert {(lost.child, lost.column) for lost in await dangling(db, keys, vessels)} == columns
        alone = {(o.child, o.column) for vessel in vessels for o in await dangling(db, keys, [vessel])}
        assert alone == columns
        (part,) = [o for o in await dangling(db, keys, vessels) if o.child == "critical_parts"]
        assert (
            await db.fetchval("SELECT equipment_id FROM critical_parts WHERE id::text = $1", part.id) == gone
        )
    finally:
        await db.close()


@pytest.mark.only_postgresql("SQLite has no planner that expects rows")
async def test_the_proof_goes_through_a_vessels_rows_once_whatever_the_planner_expects(
    fleets: Fleets, maintenance_url: str
) -> None:
    """What it knows is from before the second vessel, so that it expects next to no rows of that."""
    origin = await fleets(SPEC)
    settings = Settings(source=origin.url, target=maintenance_url, verify=False, fk_check="set")
    first, second, *_ = origin.approved
    assert (await migrate(settings, Selection(vessels=(first,)))).status == "completed"
    db = await asyncpg.connect(maintenance_url)
    try:
        await db.execute("ANALYZE")
        assert (await migrate(settings, Selection(vessels=(second,)))).status == "completed"
        keys = await foreign_keys(db, Decisions("fail", {}, {}))
        asked: list[str] = []

        class Heard:
            async def fetch(self, query: str) -> list[Any]:
                asked.append(query)
                return []

        await dangling(cast("Any", Heard()), keys, [second])
        ((plan,),) = await db.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {asked[0]}")
    finally:
        await db.close()
    assert [node["Node Type"] for node in nodes(json.loads(plan)[0]["Plan"]) if dropped(node)] == []


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan's nodes."""
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]


def dropped(node: dict[str, Any]) -> float:
    """How many pairs of rows a join looked at that don't belong together."""
    return cast("float", node.get("Rows Removed by Join Filter", 0)) * cast("float", node["Actual Loops"])


@pytest.mark.only_postgresql("a file has one writer")
async def test_nobody_deletes_what_a_vessel_refers_to_before_its_commit(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    async with Proxy(maintenance_url) as proxy:
        settings = Settings(source=origin.url, target=proxy.url, fk_check="set", parallel_vessels=1)
        hold = proxy.before("COMMIT after INSERT bulkmig.vessels")
        running = asyncio.ensure_future(migrate(settings, Selection(all=True)))
        await hold.reached()
        deleted = [await what_becomes_of(maintenance_url, f"DELETE FROM {t}") for t in ("users", "companies")]
        hold.release()
        report = await running
    assert deleted == ["waits", "waits"]
    assert (report.status, report.verified.difference_count) == ("completed", 0)


async def what_becomes_of(target: str, statement: str) -> str:
    """Whether the portal's statement waits for somebody, or what its status is."""
    db = await asyncpg.connect(target)
    try:
        await db.execute("SET lock_timeout = '100ms'")
        return await db.execute(statement)
    except asyncpg.LockNotAvailableError:
        return "waits"
    finally:
        await db.close()


@pytest.mark.only_postgresql("a file has one writer")
async def test_a_vessel_that_refers_to_a_user_who_is_about_to_go_fails(
    fleets: Fleets, maintenance_url: str
) -> None:
    """The portal has deleted the users and commits that when the vessel's proof waits for it."""
    origin = await fleets(SPEC)
    settings = Settings(source=origin.url, target=maintenance_url, fk_check="set", continue_on_error=True)
    first, second, *_ = origin.approved
    assert (await migrate(settings, Selection(vessels=(first,)))).status == "completed"
    db = await asyncpg.connect(maintenance_url)
    await db.execute("UPDATE quality_scores SET assessed_by = NULL")
    async with db.transaction():
        await db.execute("DELETE FROM users")
        running = asyncio.ensure_future(migrate(settings, Selection(vessels=(second,))))
        assert await until(lambda: db.fetchval(WAITS), PATIENCE)
    report = await running
    left = await db.fetchval("SELECT count(*) FROM quality_scores WHERE assessed_by IS NOT NULL")
    await db.close()
    assert [(one.vessel_id, one.phase) for one in report.failures] == [(second, "load")]
    assert "assessed_by names no row of users" in report.failures[0].error
    assert left == 0
