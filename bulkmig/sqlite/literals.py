"""SQL without its literals: held while the rest is rewritten, passed over where it is taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterator

MARK = "\x01\\d+\x01"  # the pattern of what stands for a literal meanwhile

_LITERAL = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_MARK = re.compile("\x01(\\d+)\x01")


class Literals:
    """The literals of a statement that is being rewritten."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def hold(self, sql: str) -> str:
        """The statement with a mark in the place of each."""
        return _LITERAL.sub(lambda match: self.mark(match[0]), sql)

    def mark(self, literal: str) -> str:
        """What stands for one more."""
        self._held.append(literal)
        return f"\x01{len(self._held) - 1}\x01"

    def of(self, mark: str) -> str | None:
        """The literal that a mark stands for; None where it is no mark."""
        found = _MARK.fullmatch(mark)
        return self._held[int(found[1])] if found else None

    def put_back(self, text: str) -> str:
        """The statement with its literals."""
        return _MARK.sub(lambda match: self._held[int(match[1])], text)


def apart(sql: str) -> list[str]:
    """A statement whose WITH clause changes data as two: what follows the clause, which sees what was before
    it, and then the change."""
    begun = re.match(r"\s*WITH\s+(\w+)\s+AS\s+\((?=\s*(?:INSERT|UPDATE|DELETE))", sql)
    if begun is None:
        return [sql]
    depth, end = 0, 0
    for at in _outside("[()]", sql):
        depth += 1 if sql[at] == "(" else -1
        if depth == 0:
            end = at
            break
    change, rest = sql[begun.end() : end], sql[end + 1 :]
    return [_BEGUN if re.search(rf"\bFROM {begun[1]}\b", rest) else rest, change]


# The entry of a run that is recorded with it, if it wasn't already.
_BEGUN = (
    "INSERT INTO bulkmig.audit (run_id, action, operator, host, summary, mac)"
    " SELECT $1, 'started', $3, $4, $7, $8 WHERE NOT EXISTS (SELECT FROM bulkmig.runs WHERE id = $1)"
)


def split(script: str) -> list[str]:
    """The statements of a script, outside of literals; none of them has a body of its own."""
    pieces, begin = [], 0
    for at in _outside(";", script):
        pieces.append(script[begin:at])
        begin = at + 1
    pieces.append(script[begin:])
    return [piece.strip() for piece in pieces if piece.strip()]


def _outside(pattern: str, sql: str) -> Iterator[int]:
    """Where the pattern is found outside of literals."""
    held = [match.span() for match in _LITERAL.finditer(sql)]
    for match in re.finditer(pattern, sql):
        if not any(low <= match.start() < high for low, high in held):
            yield match.start()
