"""What commands print: one JSON document, or tables for people. Everything else goes to standard error.

What draws tables is loaded when one is drawn: it is a tenth of a command's start, and who asks for JSON has
no use for it.
"""

from __future__ import annotations

import re
import select
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson

from bulkmig._core import early
from bulkmig.errors import BulkmigError, Stopped
from bulkmig.report import Report

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.text import Text


def document(value: dict[str, Any]) -> None:
    """One JSON document on standard output: in UTF-8 whatever the locale, and whole, also through a pipe on
    which writing doesn't wait."""
    early.over()
    text = harmless(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()) + "\n"
    sys.stdout.flush()
    out, left = sys.stdout.buffer, memoryview(text.encode())
    out = getattr(out, "raw", out)
    while left:
        written = out.write(left)
        if written is None:
            select.select((), (out,), ())
        else:
            left = left[written:]


def harmless(text: str) -> str:
    """The same JSON, in which characters that a terminal obeys or that turn a line around are written as
    escapes: JSON itself asks for that only of those below U+0020."""
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


_OBEYED = re.compile("[\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")


def console() -> Console:
    """Standard output for people: colour only on a terminal that wants it (NO_COLOR is respected)."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def plain(text: object) -> Text:
    """A value from a database as it is safe to show: no markup, no terminal escape sequences."""
    from rich.text import Text

    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text)))


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()
) -> Group:
    """A table for people; `numbers`: the columns that are aligned to the right."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    made = Table(header_style="dim", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(plain(f"{v:,}" if isinstance(v, int) else v) for v in row))
    return Group(Text(title, style="bold"), made)  # a title of the table's own would be no wider than it


def warn(text: str, *, as_json: bool) -> None:
    """A line on standard error for what is no error and ought to be known."""
    if as_json:
        now = datetime.now(UTC).isoformat()
        line = orjson.dumps({"event": text, "level": "warning", "timestamp": now}).decode()
        sys.stderr.write(harmless(line) + "\n")
    else:
        sys.stderr.write(f"warning: {text}\n")


def fail(error: BulkmigError, *, as_json: bool) -> None:
    """An error that ends the command: for people on standard error, as a document where one was asked for."""
    say(error)
    if as_json:
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        status = "stopped" if isinstance(error, Stopped) else "failed"
        skeleton = Report(command, status=status).document()
        said = {"error": without_secrets(error.message), "hint": without_secrets(error.hint)}
        with suppress(BrokenPipeError, BulkmigError):  # where nobody takes it, the exit status tells
            document({**skeleton, **said})


def without_secrets(text: str) -> str:
    """A message without passwords of addresses, which somebody may have given for something else."""
    text = re.sub(r"(:/{1,2})([^\s:]*):\S*@", r"\1\2:***@", text)
    return re.sub(r"\b(password|sslpassword|pwd|token)=[^\s&'\"]+", r"\1=***", text, flags=re.IGNORECASE)


def say(error: BulkmigError) -> None:
    """An error on standard error."""
    if _logs_json():
        line = {
            "event": "error",
            "level": "error",
            "message": without_secrets(error.message),
            "hint": without_secrets(error.hint),
        }
        sys.stderr.write(harmless(orjson.dumps(line).decode()) + "\n")
        return
    text = "".join(c if c.isprintable() or c == "\n" else "?" for c in without_secrets(str(error)))
    sys.stderr.write(f"error: {text}\n")


def _logs_json() -> bool:
    """Whether lines on standard error are JSON; also where the arguments can't be read as a whole."""
    words = sys.argv[1:]
    return "--log-format=json" in words or ("--log-format", "json") in pairwise(words)
