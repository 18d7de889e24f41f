"""Locks that a process holds as long as it lives, like PostgreSQL's advisory ones: rows of the ledger that
name the process. Another one that finds the process gone takes the lock over."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

_CALL = re.compile(r"\s*SELECT (pg_(?:try_)?advisory_(?:un)?lock(?:_shared)?)\(\$1\)\s*$")
_TABLE = "SELECT 1 FROM main.sqlite_master WHERE name = 'bulkmig_locks'"
_HOLDER = "SELECT process, session FROM bulkmig_locks WHERE key = ?1"
_TAKE = "INSERT OR REPLACE INTO bulkmig_locks (key, process, session) VALUES (?1, ?2, ?3)"
_DROP = "DELETE FROM bulkmig_locks WHERE key = ?1 AND session = ?2"
_alive: set[str] = set()  # sessions of this process


def this_process() -> str:
    """What tells this process from any other that had or will have its number."""
    return f"{os.getpid()}/{_started(os.getpid())}"


def _started(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def lives(process: str) -> bool:
    """Whether the process of that name is there still."""
    pid, _, started = process.partition("/")
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not started or _started(int(pid)) == started


class Held:
    """The locks of one session."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._name = str(uuid4())
        _alive.add(self._name)

    def answer(self, sql: str, values: Sequence[Any]) -> bool | None:
        """The answer to a call of a lock's function; None for any other statement."""
        call = _CALL.match(sql)
        if call is None:
            return None
        function, key = call[1], values[0]
        return (
            self._drop(key) if "unlock" in function else self._take(key, probe=function.endswith("_shared"))
        )

    def _take(self, key: int, *, probe: bool) -> bool:
        if self._connection.execute(_TABLE).fetchone() is None:
            return True
        row = self._connection.execute(_HOLDER, (key,)).fetchone()
        if row is not None and row[1] != self._name:
            here = row[0] == this_process()
            if row[1] in _alive if here else lives(row[0]):
                return False
        if not probe:
            self._connection.execute(_TAKE, (key, this_process(), self._name))
        return True

    def _drop(self, key: int) -> bool:
        if self._connection.execute(_TABLE).fetchone() is not None:
            self._connection.execute(_DROP, (key, self._name))
        return True

    def end(self) -> None:
        """The session is about to be closed."""
        _alive.discard(self._name)
        try:
            if not self._connection.in_transaction and self._connection.execute(_TABLE).fetchone():
                self._connection.execute("DELETE FROM bulkmig_locks WHERE session = ?1", (self._name,))
        except sqlite3.Error:
            pass  # whoever finds the process gone takes them over
