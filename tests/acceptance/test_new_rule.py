"""A validation rule is one value in its entity's file: every command knows it from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkmig.entities import quality_score
from bulkmig.generate import FleetSpec
from tests.checkpoint.support import fetchval
from tests.support.fleets import Fleets
from tests.support.packages import with_file

SPEC = FleetSpec(seed=4, vessels=1, companies=1, users_per_company=1, equipment=3)
BEFORE = "    rules=(\n"
RULE = """\
        Rule(
            "score.too_good",
            "score",
            pl.col("score") == "100",
            "nothing is perfect: assess it again",
            quarantine=True,
        ),
"""


def with_rule(where: Path) -> Path:
    """The entity's file with the rule in it."""
    file = where / "quality_score.py"
    text = Path(quality_score.__file__).read_text(encoding="utf-8")
    file.write_text(text.replace(BEFORE, BEFORE + RULE), encoding="utf-8")
    return file


@pytest.mark.slow
async def test_a_rule_is_one_value_in_one_file(fleets: Fleets, maintenance_url: str, tmp_path: Path) -> None:
    source = (await fleets(SPEC, fresh=True)).url
    perfect = await fetchval(
        source,
        "WITH it AS (UPDATE quality_scores SET score = 100"
        " WHERE id = (SELECT min(id::text)::uuid FROM quality_scores) RETURNING id) SELECT id::text FROM it",
    )
    others = await fetchval(source, "SELECT count(*) FROM quality_scores WHERE score < 100")
    with with_file(tmp_path / "package", with_rule(tmp_path), "entities", source) as package:
        found = (await package.call("validate", "--all", target=maintenance_url))["findings"]["by_code"]
        assert found["score.too_good"] >= 1
        migrated = await package.call("migrate", "--all", "--on-error", "quarantine", target=maintenance_url)
        assert migrated["quarantined"]["quality_scores"] == found["score.too_good"]
        assert migrated["rows"]["quality_scores"]["inserted"] == others
        verified = await package.call("verify", "--all", target=maintenance_url)
        assert verified["verification"]["differences"] == []
        listed = (await package.call("quarantine", "list", target=maintenance_url))["quarantine"]
        assert {(row["code"], row["source_id"]) for row in listed} >= {("score.too_good", perfect)}
