"""The progress of a run as people see it: at every width, without colours, in a terminal and in a pipe."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pyte
import pytest
from rich.console import Console

from bulkmig.cli.progress import View, _note
from bulkmig.events import (
    Due,
    Event,
    FleetListed,
    PhaseStarted,
    Retrying,
    RunEnded,
    RunStarted,
    Sampled,
    VesselDone,
    VesselFailed,
    VesselReached,
    VesselStarted,
    VesselVerified,
)
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.monitor.board import Board
from tests.support.clock import Clock

SNAPSHOTS = Path(__file__).parent / "snapshots"
WRITE = "BULKMIG_SNAPSHOTS"  # set to 1: what is drawn becomes what is expected
MEBIBYTE = 2**20


def run_at_work() -> Board:
    """A board in the middle of a migration."""
    clock = Clock()
    board = Board(clock)
    names = ["MV Aurora", "MS Nørrebro Søfart", "日本丸 No. 7", "MV [bold]Markup[/] \x1b[31mred", "Q" * 90]
    due = [Due(f"v{i:02}", names[i % len(names)], None, 100 + 10 * i) for i in range(20)]

    def hear(*events: Event) -> None:
        for event in events:
            board.hear(event)

    hear(RunStarted("migrate", "3f2a81c0", 20, 2, verifies=True), FleetListed(tuple(due)))
    hear(PhaseStarted("vessels", 20))
    for vessel in due[:14]:
        hear(VesselStarted(vessel.id, vessel.name))
        clock.now += 0.5
    for vessel in due[:5]:
        hear(VesselReached(vessel.id, vessel.name, "load"))
        hear(VesselDone(vessel.id, vessel.name, "migrated", 1300, 2.25, warnings=3, quarantined=1))
    for vessel in due[5:7]:
        hear(VesselReached(vessel.id, vessel.name, "load"))
    hear(VesselFailed(due[7].id, due[7].name, "validate", "2 errors"), Retrying("vessel v08", 1, "deadlock"))
    hear(Sampled(1, 96 * MEBIBYTE, 128 * MEBIBYTE, 0), Sampled(2, 20 * MEBIBYTE, 128 * MEBIBYTE, 0))
    clock.now += 3.0
    return board


def drawn(board: Board, width: int, *, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        no_color=not color,
        color_system="truecolor" if color else None,
        highlight=False,
    )
    console.print(View(board))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_run_is_drawn_as_kept(width: int) -> None:
    text = drawn(run_at_work(), width)
    file = SNAPSHOTS / f"progress-{width}.txt"
    if os.environ.get(WRITE):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 61, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_name_brings_escapes(width: int) -> None:
    text = drawn(run_at_work(), width)
    screen = pyte.Screen(width, 40)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    assert [line.rstrip() for line in screen.display if line.strip()][-1].startswith("1 failed")
    assert len([line for line in screen.display if line.strip()]) == len(text.splitlines())
    assert "\x1b" not in text
    assert "[bold]Markup[/]" in text


def test_colours_are_there_only_where_they_are_wanted() -> None:
    assert "\x1b[" in drawn(run_at_work(), 80, color=True)
    assert "\x1b[" not in drawn(run_at_work(), 80)


def test_what_goes_wrong_stays_on_the_screen() -> None:
    said = [
        _note(VesselFailed("v1", "MV A\x1b[2J", "validate", "equipment.name_required")),
        _note(Retrying("vessel v1", 2, "deadlock detected")),
        _note(VesselVerified("v1", "MV A", 3)),
    ]
    texts = [text.plain for text in said if text is not None]
    assert texts == [
        "✗ MV A�[2J failed (validate): equipment.name_required",
        "! vessel v1, attempt 2: deadlock detected",
        "✗ MV A: 3 differences",
    ]
    assert _note(VesselVerified("v1", "MV A", 0)) is None
    assert _note(RunEnded("migrate", "r", "completed")) is None


def in_a_terminal(arguments: list[str], width: int, environment: dict[str, str]) -> tuple[int, str, str]:
    """Runs bulkmig in a pseudo-terminal; returns status, all that was written, and the final screen."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "bulkmig", *arguments],
        stdin=side, stdout=side, stderr=side, close_fds=True, env={"TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(side)
    written = bytearray()
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        written += data
    os.close(main)
    status = process.wait()
    text = written.decode()
    screen = pyte.HistoryScreen(width, 200)
    pyte.Stream(screen).feed(text)
    return status, text, "\n".join(line.rstrip() for line in screen.display).strip()


def in_a_pipe(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bulkmig", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def environment(source: str, target: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH", "TMPDIR") if key in os.environ}
    return {**kept, "ONBOARDING_DB_URL": source, "MAINTENANCE_DB_URL": target}


@pytest.mark.parametrize(("width", "no_color"), [(60, False), (80, True), (200, False)])
async def test_a_migration_in_a_terminal(
    onboarding_url: str, maintenance_url: str, width: int, no_color: bool
) -> None:
    await generate_fleet(onboarding_url, FleetSpec(seed=5, vessels=6, equipment=40))
    variables = environment(onboarding_url, maintenance_url) | ({"NO_COLOR": "1"} if no_color else {})
    status, text, screen = in_a_terminal(["migrate", "--all"], width, variables)
    assert status == 0, screen
    assert "of 6" in text  # the progress was drawn …
    assert "under way" not in screen  # … and is gone
    assert re.search(r"^run [0-9a-f-]{36}: 6 vessels$", screen, re.MULTILINE)
    assert "bulkmig migrate completed" in screen
    colours = re.findall(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", text)
    assert bool(colours) != no_color


async def test_other_commands_that_go_through_a_fleet_are_drawn_as_well(
    onboarding_url: str, maintenance_url: str
) -> None:
    await generate_fleet(onboarding_url, FleetSpec(seed=5, vessels=6, equipment=40))
    variables = environment(onboarding_url, maintenance_url)
    for arguments in (["plan", "--all"], ["migrate", "--all", "--quiet"], ["sync", "--all"]):
        status, text, screen = in_a_terminal(arguments, 100, variables)
        assert status == 0, screen
        if "--quiet" not in arguments:
            assert re.search(r"\d+% +\d of 6\b", text)
            assert re.search(r": 6 vessels$", screen, re.MULTILINE)
        assert f"bulkmig {arguments[0]} completed" in screen


async def test_a_migration_in_a_pipe_is_one_plain_line_an_event(
    onboarding_url: str, maintenance_url: str
) -> None:
    await generate_fleet(onboarding_url, FleetSpec(seed=5, vessels=3, equipment=5))
    ended = in_a_pipe(["migrate", "--all"], environment(onboarding_url, maintenance_url))
    assert ended.returncode == 0
    assert "\x1b" not in ended.stdout + ended.stderr
    events = re.findall(r"^\S+Z \[info +\] ([a-z ]+?) +\w+=", ended.stderr, re.MULTILINE)
    assert [*dict.fromkeys(events)] == ["run started", "phase started", "vessel done", "run ended"]
    assert events.count("vessel done") == 3
    assert len({line.rpartition("run_id=")[2].split()[0] for line in ended.stderr.splitlines()}) == 1
    quiet = in_a_pipe(["migrate", "--all", "--quiet"], environment(onboarding_url, maintenance_url))
    assert (quiet.returncode, quiet.stderr) == (0, "")
