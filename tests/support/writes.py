"""Every statement in bulkmig's code that writes, found by reading the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bulkmig
from tests.support.sources import parse
from tests.support.wire import normalised, written

ROOT = Path(bulkmig.__file__).parent
# What makes databases for demo, tests and benchmarks, and what writes files (test_kills_on_files.py).
ELSEWHERE = ("generate", "embedded", "schemas", "sqlite", "lift", "ledger/sqlite")
HOLE = "{}"
_SQL = re.compile(r"^(INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|TRUNCATE|COPY|WITH)\b")
_FIELD = re.compile(r"\{\w*\}")
COPY_CALLS = ("copy_in", "copy_rows", "copy_to_table", "copy_records_to_table")


@dataclass(frozen=True)
class Write:
    """A statement in a file. `place`: file and function; `text`: normalised, with holes."""

    place: str
    text: str

    def is_in(self, executed: str) -> bool:
        """Whether an executed statement (normalised) can have come from here."""
        holes = re.escape(self.text).replace(re.escape(HOLE), ".*?")
        return any(re.match(holes, part.strip()) for part in executed.split(";"))


def modules() -> Iterator[tuple[str, Path]]:
    """The files of the package that touch the target."""
    for path in sorted(ROOT.rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix in (".py", ".sql") and not name.startswith(tuple(f"{part}/" for part in ELSEWHERE)):
            yield name, path


def statements() -> list[Write]:
    """All statements that write, except COPY, which has no text in the code."""
    found: list[Write] = []
    for name, path in modules():
        text = path.read_text(encoding="utf-8")
        pieces = [("", text)] if path.suffix == ".sql" else list(_texts(parse(text)))
        for function, piece in pieces:
            for part in _FIELD.sub(HOLE, normalised(piece)).split(";"):
                sql = part.strip()
                if _SQL.match(sql) and written(sql):
                    found.append(Write(f"{name}:{function}".rstrip(":"), sql))
    return found


def copies() -> set[str]:
    """The places (file and function) that COPY into a table."""
    return {
        f"{name}:{function}"
        for name, path in modules()
        if path.suffix == ".py"
        for function, node in _nodes(parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) in COPY_CALLS
    }


def _nodes(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        within = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        yield function, node
        yield from _nodes(node, within)


def _texts(tree: ast.AST) -> Iterator[tuple[str, str]]:
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    for function, node in _nodes(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            yield (
                function,
                "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield function, node.value
