"""A newcomer's path: every command of the README's walk, in its order, as it is printed there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import asyncpg
import pytest

from bulkmig.generate import FleetSpec, generate_fleet
from tests.support.programs import said
from tests.test_docs import ROOT

WALK = "## Your own databases"
# What the page has as examples, and a newcomer replaces by what was printed before.
IMO, VESSEL, RUN = "9074729", "5ae28c1f-26d1-4f8a-9a55-b6b1d0f3c1d4", "0b9d5c1e"
ROW = "equipment:cf48161f-3eca-42dc-873f-15a74940f8f0"

_AS_ON_THE_PAGE = f"""
SET session_replication_role = replica;
CREATE TEMPORARY TABLE one AS SELECT id FROM vessels WHERE onboarding_status = 'APPROVED' ORDER BY id LIMIT 1;
UPDATE equipment SET vessel_id = '{VESSEL}' WHERE vessel_id IN (SELECT id FROM one);
UPDATE locations SET vessel_id = '{VESSEL}' WHERE vessel_id IN (SELECT id FROM one);
UPDATE documents SET vessel_id = '{VESSEL}' WHERE vessel_id IN (SELECT id FROM one);
UPDATE quality_scores SET vessel_id = '{VESSEL}' WHERE vessel_id IN (SELECT id FROM one);
UPDATE cross_references SET vessel_id = '{VESSEL}' WHERE vessel_id IN (SELECT id FROM one);
UPDATE vessels SET id = '{VESSEL}', imo_number = '{IMO}' WHERE id IN (SELECT id FROM one);
UPDATE equipment SET id = '{ROW.partition(":")[2]}', name = ' '
 WHERE id = (SELECT id FROM equipment e
              WHERE NOT EXISTS (SELECT FROM critical_parts p WHERE p.equipment_id = e.id)
                AND NOT EXISTS (SELECT FROM documents d WHERE d.equipment_id = e.id)
                AND NOT EXISTS (SELECT FROM quality_scores s WHERE s.equipment_id = e.id)
                AND NOT EXISTS (SELECT FROM cross_references c
                                 WHERE e.id IN (c.source_equipment_id, c.target_equipment_id)) LIMIT 1);
"""


def steps() -> list[str]:
    """The commands of the walk's blocks."""
    walk = (ROOT / "README.md").read_text(encoding="utf-8").partition(WALK)[2]
    blocks = re.findall(r"^ *```\n(.*?)^ *```", walk.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("bulkmig ")]


@pytest.mark.timeout(300)
async def test_every_command_of_the_walk_does_what_the_page_says(
    onboarding_url: str, maintenance_url: str, tmp_path: Path
) -> None:
    """Status 0 all the way; after the last step, no vessel is left."""
    spec = FleetSpec(seed=11, vessels=4, equipment=20, parts=1, documents=1, companies=2, users_per_company=2)
    await generate_fleet(onboarding_url, spec)
    connection = await asyncpg.connect(onboarding_url)
    await connection.execute(
        "DELETE FROM critical_parts WHERE id IN (SELECT id FROM critical_parts LIMIT 30)"
    )
    await connection.execute(_AS_ON_THE_PAGE)
    ends = {"ONBOARDING_DB_URL": onboarding_url, "MAINTENANCE_DB_URL": maintenance_url}

    async def call(line: str) -> subprocess.CompletedProcess[str]:
        program, *words = shlex.split(line)
        assert program == "bulkmig"
        return await said(*words, environment=ends, directory=tmp_path)

    async def last_migration() -> str:
        runs = json.loads((await call("bulkmig status --json")).stdout)["runs"]
        return str(next(run["id"] for run in runs if run["command"] == "migrate"))

    commands = steps()
    verbs = [re.sub(r"^bulkmig ((?:[a-z]+ ?)+).*", r"\1", line).strip() for line in commands]
    assert [verb for verb in verbs if verb in ("plan", "migrate", "rollback", "sync")] == (
        ["plan", "migrate", "rollback", "migrate", "sync", "rollback"]
    )
    for line in commands:
        if line == "bulkmig quarantine retry":
            await connection.execute("UPDATE equipment SET name = 'mended' WHERE name = ' '")
        if line.startswith("bulkmig sync"):
            await connection.execute("UPDATE equipment SET model = 'II', updated_at = now()")
        if RUN in line:
            line = line.replace(RUN, (await last_migration())[:8])
        done = await call(line)
        # `plan` tells of the row with an error, `doctor` that a superuser may too much.
        fine = (0, 1) if line.startswith(("bulkmig plan", "bulkmig doctor")) else (0,)
        assert done.returncode in fine, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "night.html").stat().st_size > 10_000
    target = await asyncpg.connect(maintenance_url)
    for table in ("vessels", "equipment", "equipment_documents", "cross_references"):
        assert await target.fetchval(f"SELECT count(*) FROM {table}") == 0
    await connection.close()
    await target.close()
