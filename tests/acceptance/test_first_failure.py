"""Without --continue-on-error a run starts no further vessel after one has failed, also where small vessels
are read together."""

from __future__ import annotations

import asyncpg
import pytest

from bulkmig import Selection, Settings, migrate
from bulkmig._core.ids import id_range
from bulkmig.generate import FleetSpec
from tests.support.fleets import Fleets

SPEC = FleetSpec(seed=8, vessels=6, equipment=6, exact=True, companies=1)


@pytest.mark.parametrize(("go_on", "done", "failed", "remaining"), [(False, 2, 1, 3), (True, 4, 2, 0)])
async def test_the_rest_of_the_fleet_stops_after_the_vessels_in_flight(
    fleets: Fleets, maintenance_url: str, go_on: bool, done: int, failed: int, remaining: int
) -> None:
    origin = await fleets(SPEC, fresh=True)
    in_turn = sorted(origin.approved, key=id_range)  # as vessels of one size are taken
    wrong = [in_turn[2], in_turn[4]]
    source, target = await asyncpg.connect(origin.url), await asyncpg.connect(maintenance_url)
    try:
        await source.execute(
            "UPDATE equipment SET name = NULL WHERE vessel_id = ANY ($1::text[]::uuid[])", wrong
        )
        settings = Settings(
            source=origin.url, target=maintenance_url, parallel_vessels=1, continue_on_error=go_on
        )
        report = await migrate(settings, Selection(all=True))
        assert (report.done, report.failed, report.remaining) == (done, failed, remaining)
        assert [failure.vessel_id for failure in report.failures] == wrong[:failed]
        assert report.exit_status == 1
        assert await target.fetchval("SELECT count(*) FROM vessels") == done
        assert await target.fetchval("SELECT count(*) FROM bulkmig.vessels") == done + failed
        # The next run takes up what is left.
        await source.execute("UPDATE equipment SET name = 'x' WHERE name IS NULL")
        again = await migrate(settings, Selection(all=True))
        assert (again.done, again.skipped, again.exit_status) == (6 - done, done, 0)
    finally:
        await source.close()
        await target.close()
