"""PostgreSQL's wire protocol as far as tests look into it: messages, statements, what a statement writes."""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

STARTUP, CANCEL, SSL, GSS = 196608, 80877102, 80877103, 80877104


class Frames:
    """Cuts a stream into whole messages. `typed`: they begin with a type byte; those before the session has
    started don't, and their kind is ''."""

    def __init__(self, *, typed: bool) -> None:
        self.typed = typed
        self._kept = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """(kind, whole message) of every message that is complete now."""
        self._kept += data
        while True:
            head = 1 if self.typed else 0
            if len(self._kept) < head + 4:
                return
            size = head + int(struct.unpack_from("!I", self._kept, head)[0])
            if len(self._kept) < size:
                return
            message = bytes(self._kept[:size])
            del self._kept[:size]
            yield chr(message[0]) if head else "", message


def code(message: bytes) -> int:
    """What an untyped message asks for: STARTUP, CANCEL, SSL or GSS."""
    return int(struct.unpack_from("!I", message, 4)[0])


def texts(message: bytes, count: int, skip: int = 5) -> list[str]:
    """The first `count` zero-terminated texts of a typed message."""
    return [part.decode(errors="replace") for part in message[skip:].split(b"\0", count)[:count]]


_COMMENT = re.compile(r"--[^\n]*")
_STRING = re.compile(r"'(?:[^']|'')*'")
_CONDITION = re.compile(r" IF (?:NOT )?EXISTS\b", re.I)
_NUMBER = re.compile(r"(?<![\w$\"])-?\d+\b")


def normalised(sql: str) -> str:
    """A statement without what differs from run to run, or says nothing: comments, white space, literals."""
    plain = " ".join(_NUMBER.sub("?", _STRING.sub("'?'", _COMMENT.sub("", sql))).split())
    return _CONDITION.sub("", plain)


_NAME = r'("?[\w{}.]+"?(?:\."?\w+"?)?)'
_WRITES = (
    ("COPY", re.compile(rf"^COPY {_NAME} ?(?:\(.*?\) ?)?FROM STDIN\b", re.I)),
    ("INSERT", re.compile(rf"(?:^|^WITH\b.*?\b)INSERT INTO {_NAME}", re.I)),
    ("UPDATE", re.compile(rf"(?:^|^WITH\b.*?[( ])UPDATE (?:ONLY )?(?!SET\b){_NAME}", re.I)),
    ("DELETE", re.compile(rf"(?:^|^WITH\b.*?\b)DELETE FROM (?:ONLY )?{_NAME}", re.I)),
    ("TRUNCATE", re.compile(rf"^TRUNCATE (?:TABLE )?{_NAME}", re.I)),
    (
        "CREATE",
        re.compile(
            r"^(CREATE (?:(?:UNIQUE|TEMP|TEMPORARY|UNLOGGED|OR REPLACE|MATERIALIZED) )*\w+ [\w.\"]+)", re.I
        ),
    ),
    ("ALTER", re.compile(r"^(ALTER \w+ [\w.\"]+)", re.I)),
    ("DROP", re.compile(r"^(DROP \w+ [\w.\"]+)", re.I)),
)
_TEMPORARY = re.compile(r"CREATE (?:TEMP|TEMPORARY) TABLE (\w+)", re.I)
_COMMIT = re.compile(r"^(COMMIT|END)\b", re.I)
_BEGIN = re.compile(r"^(BEGIN|START TRANSACTION)\b", re.I)


def written(text: str, unseen: Collection[str] = ()) -> str:
    """What the first writing statement of a normalised text does, as in `COPY equipment`; '' if none does.
    `unseen`: tables that nobody else can see."""
    for part in text.split(";"):
        for verb, pattern in _WRITES:
            found = pattern.search(part.strip())
            table = found[1].replace('"', "") if found else ""
            if table and table.split()[-1] not in unseen and not _TEMPORARY.match(table):
                return table if table.upper().startswith(verb) else f"{verb} {table}"
    return ""


@dataclass(eq=False)
class Statement:
    """One execution of a statement. `key`: what it writes; a COMMIT's names the last write before it, and
    what writes nothing that others could see has none."""

    session: int
    text: str
    key: str


class Transaction:
    """Follows a session's statements, to know what a COMMIT commits and which tables are temporary."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._last = ""
        self._unseen: set[str] = set()

    def execute(self, sql: str) -> Statement:
        """The statement that a session sends next."""
        text = normalised(sql)
        self._unseen.update(_TEMPORARY.findall(text))
        key = written(text, self._unseen)
        if _BEGIN.match(text):
            self._last = ""
        elif _COMMIT.match(text):
            key, self._last = (f"COMMIT after {self._last}" if self._last else ""), ""
        elif key:
            self._last = key
        return Statement(self._session, text, key)
