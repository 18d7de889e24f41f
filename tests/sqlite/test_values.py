"""Values that SQLite's typing would bend are exact in the file, and after a lift what a direct migration
makes of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import asyncpg
import polars as pl
import pytest

from bulkmig import Selection, Settings, migrate
from bulkmig.generate import FleetSpec
from bulkmig.lift.run import lift
from bulkmig.sqlite import functions, values
from tests.oracle.file import path_of
from tests.support.dumps import apart, dump
from tests.support.files import portal
from tests.support.fleets import Fleets
from tests.support.servers import Databases

SPEC = FleetSpec(vessels=1, equipment=8, exact=True, parts=1, documents=1, seed=3)
ALL = Selection(all=True)
LARGE = 2**53 + 1
TEXTS = ("007", "1e5", "0x10", "9007199254740993", "12345678901234567890.10", " 1 ", "+1", "1.0")
BENT = f"""
UPDATE documents SET file_size = {LARGE};
UPDATE vessels SET gross_tonnage = 12.50;
UPDATE equipment SET metadata = '{{"n": 12345678901234567890.123456789, "big": {LARGE}, "z": 1.500}}';
UPDATE equipment e SET manufacturer = t.text, model = t.text, serial_number = NULL, notes = t.text
  FROM (SELECT id, (ARRAY{list(TEXTS)})[row_number() OVER (ORDER BY id)] AS text FROM equipment) t
 WHERE t.id = e.id;
"""


@pytest.mark.parametrize(
    "moment",
    [
        *("2024-05-01 07:30:00+00", "2024-05-01 07:30:00.12+00", "2024-05-01 07:30:00.000001+00"),
        *("2024-12-31 23:50:00.100000+00", "2000-10-10 10:00:10+00", "infinity", "0044-03-15 00:00:00+00 BC"),
        *("12345-01-01 00:00:00+00", "2024-05-01T07:30:00.123Z", "2024-05-01T07:30:00Z", "soon", "", None),
    ],
)
def test_a_column_of_times_is_spelled_as_each_of_them_alone(moment: str | None) -> None:
    connection = sqlite3.connect(":memory:")
    functions.register(connection)
    (there,) = connection.execute(f"SELECT {values.stored('timestamptz', '?1')}", (moment,)).fetchone()
    (back,) = connection.execute(f"SELECT {values.printed('timestamptz', '?1')}", (there,)).fetchone()
    connection.close()
    column = pl.DataFrame({"at": [moment, None]}, schema={"at": pl.String})
    stored = column.select(values.store("timestamptz", "at"))
    assert stored["at"].to_list() == [there, None]
    assert stored.select(values.show("at"))["at"].to_list() == [back, None]


async def test_numbers_decimals_booleans_and_texts_that_look_like_numbers_are_exact_both_ways(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    origin = await fleets(SPEC, fresh=True)
    source = await asyncpg.connect(origin.url)
    await source.execute(BENT)
    await source.close()
    file, lifted, direct = portal(tmp_path / "portal.db"), databases("maintenance"), databases("maintenance")
    for target in (file, direct):
        settings = Settings(source=origin.url, target=target, continue_on_error=True)
        report = await migrate(settings, ALL)
        assert (report.status, report.verified.difference_count) == ("completed", 0)
    connection = sqlite3.connect(path_of(file))

    def held(query: str) -> set[object]:
        return {row if len(row) > 1 else row[0] for row in connection.execute(query)}

    assert held("SELECT file_size, typeof(file_size) FROM equipment_documents") == {(LARGE, "integer")}
    assert held("SELECT gross_tonnage FROM vessel_details") == {"12.50"}
    assert held("SELECT causes_failure, typeof(causes_failure) FROM critical_parts") <= {
        (0, "integer"), (1, "integer"),
    }  # fmt: skip
    assert held("SELECT manufacturer FROM equipment") == set(TEXTS)
    assert held("SELECT DISTINCT typeof(notes) FROM equipment_metadata") == {"text"}
    (said,) = held("SELECT DISTINCT original_metadata FROM equipment_metadata")
    assert "12345678901234567890.123456789" in str(said)
    assert "1.500" in str(said)
    connection.close()
    report = await lift(Settings(), file, lifted)
    assert (report.status, report.verified.difference_count) == ("completed", 0)
    assert set(report.lossiness) == {"value.out_of_range"}  # PostgreSQL's column of sizes has 32 bits
    one, other = [await dump(url, schema="public") for url in (direct, lifted)]
    assert apart(one, other) == []
