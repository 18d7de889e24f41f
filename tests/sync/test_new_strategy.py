"""A conflict strategy is one file: with it in `sync/strategies/`, the command line knows it by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkmig import UsageError
from bulkmig.generate import FleetSpec
from bulkmig.sync.strategies import named
from tests.checkpoint.support import execute, fetchval
from tests.support.fleets import Fleets
from tests.support.packages import with_file

STRATEGY = Path(__file__).parent / "new_strategy" / "longest.py"
SPEC = FleetSpec(seed=4, vessels=1, companies=1, users_per_company=1, equipment=3)


@pytest.mark.slow
async def test_a_strategy_is_one_file(fleets: Fleets, maintenance_url: str, tmp_path: Path) -> None:
    source = (await fleets(SPEC, fresh=True)).url
    with with_file(tmp_path, STRATEGY, "sync/strategies", source) as package:
        await package.call("migrate", "--all", target=maintenance_url)
        id_ = await fetchval(maintenance_url, "SELECT min(original_id::text) FROM equipment_metadata")
        its = f"(SELECT equipment_id FROM equipment_metadata WHERE original_id = '{id_}')"
        await execute(
            source,
            "UPDATE equipment SET name = 'short', model = 'a long model', updated_at = now()"
            f" WHERE id = '{id_}'",
        )
        await execute(
            maintenance_url,
            f"UPDATE equipment SET name = 'a long name', model = '-', updated_at = now() WHERE id = {its}",
        )
        synced = await package.call("sync", "--all", "--conflict", "longest", target=maintenance_url)
        assert synced["conflicts"]["resolved"]["longest"] == 1
        assert (
            await fetchval(maintenance_url, f"SELECT name || '/' || model FROM equipment WHERE id = {its}")
            == "a long name/a long model"
        )
        (conflict,) = (await package.call("conflicts", "list", target=maintenance_url))["conflicts"]
        assert conflict["strategy"] == "longest"


def test_a_strategy_that_is_none_is_refused_with_the_nearest_that_is() -> None:
    with pytest.raises(UsageError, match="'merg' is no conflict strategy") as refused:
        named("merg")
    assert refused.value.hint == "did you mean merge?"
