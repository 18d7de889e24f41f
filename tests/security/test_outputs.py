"""Names of ships that would steer a terminal, forge a line, or run in a browser steer nothing."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest

from bulkmig import Settings
from bulkmig.cli.output import harmless
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.monitor import serve
from tests.security.heard import Heard, execute, with_password

SPEC = FleetSpec(seed=36, vessels=2, companies=1, equipment=3, nasty=0.0, least=0)
# Sets a terminal's title, clears it (also in one byte), turns a line around, forges one, is markup.
NAME = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202egnp.\u2028\nerror: forged\r[red]x[/red]</script><img src=x>"
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture
async def fleet(onboarding_url: str) -> None:
    await generate_fleet(onboarding_url, SPEC)


@pytest.fixture
def heard(fleet: None, onboarding_url: str, maintenance_url: str, capfd: pytest.CaptureFixture[str]) -> Heard:
    execute(
        onboarding_url, *(f"UPDATE {table} SET name = E'{escaped()}'" for table in ("vessels", "equipment"))
    )
    return Heard(capfd, with_password(onboarding_url), with_password(maintenance_url))


def escaped() -> str:
    return "".join(f"\\u{ord(c):04x}" for c in NAME)


def test_no_output_is_steered_by_a_name(heard: Heard, maintenance_url: str, tmp_path: Path) -> None:
    operator = ("--operator", f"=cmd|{NAME}")

    def run(*words: str) -> str:
        said = heard(*words, *operator)[1].replace("\r\n", "\n")  # the ends of lines of CSV
        assert not OBEYED.search(said), (words, said)
        assert not re.search("^error: forged", said, re.MULTILINE), words
        return said

    for words in (
        ("plan", "--all"), ("validate", "--all"), ("migrate", "--all"), ("verify", "--all"), ("status",),
    ):  # fmt: skip
        run(*words)
    execute(maintenance_url, f"UPDATE equipment SET name = E'{escaped()}!', updated_at = now()")
    execute(heard.source, "UPDATE equipment SET name = name || '?', updated_at = now()")
    run("sync", "--all", "--conflict", "manual")
    listed = json.loads(run("conflicts", "list", "--json").partition("\nwarning")[0])
    assert listed["conflicts"][0]["fields"]["name"]["source"] == NAME + "?"  # exactly, for programs
    run("conflicts", "show", listed["conflicts"][0]["id"])
    for asked in (
        ("conflicts", "list"), ("checkpoints", "list"), ("audit", "list"), ("audit", "verify"), ("doctor",),
        ("quarantine", "list"), ("config", "--show"), ("audit", "export", "--format", "csv"),
    ):  # fmt: skip
        run(*asked)
        run(*asked, "--json", "--log-format", "json")
    run("audit", "export", "--format", "json")
    shown = json.loads(run("status", "--json").partition("\nwarning")[0])
    assert {vessel["name"] for vessel in shown["vessels"]} == {NAME}
    page = tmp_path / "page.html"
    run("report", shown["runs"][0]["id"], "--html", str(page))
    assert "<img src=x" not in page.read_text()
    settings = Settings(source=heard.source, target=heard.target)
    with (
        serve.serving(serve.place("127.0.0.1:0"), settings) as url,
        urllib.request.urlopen(f"{url}metrics") as answer,
    ):
        assert not OBEYED.search(answer.read().decode())


def test_what_stands_in_the_place_of_a_name_is_the_same_json() -> None:
    text = json.dumps({"name": NAME}, ensure_ascii=False)
    assert json.loads(harmless(text)) == {"name": NAME}
    assert not OBEYED.search(harmless(text))
