"""What the portal calls its own columns and tables is its business."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bulkmig import PreflightError, Selection, Settings, migrate, rollback
from bulkmig.generate import FleetSpec
from tests.oracle.file import path_of
from tests.support.files import portal
from tests.support.fleets import Fleets

SPEC = FleetSpec(vessels=2, equipment=5, nasty=0.0, least=1, seed=9)
ALL = Selection(all=True)
OWN = (
    'ALTER TABLE equipment ADD COLUMN "order" TEXT',
    'ALTER TABLE equipment ADD COLUMN "Built ""by""" TEXT DEFAULT \'x\'',
    'CREATE TABLE "select" (id INTEGER PRIMARY KEY, "group" TEXT UNIQUE, "Of vessel" INTEGER'
    " REFERENCES vessels ON DELETE CASCADE)",
    'CREATE TABLE "Two Words" (id INTEGER PRIMARY KEY)',
)
MINE = (
    "UPDATE equipment SET \"order\" = 'mine ' || id",
    'INSERT INTO "select" ("group", "Of vessel") SELECT name, id FROM vessels',
)
HELD = ("SELECT * FROM equipment ORDER BY id", 'SELECT * FROM "select" ORDER BY id')


async def test_own_columns_and_tables_of_any_name_go_and_come_back_with_their_vessel(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets(SPEC)
    target = portal(tmp_path / "portal.db")
    settings = Settings(source=origin.url, target=target)
    connection = sqlite3.connect(path_of(target), isolation_level=None)
    for statement in OWN:
        connection.execute(statement)
    first = await migrate(settings, ALL)
    for statement in MINE:
        connection.execute(statement)
    before = [connection.execute(query).fetchall() for query in HELD]
    assert all(before)
    refused = await rollback(settings, run=first.run_id)
    assert {row.table for row in refused.refused} == {"select"}  # cells that nobody maps are no drift
    gone = await rollback(settings, run=first.run_id, force=True)
    assert [connection.execute(query).fetchall() for query in HELD] == [[], []]
    assert (await rollback(settings, run=gone.run_id)).status == "completed"
    assert [connection.execute(query).fetchall() for query in HELD] == before
    connection.close()


async def test_a_table_of_several_words_that_hangs_on_others_is_named(fleets: Fleets, tmp_path: Path) -> None:
    origin = await fleets(SPEC)
    target = portal(tmp_path / "portal.db")
    connection = sqlite3.connect(path_of(target), isolation_level=None)
    connection.execute('CREATE TABLE "Two Words" (vessel INTEGER REFERENCES vessels)')
    connection.close()
    with pytest.raises(PreflightError, match="'Two Words' refers to other tables") as refused:
        await migrate(Settings(source=origin.url, target=target), ALL)
    assert "rename" in refused.value.hint
