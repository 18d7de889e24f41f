"""A signal while the command is still being imported: nothing was touched, so it ends at once, with the
status of a run that was stopped. It is enough to import this first; in any other program it does nothing."""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise
from pathlib import Path

STOPPED = 4


def _leave(number: int, frame: object) -> None:
    os._exit(STOPPED)


def _is_the_command() -> bool:
    return Path(sys.argv[0]).stem == "bulkmig" or ("-m", "bulkmig") in pairwise(sys.orig_argv)


if _is_the_command():
    # A parent that lets us ignore a signal means it. Once a run begins, handlers of its own take their place.
    for _number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(_number) is not signal.SIG_IGN:
            signal.signal(_number, _leave)
