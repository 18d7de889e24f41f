"""bulkmig's own PostgreSQL statements as SQLite reads them.

Only what bulkmig itself writes is translated: a dozen rewritings of tokens, outside of literals. What is
PostgreSQL's alone has a variant of its own (`variants.py`); what is left of it after that is an error, so
that no statement silently means something else.
"""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

from bulkmig.sqlite.arrays import CAST, Arrays
from bulkmig.sqlite.literals import MARK, Literals
from bulkmig.sqlite.variants import VARIANTS, normal

VIEW = "bulkmig_portal_"  # what the views are called that show the portal's tables in PostgreSQL's shape

_THERE = re.compile(r"to_regclass\('bulkmig\.(\w+)'\)")
_EMPTIED = re.compile(r"CREATE TEMPORARY TABLE (?:IF NOT EXISTS )?(\w+) ON COMMIT DELETE ROWS")
_CHANGED = re.compile(rf"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+{VIEW}(\w+)")
_REWRITINGS = [
    (re.compile(rf"coalesce\(array_agg\((\w+) ORDER BY \1\), {MARK}\)"), r"json_group_array(\1)"),
    (re.compile(r"extract\(epoch FROM (.+?) - ([\w.]+)\)"), r"(epoch(\1) - epoch(\2))"),
    (re.compile(r"\bFOR UPDATE(?: OF \w+)?(?: SKIP LOCKED)?"), ""),
    (re.compile(r"\bOVERRIDING SYSTEM VALUE\b"), ""),
    (re.compile(CAST), ""),
    (re.compile(r"\bbulkmig\.(\w+)"), r"bulkmig_\1"),
    (re.compile(r"\bSELECT(?=\s+FROM\b)"), "SELECT 1"),
    (re.compile(r"\bIS NOT DISTINCT FROM\b"), "IS"),
    (re.compile(r"\bIS DISTINCT FROM\b"), "IS NOT"),
    (re.compile(r"\b(DELETE FROM\s+[\w.]+)\s+(?!AS\b|WHERE\b|RETURNING\b|USING\b)(\w+)"), r"\1 AS \2"),
    (re.compile(r"^(\s*UPDATE\s+[\w.]+)\s+(?!AS\b|SET\b)(\w+)"), r"\1 AS \2"),
    (re.compile(r"\bCREATE TEMPORARY TABLE part_rows ON COMMIT DROP AS TABLE (\w+) WITH NO DATA"),
     r"CREATE TEMPORARY TABLE part_rows AS SELECT * FROM \1 WHERE 0"),
    (re.compile(r"\bON COMMIT DELETE ROWS\b"), ""),
    (re.compile(r"\bWITH NO DATA\b"), "WHERE 0"),
    (re.compile(r"\barray_agg\((\w+) ORDER BY \1\)"), r"json_group_array(\1)"),
    (re.compile(r"\$(\d+)"), r"?\1"),
]  # fmt: skip
_FOREIGN = re.compile(
    r"\b(unnest|array_agg|DISTINCT ON|xmin|make_interval|regclass|string_agg|pg_[a-z_]+|USING\s+\w+\s+\w+)\b"
)
_KNOWN = re.compile(r"\bpg_advisory_xact_lock\b")


class Statement(Struct, frozen=True):
    """A statement for SQLite. `zipped`: parameters made of several arrays, the numbers of which they name;
    `tables`: the portal's tables that it is about; `changes`: the one whose rows it changes; `emptied`: the
    temporary table that a commit empties; `given`: how many parameters it has."""

    sql: str
    zipped: tuple[tuple[int, ...], ...]
    tables: frozenset[str]
    changes: str | None
    emptied: str | None = None
    returning: bool = False
    given: int = 0


def translate(sql: str, portal: frozenset[str]) -> Statement:
    """One statement. `portal`: the tables that there are views of. Raises ValueError where something of it
    has no meaning in SQLite."""
    return (_cached if len(sql) < 4000 else _translate)(sql, portal)


