"""Asks a program for a secret: started without a shell, what it says goes nowhere else."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping

from bulkmig.errors import PreflightError, UsageError

SECONDS = 30.0  # for the program: it may have to ask a vault
_MOST = 64 * 1024  # bytes of an answer


def words(line: str, what: str) -> list[str]:
    """A command's words, as a shell would split them. Raises UsageError; `what` is how errors name it."""
    try:
        found = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{what} can't be read: {error}", "quote it as for a shell") from None
    if not found:
        raise UsageError(f"{what} is empty", "name a program and its arguments")
    return found


def answer(line: str, about: Mapping[str, str], what: str) -> str:
    """What the program prints, which hears of `about` in its environment. Blocks. Raises PreflightError where
    it fails; what it says on standard error is not shown, for it may quote what it was asked for."""
    try:
        done = subprocess.run(
            words(line, what),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            env={**os.environ, **about},
            timeout=SECONDS,
        )
    except (OSError, ValueError) as error:
        raise PreflightError(
            f"{what} can't be started: {getattr(error, 'strerror', None) or type(error).__name__}",
            "name a program that is there, with its path",
        ) from None
    except subprocess.TimeoutExpired:
        raise PreflightError(f"{what} took longer than {SECONDS:.0f} s", "see why it waits") from None
    if done.returncode != 0:
        raise PreflightError(f"{what} ended with status {done.returncode}", "run it by hand to see why")
    try:
        return done.stdout[:_MOST].decode()
    except UnicodeDecodeError:
        raise PreflightError(f"{what} printed something that is no text", "let it print UTF-8") from None
