"""Standard streams that a command can rely on: all three are there, a line on standard error that nobody
takes ends no run, and what standard output doesn't take is an error that says so."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any, TextIO

from bulkmig.errors import BulkmigError


class _Stream(io.FileIO):
    """Writes wait where the other end can't take more yet."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "wb", closefd=False)

    def write(self, data: Any, /) -> int:
        try:
            while (written := super().write(data)) is None:
                select.select((), (self,), ())
        except OSError as error:
            self.refused(error)
            return len(data)
        return written

    def refused(self, error: OSError) -> None:
        """Standard error: the line is lost, and the work goes on."""


class _Answer(_Stream):
    said = False

    def refused(self, error: OSError) -> None:
        """Standard output: said once; what is still to be written is lost as well."""
        if self.said:
            return
        self.said = True
        if isinstance(error, BrokenPipeError):
            raise error  # who reads has enough
        raise BulkmigError(
            f"standard output can't be written: {error.strerror}",
            "the command itself is over: see `bulkmig status` for what it did",
        ) from None


def install() -> None:
    """For this process; before it opens anything, which would get the number of a stream that is missing."""
    if os.name != "posix":
        return
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
    sys.stdout = _text(_Answer(1), sys.stdout)
    sys.stderr = _text(_Stream(2), sys.stderr)


def _text(stream: _Stream, before: TextIO | None) -> TextIO:
    """The stream with the encoding of the one in whose place it comes."""
    encoding, errors = (before.encoding, before.errors) if before is not None else ("utf-8", "replace")
    if errors == "strict":
        errors = "backslashreplace"  # a name that a terminal has no letters for ends no command
    at_once = stream.fileno() == 2 or stream.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(stream), encoding=encoding, errors=errors, line_buffering=at_once
    )
