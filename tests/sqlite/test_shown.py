"""People know the rows of a file by their numbers: what a command tells them of a row has that, wherever."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from bulkmig import Selection, Settings, migrate, rollback, sync
from bulkmig.generate import FleetSpec
from bulkmig.sync.resolve import listed, resolve
from tests.checkpoint.support import execute
from tests.oracle.file import path_of
from tests.support.files import portal
from tests.support.fleets import Fleets
from tests.support.programs import said

SPEC = FleetSpec(seed=41, vessels=3, equipment=6, companies=1, users_per_company=4, least=0)
ALL = Selection(all=True)


def asked(url: str, query: str, *values: object) -> list[object]:
    """The first column; what is written stays."""
    connection = sqlite3.connect(path_of(url))
    try:
        with connection:
            return [row[0] for row in connection.execute(query, values)]
    finally:
        connection.close()


async def test_rows_that_stay_in_a_rollback_because_others_use_them_are_listed_by_their_numbers(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets(SPEC)
    settings = Settings(source=origin.url, target=portal(tmp_path / "portal.db"))
    first, *others = origin.approved
    run = await migrate(settings, Selection(vessels=(first,)))
    await migrate(settings, Selection(vessels=tuple(others)))
    back = await rollback(settings, run=run.run_id)
    assert back.status == "completed"
    stayed = {(row["table"], row["id"]) for row in back.notes["stayed"]}
    assert ("companies", str(asked(settings.target, "SELECT id FROM companies")[0])) in stayed
    users = {str(number) for number in asked(settings.target, "SELECT id FROM users")}
    assert {id_ for table, id_ in stayed if table in ("users", "user_metadata")} == users


async def test_the_row_that_has_what_is_to_come_back_is_named_by_its_number(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets(SPEC)
    settings = Settings(source=origin.url, target=portal(tmp_path / "portal.db"))
    await migrate(settings, ALL)
    vessel = origin.approved[0]
    number = next(row["imo_number"] for row in origin.rows.vessels if row["id"] == vessel)
    back = await rollback(settings, vessel=vessel)
    taker = "INSERT INTO vessels (id, company_id, name, imo_number) SELECT 7001, id, 'own', ? FROM companies"
    asked(settings.target, taker, number)
    words = ("rollback", "--run", back.run_id, "--force", "--json", "--log-format", "json")
    ended = await said(*words, environment={"MAINTENANCE_DB_URL": settings.target})
    (failure,) = json.loads(ended.stdout)["failures"]
    assert "belongs to row 7001\n" in failure["error"]
    assert "give vessels 7001 another imo_number" in failure["error"]
    (failed,) = [json.loads(line) for line in ended.stderr.splitlines() if "vessel failed" in line]
    assert "belongs to row 7001" in failed["error"]


async def test_so_is_the_row_that_has_what_a_decision_would_write(fleets: Fleets, tmp_path: Path) -> None:
    origin = await fleets.changing(SPEC)
    settings = Settings(source=origin.url, target=portal(tmp_path / "portal.db"))
    await migrate(settings, ALL)
    vessel = origin.approved[0]
    change = "UPDATE vessels SET imo_number = '9074729', updated_at = '2031-01-01' WHERE id = $1::text::uuid"
    await execute(origin.url, change, vessel)
    renamed = "UPDATE vessels SET name = 'by the crew' WHERE imo_number = ?"
    number = next(row["imo_number"] for row in origin.rows.vessels if row["id"] == vessel)
    asked(settings.target, renamed, number)
    await sync(Settings(source=origin.url, target=settings.target, conflict="manual"), ALL)
    taker = "INSERT INTO vessels (id, company_id, name, imo_number) SELECT 7001, id, 'own', ? FROM companies"
    asked(settings.target, taker, "9074729")
    (conflict,) = await listed(settings)
    report = await resolve(settings, [conflict["id"]], take="source")
    assert "another row of vessels (7001)" in report.failures[0].error
