"""SQLite's errors as the errors that bulkmig knows: those of PostgreSQL's driver, each with its SQLSTATE, so
that what is worth another attempt and what is a refused row is decided in one place."""

from __future__ import annotations

import re
import sqlite3

import asyncpg

_BY_NAME: dict[str, type[asyncpg.PostgresError]] = {
    "SQLITE_BUSY": asyncpg.LockNotAvailableError,
    "SQLITE_LOCKED": asyncpg.LockNotAvailableError,
    "SQLITE_READONLY": asyncpg.ReadOnlySQLTransactionError,
    "SQLITE_FULL": asyncpg.DiskFullError,
    "SQLITE_IOERR": asyncpg.PostgresIOError,
    "SQLITE_CORRUPT": asyncpg.DataCorruptedError,
    "SQLITE_NOTADB": asyncpg.DataCorruptedError,
    "SQLITE_CANTOPEN": asyncpg.UndefinedFileError,
    "SQLITE_PERM": asyncpg.InsufficientPrivilegeError,
    "SQLITE_AUTH": asyncpg.InsufficientPrivilegeError,
    "SQLITE_TOOBIG": asyncpg.ProgramLimitExceededError,
    "SQLITE_INTERRUPT": asyncpg.QueryCanceledError,
    "SQLITE_CONSTRAINT_UNIQUE": asyncpg.UniqueViolationError,
    "SQLITE_CONSTRAINT_PRIMARYKEY": asyncpg.UniqueViolationError,
    "SQLITE_CONSTRAINT_ROWID": asyncpg.UniqueViolationError,
    "SQLITE_CONSTRAINT_FOREIGNKEY": asyncpg.ForeignKeyViolationError,
    "SQLITE_CONSTRAINT_NOTNULL": asyncpg.NotNullViolationError,
    "SQLITE_CONSTRAINT_CHECK": asyncpg.CheckViolationError,
    "SQLITE_CONSTRAINT_TRIGGER": asyncpg.RaiseError,
    "SQLITE_CONSTRAINT": asyncpg.IntegrityConstraintViolationError,
    "SQLITE_MISMATCH": asyncpg.DatatypeMismatchError,
}

_NO_TEXT = re.compile(r"Could not decode to UTF-8 column '(.*?)' with text")


def translated(error: sqlite3.Error) -> asyncpg.PostgresError:
    """The error to raise instead, which holds no value of a row."""
    broken = _NO_TEXT.match(str(error))
    if broken:
        return asyncpg.CharacterNotInRepertoireError(f"column {broken[1]} holds a text that is no UTF-8")
    name = getattr(error, "sqlite_errorname", None) or ""
    kind: type[asyncpg.PostgresError] = asyncpg.InternalServerError
    for known, found in _BY_NAME.items():
        if name == known or name.startswith(known + "_"):
            kind = found
            if name == known:
                break
    made = kind(str(error))
    _, _, where = str(error).partition(" constraint failed: ")
    table, _, column = where.partition(", ")[0].partition(".")
    if column and column.isidentifier():
        made.table_name, made.column_name = table, column
    return made
