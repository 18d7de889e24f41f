"""`bulkmig bench`: what it measures, whose databases it makes, and when an expectation counts as missed."""

from __future__ import annotations

import json

import asyncpg
import pytest

from bulkmig.cli import app as program
from bulkmig.cli import bench
from bulkmig.cli.bench import EXPECTED, SYNC_EXPECTED, Result
from bulkmig.cli.measure import Cost
from bulkmig.embedded import Server
from bulkmig.generate import FleetSpec
from tests.support.fleets import Fleets
from tests.support.programs import run as run_program


async def databases_of(pg: Server) -> list[str]:
    connection = await asyncpg.connect(pg.url())
    try:
        return [row[0] for row in await connection.fetch("SELECT datname FROM pg_database ORDER BY 1")]
    finally:
        await connection.close()


async def test_it_measures_on_the_servers_that_are_named_and_leaves_nothing_there(pg: Server) -> None:
    before = await databases_of(pg)
    servers = (pg.url(), pg.url())
    ended = await run_program(
        *servers,
        "bench",
        "--source",
        servers[0],
        "--target",
        servers[1],
        "--yes",
        "--sizes",
        "3",
        "--repeat",
        "1",
    )
    assert ended.status in (0, 1), ended.said
    assert await databases_of(pg) == before
    document = ended.document
    migrated, synced = document["benchmarks"]
    assert (migrated["expected_seconds"], synced["expected_seconds"]) == (EXPECTED[500], SYNC_EXPECTED)
    assert migrated["rows"] > 3 * 2
    assert synced["rows"] > 0
    for result in (migrated, synced):
        assert 0 < result["seconds"]["least"] <= result["seconds"]["median"] <= result["seconds"]["greatest"]
        assert {"extract", "validate", "transform", "load", "verify"} <= result["phases"].keys()
    met = migrated["met"] and synced["met"]
    assert ended.status == (0 if met else 1)
    assert document["status"] == ("completed" if met else "completed_with_failures")


async def test_its_changes_fit_however_often_they_are_repeated(fleets: Fleets) -> None:
    origin = await fleets.changing(FleetSpec(seed=0, vessels=1, equipment=3, exact=True))
    connection = await asyncpg.connect(origin.url)
    try:
        for _ in range(101):
            await connection.execute(bench._CHANGES.format(half=bench.CHANGES // 2))
        names = "SELECT string_agg(name, '' ORDER BY id) FROM equipment"
        before = await connection.fetchval(names)
        await connection.execute(bench._CHANGES.format(half=bench.CHANGES // 2))
        assert await connection.fetchval(names) != before
    finally:
        await connection.close()


def test_an_expectation_is_missed_by_the_median_not_by_one_run() -> None:
    def result(*walls: float) -> Result:
        return Result("any", 7.0, 1, [Cost(wall, 0.0, 0) for wall in walls])

    assert result(1.0, 7.0, 90.0).met
    assert not result(1.0, 7.1, 7.2).met
    assert result(2.0, 1.0).document()["seconds"] == {"median": 1.5, "least": 1.0, "greatest": 2.0}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--source", "postgresql://nobody@127.0.0.1:1/none"),
        ("--source", "postgresql://nobody@127.0.0.1:1/none", "--target", "postgresql://nobody@127.0.0.1:1/x"),
        ("--sizes", "many"),
        ("--sizes", "0"),
    ],
    ids=["one server only", "not agreed to", "no numbers", "no equipment"],
)
def test_what_it_cannot_mean_touches_nothing(
    arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["bulkmig", "bench", *arguments, "--json"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 2
    assert json.loads(capfd.readouterr().out)["status"] == "failed"
