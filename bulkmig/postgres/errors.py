"""PostgreSQL's errors as text for people: what and where, never a value of a row.

DETAIL, HINT and CONTEXT lines quote rows, messages of class 22 quote the input, and whoever raises an error
in a function of the database may quote what he likes: none of these is passed on."""

from __future__ import annotations

import re
import ssl

import asyncpg

from bulkmig.errors import BulkmigError
from bulkmig.postgres.transient import end_of

# What stands in quotes of whatever language, and what follows a colon.
_MARKS = "\"'`\u00ab\u00bb\u2018-\u201f\u2039\u203a\u300c-\u300f"
_QUOTED = re.compile(f"[{_MARKS}].*[{_MARKS}]", re.DOTALL)
_FOLLOWS = re.compile(r"\s*[:\uff1a].*$", re.DOTALL)
# Where PostgreSQL's source raises what a function's author wrote: PL/pgSQL, PL/Python, PL/Perl, PL/Tcl, …
_OF_FUNCTIONS = re.compile(r"^pl")
_LINE = re.compile(r"COPY (\S+), line (\d+)")


def describe(error: BaseException) -> str:
    """The cause in one line: message, and the table, column and constraint that the server names. Of a lost
    session also whose it was."""
    if isinstance(error, BulkmigError):
        return error.message
    if end := end_of(error):
        return f"the session on the {end} was lost: {_described(error)}"
    return _described(error)


def _described(error: BaseException) -> str:
    if not isinstance(error, asyncpg.PostgresError):
        return _of_this_end(error)
    message = (str(error.args[0] if error.args else error).splitlines() or [""])[0]
    sqlstate = error.sqlstate or ""
    if sqlstate.startswith("P0") or _OF_FUNCTIONS.match(error.server_source_filename or ""):
        # RAISE in a function of the database: its text is free to quote rows, so only its place is told.
        message = "a function of the database raised an error"
    elif sqlstate.startswith("22"):
        message = _FOLLOWS.sub("", _QUOTED.sub("…", message))
    named = [
        f"{kind} {name}"
        for kind, name in (
            ("table", error.table_name),
            ("column", error.column_name),
            ("constraint", error.constraint_name),
        )
        if name and name not in message
    ]
    return f"{message} [{', '.join([*named, f'SQLSTATE {sqlstate}'])}]"


def _of_this_end(error: BaseException) -> str:
    """The operating system and TLS quote no rows; a driver that can't encode a parameter quotes it."""
    kind = type(error).__name__
    if isinstance(error, OSError | ssl.SSLError):
        return f"{kind}: {error}".rstrip(": ")
    if isinstance(error, asyncpg.InterfaceError):
        return f"{kind}: {_FOLLOWS.sub('', _QUOTED.sub('…', str(error)))}".rstrip(": ")
    return kind


def copy_line(error: BaseException) -> tuple[str, int] | None:
    """The table and line of COPY's input at which the server stopped, if it says so."""
    match = _LINE.search(getattr(error, "context", None) or "")
    return (match[1], int(match[2])) if match else None
