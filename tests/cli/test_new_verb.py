"""A command is one file: with it in `cli/`, the program knows it, its help and the shared options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bulkmig.generate import FleetSpec
from tests.checkpoint.support import execute
from tests.support.fleets import Fleets
from tests.support.packages import with_file
from tests.support.programs import said

VERB = Path(__file__).parent / "new_verb" / "verb_drift.py"
SPEC = FleetSpec(seed=4, vessels=1, companies=1, users_per_company=1, equipment=3)


@pytest.mark.slow
async def test_a_verb_is_one_file(fleets: Fleets, maintenance_url: str, tmp_path: Path) -> None:
    with with_file(tmp_path, VERB, "cli", (await fleets(SPEC)).url) as package:
        await package.call("migrate", "--all", target=maintenance_url)
        assert (await package.call("drift", "--all", target=maintenance_url))["drift"] == 0
        await execute(maintenance_url, "UPDATE vessels SET name = 'another'")
        assert (await package.call("drift", "--all", target=maintenance_url, status=1))["drift"] == 1
        assert (await package.call("drift", "--all", "--most", "1", target=maintenance_url))["drift"] == 1

        refused = await package.call("drift", "--all", "--most", "-1", target=maintenance_url, status=2)
        assert (refused["command"], refused["status"]) == ("drift", "failed")
        help_ = (await said("--help", where=package.where)).stdout
        assert re.search(r"\bdrift +Says no more than how many", help_)
