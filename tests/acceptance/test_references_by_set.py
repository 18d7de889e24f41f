"""The proof of references by one query names what leads nowhere, and nothing else."""

from __future__ import annotations

import asyncpg

from bulkmig import Selection, Settings, migrate
from bulkmig._core.unit import Decisions
from bulkmig.generate import FleetSpec
from bulkmig.target.references import dangling, foreign_keys
from tests.support.fleets import Fleets

SPEC = FleetSpec(seed=3, vessels=3, equipment=30, exact=True, parts=3, documents=2)


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
