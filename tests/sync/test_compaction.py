"""The base of a vessel stays short however often it is synchronised, and rollbacks go on working."""

from __future__ import annotations

import pytest

from bulkmig import Settings, verify
from bulkmig.generate import FleetSpec
from bulkmig.ledger import compact
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, state, undone
from tests.support.dumps import apart
from tests.support.fleets import Origin
from tests.sync.scene import ALL, lasting

SPEC = FleetSpec(seed=6, vessels=1, companies=1, users_per_company=2, equipment=8)
HOLDING = "SELECT count(*) FROM bulkmig.base WHERE entity = 'equipment' AND holds"


async def test_parts_of_many_syncs_become_one_and_each_sync_can_be_undone(
    origin: Origin, config: Settings, maintenance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact, "MOST_RUNS", 2)
    runs, before = [], []
    for number in range(5):
        before.append(await state(maintenance_url))
        await execute(
            origin.url,
            f"UPDATE equipment SET model = 'changed {number}', updated_at = now()"
            f" WHERE id IN (SELECT id FROM equipment ORDER BY id OFFSET {number} LIMIT 2)",
        )
        if number == 2:
            await execute(
                origin.url,
                "BEGIN; SET LOCAL session_replication_role = replica;"
                " DELETE FROM equipment WHERE id = (SELECT max(id::text)::uuid FROM equipment); COMMIT",
            )
        runs.append(await sync(config, ALL))
        assert (runs[-1].status, runs[-1].verified.differences) == ("completed", [])
        assert await fetchval(maintenance_url, HOLDING) <= 1 + 2 * 3
    again = await sync(config, ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0
    assert (await verify(config, ALL)).verified.difference_count == 0
    for report, then in zip(reversed(runs), reversed(before), strict=True):
        await undone(config, report)
        assert apart(rows(then), rows(await state(maintenance_url))) == []


def rows(found: dict[str, bytes]) -> dict[str, bytes]:
    """Without the base, whose parts are others by now, of the same content."""
    return {name: lines for name, lines in lasting(found).items() if name != "bulkmig.base"}