def _translate(sql: str, portal: frozenset[str]) -> Statement:
    sql = _THERE.sub(r"(SELECT name FROM main.sqlite_master WHERE name = 'bulkmig_\1')", sql)
    sql = VARIANTS.get(normal(sql), sql)
    literals = Literals()
    text = literals.hold(sql)
    given = max((int(n) for n in re.findall(r"\$(\d+)", text)), default=0)
    arrays = Arrays(literals, given)
    text = arrays.as_json(text)
    emptied = _EMPTIED.search(text)
    for pattern, replacement in _REWRITINGS:
        text = pattern.sub(replacement, text)
    text, tables = _of_views(_compound(text), portal)
    changed = _CHANGED.match(text)
    if changed:
        text = re.sub(r"\bON CONFLICT DO NOTHING\b", "", text)
    text, returning = _returning(_without_alias(text), changed is not None)
    foreign = _FOREIGN.search(_KNOWN.sub("", text))
    if foreign:
        raise ValueError(f"this statement has no meaning in SQLite ({foreign[0]}): {sql}")
    return Statement(
        literals.put_back(text),
        tuple(arrays.zipped),
        tables,
        changed[1] if changed else None,
        emptied[1] if emptied else None,
        returning,
        given,
    )


def _of_views(text: str, portal: frozenset[str]) -> tuple[str, frozenset[str]]:
    """The statement on the views of the portal's tables, and which tables these are."""
    found: set[str] = set()

    def viewed(match: re.Match[str]) -> str:
        if match[2] not in portal:
            return match[0]
        found.add(match[2])
        return f"{match[1]}{VIEW}{match[2]}"

    text = re.sub(r"(\b(?:FROM|JOIN|INTO|UPDATE)\s+)(\w+)\b(?![.(])", viewed, text)
    return text, frozenset(found)


def _without_alias(text: str) -> str:
    """A change of a view alone, which takes no alias."""
    alias = re.match(rf"\s*(?:DELETE FROM|UPDATE)\s+({VIEW}\w+) AS (\w+)\b", text)
    if alias is None or _joins(text):
        return text
    return re.sub(rf"\b{alias[2]}\.", f"{alias[1]}.", text.replace(f" AS {alias[2]}", "", 1))


def _returning(text: str, changed: bool) -> tuple[str, bool]:
    """The statement with what it returns, and whether it was asked to. One that changes a view (`changed`)
    always returns something, to be counted by."""
    head, returning, tail = text.partition(" RETURNING ")
    if not returning:
        return f"{text.rstrip()} RETURNING 1" if changed else text, False
    tail = re.sub(r"\b[a-z_]\w*\.(?=\w)", "", tail)
    # Of a view's row SQLite returns only what the statement sets.
    kept = "".join(f"{name} = {name}, " for name in re.findall(r"\w+", re.sub(r"\bAS \w+", "", tail)))
    if changed and re.match(r"\s*UPDATE", head):
        updated = re.match(rf"\s*UPDATE\s+({VIEW}\w+)(?: AS (\w+))?", head)
        of = (updated[2] or updated[1]) if updated else ""
        kept = re.sub(r"= (\w+),", rf"= {of}.\1,", kept)
        head = head.replace(" SET ", f" SET {kept}", 1)
    return head + returning + tail, True


_cached = lru_cache(maxsize=2048)(_translate)


def _joins(text: str) -> bool:
    """Whether an UPDATE has tables besides the one it changes."""
    depth = 0
    for word in re.findall(r"[()]|\bDELETE FROM\b|\bFROM\b", text):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == "FROM" and depth == 0:
            return True
    return False


def _compound(text: str) -> str:
    """Members of a UNION that stand in parentheses, which may order and limit their rows."""
    if not re.match(r"\s*\(\s*SELECT\b", text) and not re.search(r"UNION ALL\s*\(\s*SELECT\b", text):
        return text
    made: list[str] = []
    depth = 0
    for piece in re.split(r"(\(\s*(?=SELECT\b)|\(|\))", text):
        if piece.startswith("("):
            if depth == 0 and len(piece.strip()) == 1 and re.search(r"(^|UNION ALL)\s*$", "".join(made[-2:])):
                piece = "SELECT * FROM ("
            depth += 1
        elif piece == ")":
            depth -= 1
        made.append(piece)
    return "".join(made)
