"""A command does its work whatever becomes of its standard streams, and says what it can't print."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from bulkmig.generate import FleetSpec
from tests.support.fleets import Fleets
from tests.support.programs import program

SPEC = FleetSpec(seed=3, vessels=2, equipment=5, nasty=0.0)
FULL = Path("/dev/full")


def in_a_shell(source: str, target: str, arguments: str, streams: str) -> subprocess.CompletedProcess[str]:
    """Runs `bulkmig` with its standard streams as a shell puts it; pipelines end with bulkmig's status."""
    return subprocess.run(
        [
            "bash",
            "-c",
            f"{shlex.quote(sys.executable)} -m bulkmig {arguments} {streams}; exit ${{PIPESTATUS[0]}}",
        ],
        env={**os.environ, "ONBOARDING_DB_URL": source, "MAINTENANCE_DB_URL": target},
        capture_output=True,
        text=True,
        check=False,
    )


async def vessels(target: str) -> int:
    connection = await asyncpg.connect(target)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM vessels"))
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", "2>&1 >/dev/null | true"]
)
async def test_streams_that_are_closed_or_take_nothing_end_no_run(
    fleets: Fleets, maintenance_url: str, streams: str
) -> None:
    origin = await fleets(SPEC)
    ended = in_a_shell(origin.url, maintenance_url, "migrate --all --json --log-level debug", streams)
    assert (ended.returncode, await vessels(maintenance_url)) == (0, 2)


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has it")
@pytest.mark.parametrize(
    "arguments", ["config --example", "config --show", "config --show --json", "--help", "nope --json"]
)
def test_what_standard_output_does_not_take_is_said_and_is_no_success(arguments: str) -> None:
    ended = in_a_shell("", "", arguments, ">/dev/full")
    wrong, status = ("No such command", 2) if "nope" in arguments else ("standard output can't be written", 1)
    assert ended.returncode == status
    assert [line[:7] for line in ended.stderr.splitlines()] == ["error: ", "  hint:"]
    assert ended.stderr.startswith(f"error: {wrong}")


async def test_a_name_that_a_terminal_has_no_letters_for_ends_no_command(
    fleets: Fleets, maintenance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = await fleets.changing(SPEC, "UPDATE vessels SET name = 'MV \u0416ar-\u9f8d'")
    monkeypatch.setenv("PYTHONIOENCODING", "iso8859-1")
    ended = in_a_shell(origin.url, maintenance_url, "migrate --all", "")
    assert (ended.returncode, await vessels(maintenance_url)) == (0, 2), ended.stderr
    assert "MV \\u0416ar-\\u9f8d" in ended.stdout


async def test_an_exported_audit_log_is_the_same_whatever_the_terminal(
    onboarding_url: str, maintenance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_a_shell(onboarding_url, maintenance_url, "init", "").returncode == 0
    granted = in_a_shell(onboarding_url, maintenance_url, "operators grant \u0416ar@x.org sync", "")
    assert granted.returncode == 0, granted.stderr
    monkeypatch.setenv("PYTHONIOENCODING", "iso8859-1")
    for form in ("csv", "json"):
        ended = in_a_shell(onboarding_url, maintenance_url, f"audit export --format {form}", "")
        assert ended.returncode == 0, ended.stderr
        assert "\u0416ar@x.org" in ended.stdout


async def test_a_terminal_that_goes_away_ends_a_run_in_good_order(
    fleets: Fleets, maintenance_url: str
) -> None:
    """It asks as often as the shell and the system like."""
    origin = await fleets(SPEC)
    words = ("migrate", "--all", "--parallel-vessels", "1", "--max-rows-per-second", "1")
    async with program(origin.url, maintenance_url, *words) as started:
        await started.until(lambda: started.phase == "vessels")
        started.send(signal.SIGHUP)
        await started.kill(signal.SIGHUP)
        ended = await started.ended()
    assert (ended.status, ended.document["status"]) == (4, "stopped")
