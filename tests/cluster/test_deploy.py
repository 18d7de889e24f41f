"""The files for systemd and containers name what exists, and the commands in them are the program's."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bulkmig.cli import app as program

DEPLOY = Path(__file__).parents[2] / "docs/deploy"
UNIT = DEPLOY / "bulkmig-worker@.service"
CONTAINER, COMPOSE = DEPLOY / "Containerfile", DEPLOY / "compose.yaml"


def unit() -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read_string(UNIT.read_text(encoding="utf-8"))
    return found


def commands() -> list[list[str]]:
    """The arguments of every bulkmig that the files start."""
    compose = COMPOSE.read_text(encoding="utf-8")
    return [
        shlex.split(unit()["Service"]["ExecStart"])[1:],
        json.loads(re.findall(r"^CMD (\[.*\])$", CONTAINER.read_text(encoding="utf-8"), re.M)[0]),
        *(json.loads(words) for words in re.findall(r"^ +command: (\[.*?\])$", compose, re.M | re.S)),
    ]


@pytest.mark.parametrize("arguments", commands(), ids=lambda arguments: arguments[0])
def test_the_commands_are_the_programs(arguments: Sequence[str]) -> None:
    """Parsed by the real command line: every option is known and every value fits."""
    program._register()
    context = typer.main.get_command(program.app).make_context("bulkmig", [], resilient_parsing=True)
    verb = typer.main.get_command(program.app).get_command(context, arguments[0])  # type: ignore[attr-defined]
    assert verb is not None
    made = verb.make_context(arguments[0], list(arguments[1:]))
    assert made.args == []
    assert CliRunner().invoke(program.app, [arguments[0], "--help"]).exit_code == 0


def test_the_unit_treats_exit_statuses_as_they_are_meant() -> None:
    """4 is a good end, 2 and 3 need a person, everything else is tried again."""
    service = unit()["Service"]
    assert service["SuccessExitStatus"] == "4"
    assert service["RestartPreventExitStatus"] == "2 3"
    assert service["Restart"] == "on-failure"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """With a program where the unit expects one."""
    bulkmig = tmp_path / "bulkmig"
    bulkmig.write_text("#!/bin/sh\n", encoding="ascii")
    bulkmig.chmod(0o755)
    copy = tmp_path / UNIT.name.replace("@", "@1")
    copy.write_text(
        UNIT.read_text(encoding="utf-8").replace("/opt/bulkmig/bin/bulkmig", str(bulkmig)), encoding="utf-8"
    )
    made = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert [line for line in made.stderr.splitlines() if copy.name in line] == []


def test_the_container_copies_what_the_package_is_built_of() -> None:
    """Paths count from the checkout's root."""
    root = DEPLOY.parents[1]
    for line in re.findall(r"^COPY (.*)$", CONTAINER.read_text(encoding="utf-8"), re.M):
        assert [path for path in line.split()[:-1] if not (root / path).exists()] == []
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    assert services.keys() == {"submitter", "worker"}
    assert all(service["build"]["dockerfile"] == "docs/deploy/Containerfile" for service in services.values())
    assert [service["command"] for service in services.values()] == commands()[2:]
