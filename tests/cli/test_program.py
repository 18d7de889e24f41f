"""The program without a verb: its version, and what a shell is told when it asks how a line goes on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bulkmig import __version__

BULKMIG = [sys.executable, "-m", "bulkmig"]


def test_the_version_is_one_line() -> None:
    made = subprocess.run([*BULKMIG, "--version"], capture_output=True, text=True, check=True)
    assert (made.stdout, made.stderr) == (f"bulkmig {__version__}\n", "")


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("bulkmig mi", ["migrate"]),
        ("bulkmig quarantine ", ["list", "retry", "show"]),
        ("bulkmig migrate --parallel-v", ["--parallel-vessels"]),
        ("bulkmig migrate --fk-check ", ["row", "set"]),
    ],
)
def test_a_shell_completes_commands_options_and_values(line: str, rest: list[str]) -> None:
    """As the script that `--show-completion` prints asks the program."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_BULKMIG_COMPLETE": "complete_bash"}
    made = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['bulkmig']; from bulkmig.cli import main; main()"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **words},
    )
    assert sorted(made.stdout.split()) == rest, made.stderr
