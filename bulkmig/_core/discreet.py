"""Keeps what libraries log of failures, and what Python prints of them, from quoting values of rows.

asyncio logs exceptions that nobody awaited, with their messages; a server's messages can quote rows. What is
said here is where it comes from and which kind of error it is."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType


class _Kinds(logging.Handler):
    """One line a record: the logger's name, the first line of what it says, the error's kind."""

    def emit(self, record: logging.LogRecord) -> None:
        first = (str(record.msg).splitlines() or [""])[0]
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        say(record.name, first if "%" not in first else "", kind)


def say(*words: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"warning: {': '.join(word for word in words if word)}\n")


def install() -> None:
    """For this process; before it does anything."""
    root = logging.getLogger()
    if not any(isinstance(handler, _Kinds) for handler in root.handlers):
        root.addHandler(_Kinds(level=logging.WARNING))
    threading.excepthook = _of_thread
    sys.unraisablehook = _unraisable
    sys.excepthook = _uncaught


def _of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        say("a thread ended", args.exc_type.__name__)


def _unraisable(args: object) -> None:
    kind = getattr(args, "exc_type", None)
    say("an error while cleaning up", getattr(kind, "__name__", ""))


def _uncaught(kind: type[BaseException], _: BaseException, __: TracebackType | None) -> None:
    say("ended by", kind.__name__)
