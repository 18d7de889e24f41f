"""bulkmig, which kills itself at one of its writes to a SQLite file.

    python -m tests.support.killer LIST WHEN OCCURRENCE KEY ARGUMENTS…

LIST is a file that takes the key of each write, one a line. WHEN is `before`, `amid` (of several rows, half
have gone in), `after`, or `never`.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WHEN = ("before", "amid", "after")
_SUBJECT = re.compile(
    r"\s*(INSERT(?: OR \w+)? INTO|UPDATE(?: OR \w+)?|DELETE FROM|CREATE(?: UNIQUE)? (?:TABLE|INDEX))"
    r'\s+(temp\.)?(?:main\.)?"?(?:bulkmig_portal_)?(\w+)"?'
)
_seen: Counter[str] = Counter()


def key_of(sql: str) -> str:
    """What a statement writes to the file, as `INSERT vessels`; '' if nothing."""
    if sql.strip() == "COMMIT":
        return "COMMIT"
    found = _SUBJECT.match(sql)
    if found is None or found[2]:
        return ""
    return f"{found[1].split()[0]} {found[3]}"


class Killed(sqlite3.Connection):
    """A connection whose process ends at a write. `point`: list, when, occurrence, key."""

    point = ("", "never", 0, "")

    def _is_here(self, sql: str) -> bool:
        path, _, occurrence, wanted = self.point
        key = key_of(sql)
        if not key:
            return False
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(key + "\n")
        _seen[key] += 1
        return key == wanted and _seen[key] == occurrence

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        here, when = self._is_here(sql), self.point[1]
        if here and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        cursor = super().execute(sql, *parameters)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)
        return cursor

    def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
        here, when = self._is_here(sql), self.point[1]
        if not here:
            return super().executemany(sql, parameters)
        rows = list(parameters)
        count = {"before": 0, "amid": (len(rows) + 1) // 2, "after": len(rows)}[when]
        super().executemany(sql, rows[:count])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def main() -> None:
    path, when, occurrence, key = sys.argv[1:5]
    Killed.point = (path, when, int(occurrence), key)
    setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Killed))  # noqa: B010
    sys.argv[1:] = sys.argv[5:]
    from bulkmig.cli import main as bulkmig

    bulkmig()


if __name__ == "__main__":
    main()
