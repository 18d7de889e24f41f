"""PostgreSQL's errors as text for people: what and where, never a value of a row.

DETAIL lines quote rows, and messages of class 22 quote the input, so neither is passed on."""

from __future__ import annotations

import re

import asyncpg

from bulkmig.errors import BulkmigError
from bulkmig.postgres.transient import end_of

_QUOTED_INPUT = re.compile(r":\s*[\"'«].*$", re.DOTALL)
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
        return f"{type(error).__name__}: {error}".rstrip(": ")
    message = str(error.args[0] if error.args else error).splitlines()[0]
    sqlstate = error.sqlstate or ""
    if sqlstate.startswith("P0"):
        # RAISE in a function of the database: its text is free to quote rows, so only its place is told.
        message = "a function of the database raised an error"
    elif sqlstate.startswith("22"):
        message = _QUOTED_INPUT.sub("", message)
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


def copy_line(error: BaseException) -> tuple[str, int] | None:
    """The table and line of COPY's input at which the server stopped, if it says so."""
    match = _LINE.search(getattr(error, "context", None) or "")
    return (match[1], int(match[2])) if match else None
