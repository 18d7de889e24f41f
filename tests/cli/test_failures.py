"""However a command ends: one document on standard output, one JSON object a line on standard error where
that was asked for, and nothing touched where the status says so."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

import bulkmig.cli
from bulkmig._core.early import DOCUMENT
from bulkmig.cli.call import Call
from bulkmig.config import Settings
from bulkmig.report import Report
from tests.support.programs import program, run

NOWHERE = "postgresql://127.0.0.1:1/x"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("migrate", "--all", "--nonsense"), 2),
        (("migrate", str(uuid4())), 2),
        (("sync", str(uuid4())), 2),
        (("conflicts", "resolve", "x", "--take", "source"), 2),
        (("migrate", "--all", "--memory", "99999999999999GB"), 2),
        (("checkpoints", "prune", "--days", "nan"), 2),
        (("checkpoints", "prune", "--keep", "99999999999999999999"), 2),
        (("demo", "--nasty", "nan"), 2),
        (("verify", "--all"), 3),
        (("migrate", "--all", "--source", NOWHERE), 3),
    ],
)
async def test_a_refused_command_says_so_in_one_document_and_touches_nothing(
    onboarding_url: str, maintenance_url: str, arguments: tuple[str, ...], status: int
) -> None:
    ended = await run(onboarding_url, maintenance_url, *arguments)
    assert ended.status == status
    assert (ended.document["command"], ended.document["status"]) == (arguments[0], "failed")
    assert ended.document["error"]
    levels = [json.loads(line)["level"] for line in ended.said.splitlines()]
    assert levels.count("error") == 1
    target = await asyncpg.connect(maintenance_url)
    try:
        assert await target.fetchval("SELECT to_regnamespace('bulkmig')") is None
    finally:
        await target.close()


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("status", "--target", "postgresql://u:hush@127.0.0.1:1/x"), "--target"),
        (("lift", "sqlite:////nowhere.db", "postgresql://u:hush@127.0.0.1:1/x"), "POSTGRES_URL"),
    ],
)
async def test_a_password_on_the_command_line_is_warned_of(
    onboarding_url: str, maintenance_url: str, arguments: tuple[str, ...], where: str
) -> None:
    ended = await run(onboarding_url, maintenance_url, *arguments)
    warnings = [line for line in map(json.loads, ended.said.splitlines()) if line["level"] == "warning"]
    assert any(f"the password in {where} " in line["event"] for line in warnings)
    assert "hush" not in ended.said


_ANOTHER = """
INSERT INTO bulkmig.runs SELECT (jsonb_populate_record(r, jsonb_build_object('id', left(id::text, 35)
       || CASE right(id::text, 1) WHEN '0' THEN '1' ELSE '0' END))).* FROM bulkmig.runs r
RETURNING id::text
"""


async def test_a_beginning_that_several_runs_have_names_none(
    onboarding_url: str, maintenance_url: str, tmp_path: Path
) -> None:
    migrated = await run(onboarding_url, maintenance_url, "migrate", "--all")
    id_ = migrated.document["run_id"]
    target = await asyncpg.connect(maintenance_url)
    try:
        other = await target.fetchval(_ANOTHER)
    finally:
        await target.close()
    both = id_[:35]
    assert other.startswith(both)
    page = str(tmp_path / "run.html")
    for words in (("status", both), ("report", both, "--html", page), ("rollback", "--run", both)):
        ended = await run(onboarding_url, maintenance_url, *words)
        assert (ended.status, ended.document["error"]) == (2, f"several runs begin with {both}")
    for words in (("status", id_), ("report", id_.upper(), "--html", page)):
        assert (await run(onboarding_url, maintenance_url, *words)).status == 0


def test_the_document_of_a_command_that_is_stopped_at_once_has_every_key() -> None:
    document, full = json.loads(DOCUMENT % "migrate"), Report("migrate").document()
    assert set(full) - set(document) == {"memory", "timeline"}
    for key, value in document.items():
        if isinstance(value, dict) and key != "rows":
            assert value.items() <= full[key].items() or key in ("phases", "verification"), key


async def test_a_signal_while_the_program_is_being_loaded_ends_it_with_a_document(
    onboarding_url: str, maintenance_url: str
) -> None:
    """Whenever it comes: the program may be anywhere between its first import and its first query."""
    async with program(onboarding_url, maintenance_url, "migrate", "--all", cold=True) as started:
        await started.until(lambda: started.catches(signal.SIGTERM))
        await started.kill(signal.SIGTERM)
        ended = await started.ended()
    assert ended.status == 4
    assert (ended.document["command"], ended.document["status"]) == ("migrate", "stopped")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_whoever_watches_ends_it_in_good_order(
    onboarding_url: str, maintenance_url: str, number: int
) -> None:
    assert (await run(onboarding_url, maintenance_url, "init")).status == 0
    async with program(onboarding_url, maintenance_url, "status", "--watch") as watching:
        await watching.until(lambda: watching.printed.endswith("}\n"))
        await watching.kill(number)
        ended = await watching.ended()
    assert (ended.status, ended.document["runs"], ended.said) == (4, [], "")


@pytest.mark.parametrize("as_json", [False, True])
def test_what_ended_a_run_before_its_end_is_said_whatever_the_command(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    report = Report("sync")
    report.fail("the target is lost", "run the same command again")
    Call(Settings(), None, as_json, False, False, "text", "info", {}).tell(report)
    assert capsys.readouterr().err == "error: the target is lost\n  hint: run the same command again\n"


def test_people_read_how_many_rows_went_and_how_many_conflicts_there_were(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report("sync", deleted=Counter(equipment=3), conflicts=Counter(open=1, merge=2))
    Call(Settings(), None, False, False, False, "text", "info", {}).tell(report)
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["table", "inserted", "updated", "deleted"] in said
    assert ["equipment", "0", "0", "3"] in said
    assert ["conflicts", "2", "decided,", "1", "open"] in said


def test_no_command_tells_of_a_run_in_a_way_of_its_own() -> None:
    """But for the demo, which has three to tell of."""
    verbs = Path(bulkmig.cli.__file__).parent.glob("verb_*.py")
    own = {verb.stem for verb in verbs if re.search(r"summary\.show|report\.document\(\)", verb.read_text())}
    assert own == {"verb_demo"}
