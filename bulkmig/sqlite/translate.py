"""bulkmig's own PostgreSQL statements as SQLite reads them.

Only what bulkmig itself writes is translated: a dozen rewritings of tokens, outside of literals. What is
PostgreSQL's alone has a variant of its own (`variants.py`); what is left of it after that is an error, so
that no statement silently means something else.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache

from msgspec import Struct

from bulkmig.sqlite.variants import VARIANTS, normal

VIEW = "bulkmig_portal_"  # what the views are called that show the portal's tables in PostgreSQL's shape

_LITERAL = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_HELD = re.compile("\x01(\\d+)\x01")
_CAST = r"(?:::[a-z_0-9]+(?:\[\])*)"
_ANY = re.compile(rf"=\s*ANY\s*\(\s*([^()\s]+?){_CAST}*\s*\)")
_OVERLAP = re.compile(rf"([\w.]+)\s*&&\s*(\$\d+){_CAST}*")
_UNNEST = re.compile(r"unnest\(([^()]*)\)(?:\s+AS\s+(\w+)\s*\(([^()]*)\))?(\s+ON\s+CONFLICT)?")
_THERE = re.compile(r"to_regclass\('bulkmig\.(\w+)'\)")
_LIST = re.compile(r"coalesce\(array_agg\((\w+) ORDER BY \1\), \x01\d+\x01\)")
_EPOCH = re.compile(r"extract\(epoch FROM (.+?) - ([\w.]+)\)")
_REWRITINGS = [
    (re.compile(r"\bFOR UPDATE(?: OF \w+)?(?: SKIP LOCKED)?"), ""),
    (re.compile(r"\bOVERRIDING SYSTEM VALUE\b"), ""),
    (re.compile(_CAST), ""),
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
    literals: list[str] = []

    def hold(match: re.Match[str]) -> str:
        literals.append(match.group())
        return f"\x01{len(literals) - 1}\x01"

    text = _LITERAL.sub(hold, sql)
    count = max((int(n) for n in re.findall(r"\$(\d+)", text)), default=0)
    zipped: list[tuple[int, ...]] = []

    def array(argument: str) -> str:
        held = _HELD.fullmatch(argument)
        if held is None:
            return argument
        items = literals[int(held[1])][1:-1].strip("{}")
        literals.append("'" + json.dumps([i for i in items.split(",") if i]) + "'")
        return f"\x01{len(literals) - 1}\x01"

    def is_in(match: re.Match[str]) -> str:
        value = "unpack(value)" if "bytea[]" in match[0] else "value"
        return f" IN (SELECT {value} FROM json_each({array(match[1])}))"

    def overlap(match: re.Match[str]) -> str:
        return (
            f"EXISTS (SELECT 1 FROM json_each({match[1]}) l JOIN json_each({match[2]}) r"
            " ON l.value = r.value)"
        )

    def unnest(match: re.Match[str]) -> str:
        arguments = re.findall(r"\$(\d+)", match[1])
        names = [n.strip() for n in (match[3] or ",".join(f"c{n}" for n in arguments)).split(",")]
        blobs = [piece.strip().endswith("bytea[]") for piece in match[1].split(",")]
        ending = f" WHERE 1{match[4]}" if match[4] else ""
        alias = match[2] or "u"
        if len(names) == 1:
            source = f"${arguments[0]}" if arguments else match[1].partition("::")[0]
            return f"(SELECT value AS {names[0]} FROM json_each({source})) AS {alias}{ending}"
        zipped.append(tuple(int(number) for number in arguments))
        columns = ", ".join(
            f"{f'unpack(value ->> {n})' if blob else f'value ->> {n}'} AS {name}"
            for n, (name, blob) in enumerate(zip(names, blobs, strict=True))
        )
        return f"(SELECT {columns} FROM json_each(${count + len(zipped)})) AS {alias}{ending}"

    text = _UNNEST.sub(unnest, text)
    text = _ANY.sub(is_in, text)
    text = _OVERLAP.sub(overlap, text)
    emptied = re.search(r"CREATE TEMPORARY TABLE (?:IF NOT EXISTS )?(\w+) ON COMMIT DELETE ROWS", text)
    text = _LIST.sub(r"json_group_array(\1)", text)
    text = _EPOCH.sub(r"(epoch(\1) - epoch(\2))", text)
    for pattern, replacement in _REWRITINGS:
        text = pattern.sub(replacement, text)
    text = _compound(text)
    text, found = _of_views(text, portal)
    changed = re.match(rf"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+{VIEW}(\w+)", text)
    if changed:
        text = re.sub(r"\bON CONFLICT DO NOTHING\b", "", text)
    text, returning = _returning(_without_alias(text), changed is not None)
    foreign = _FOREIGN.search(_KNOWN.sub("", text))
    if foreign:
        raise ValueError(f"this statement has no meaning in SQLite ({foreign[0]}): {sql}")
    text = _HELD.sub(lambda match: literals[int(match[1])], text)
    return Statement(
        text,
        tuple(zipped),
        found,
        changed[1] if changed else None,
        emptied[1] if emptied else None,
        returning,
        count,
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


def apart(sql: str) -> list[str]:
    """A statement whose WITH clause changes data as two: what follows the clause, which sees what was before
    it, and then the change."""
    begun = re.match(r"\s*WITH\s+(\w+)\s+AS\s+\((?=\s*(?:INSERT|UPDATE|DELETE))", sql)
    if begun is None:
        return [sql]
    held = [match.span() for match in _LITERAL.finditer(sql)]
    depth, at = 1, begun.end()
    while depth:
        if not any(low <= at < high for low, high in held):
            depth += {"(": 1, ")": -1}.get(sql[at], 0)
        at += 1
    change, rest = sql[begun.end() : at - 1], sql[at:]
    return [_BEGUN if re.search(rf"\bFROM {begun[1]}\b", rest) else rest, change]


# The entry of a run that is recorded with it, if it wasn't already.
_BEGUN = (
    "INSERT INTO bulkmig.audit (run_id, action, operator, host, summary, mac)"
    " SELECT $1, 'started', $3, $4, $7, $8 WHERE NOT EXISTS (SELECT FROM bulkmig.runs WHERE id = $1)"
)


def split(script: str) -> list[str]:
    """The statements of a script, outside of literals; none of them has a body of its own."""
    pieces, begin = [], 0
    held = [match.span() for match in _LITERAL.finditer(script)]
    for match in re.finditer(";", script):
        if not any(low <= match.start() < high for low, high in held):
            pieces.append(script[begin : match.start()])
            begin = match.end()
    pieces.append(script[begin:])
    return [piece.strip() for piece in pieces if piece.strip()]
