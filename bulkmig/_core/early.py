"""What has to be in force before the command is imported; it is enough to import this first. In any other
program it does nothing.

A signal while the command is still being imported: nothing was touched, so it ends at once, with the status
of a run that was stopped, and with its document where one was asked for."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

STOPPED = 4
HANGUP = (signal.SIGHUP,) if sys.platform != "win32" else ()
_COLLECT_AFTER = 20_000  # new objects; Python's default of 700 takes 4 % of a migration's CPU

# As `Report.document` has it, of a run that has not begun. That is not imported yet.
DOCUMENT = """\
{"command": "%s", "run_id": "", "status": "stopped",
 "vessels": {"selected": 0, "done": 0, "skipped": 0, "failed": 0, "remaining": 0}, "rows": {},
 "findings": {"errors": 0, "warnings": 0, "by_code": {}}, "quarantined": {},
 "pending": {"cross_references": 0},
 "conflicts": {"open": 0, "resolved": {"source_wins": 0, "target_wins": 0, "merge": 0}},
 "verification": {"checks": 0, "passed": 0, "failed": 0, "warnings": 0, "differences": []},
 "stats": {"total_equipment": 0, "equipment_without_location": 0, "critical_equipment": 0},
 "drift": 0, "stale": 0, "lossiness": {},
 "phases": {"extract": 0.0, "validate": 0.0, "transform": 0.0, "load": 0.0, "verify": 0.0}, "seconds": 0.0,
 "peak_memory_bytes": 0, "failures": []}
"""


def _leave(number: int, frame: object) -> None:
    # Before anything was run, nothing can have been printed: later handlers have taken this one's place.
    if "--json" in sys.argv:
        verb = next((word for word in sys.argv[1:] if word.isidentifier()), "")
        with suppress(OSError):
            os.write(1, (DOCUMENT % verb).encode())
    os._exit(STOPPED)


def imported() -> None:
    """From here on garbage is collected, though not looked for in what is loaded by now: that stays."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    gc.enable()


def over() -> None:
    """From here on the command has said what it has to say: a signal only ends it."""
    if _is_the_command():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is _leave:
                signal.signal(number, _leave_silently)


def _leave_silently(number: int, frame: object) -> None:
    os._exit(STOPPED)


def _is_the_command() -> bool:
    """Also in the processes of `--processes`: they have its arguments before they import anything of it."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.stem
    return name == "bulkmig" or ("-m", "bulkmig") in pairwise(sys.orig_argv)


if _is_the_command():
    # A parent that lets us ignore a signal means it. Once a run begins, handlers of its own take their place.
    for _number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(_number) is not signal.SIG_IGN:
            signal.signal(_number, _leave)
    # What is imported stays: to look through it for garbage again and again takes a tenth of the start.
    gc.disable()
    # What polars' allocator gives back to the system at once, the next batch takes again, page by page: a
    # sixth of the transform's CPU. Read when polars is imported.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000")
