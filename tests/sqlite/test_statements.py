"""Every statement that the package has for a target means something on SQLite."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulkmig
from bulkmig import schemas
from bulkmig.ledger import schema
from bulkmig.sqlite import functions, portal
from bulkmig.sqlite.literals import apart, split
from bulkmig.sqlite.tables import read
from bulkmig.sqlite.translate import translate
from tests.support.sources import parse

ROOT = Path(bulkmig.__file__).parent
#: Where statements are for PostgreSQL alone: the source, other commands' ends, what a file has of its own.
ELSEWHERE = {
    *("cluster", "doctor", "embedded", "generate", "lift", "postgres", "source", "sqlite"),
    *("selection.py", "units.py"),
}
#: (file, what is in the statement) of those that no file is ever asked.
NEVER = {
    ("preflight.py", "pg_"),
    ("preflight.py", "current_setting"),
    ("ends.py", "pg_current_snapshot"),
    ("decide/qr_codes.py", "convert_to"),
    ("decide/fleet.py", "FROM companies ORDER BY created_at"),
    ("decide/fleet.py", "FROM users ORDER BY created_at"),
    ("weigh.py", "xmin"),
    ("target/graph.py", "pg_"),
    ("target/references.py", "pg_"),
    ("ledger/schema.py", "CREATE"),
    ("ledger/schema.py", "to_regnamespace"),
    ("ledger/shape.py", "pg_"),
    ("target/statistics.py", "pg_"),
    ("unseen.py", "pg_"),
    ("cli/verb_demo.py", "UPDATE"),
    ("sync/detect.py", "FROM locations"),
    ("sync/detect.py", "assessed_by"),
}


@pytest.fixture(scope="module")
def statements() -> list[tuple[str, str]]:
    """(file, statement) of every constant that is one, as it stands in the package."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name.split("/")[0] in ELSEWHERE:
            continue
        for text in _texts(parse(path.read_text(encoding="utf-8"))):
            never = any(name == file and word in text for file, word in NEVER)
            if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s", text) and not never:
                found.append((name, text))
    return found


def _texts(node: ast.AST) -> Iterator[str]:
    """The constants that need nothing to be put into them."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.Constant):
            if isinstance(inner.value, str) and "{" not in inner.value:
                yield inner.value
        elif not isinstance(inner, ast.JoinedStr):
            yield from _texts(inner)


@pytest.fixture(scope="module")
def file() -> Iterator[tuple[sqlite3.Connection, frozenset[str]]]:
    """An empty portal with a ledger, shown in PostgreSQL's shape."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    functions.register(connection)
    connection.executescript(schemas.read("maintenance.sqlite.sql"))
    connection.execute("CREATE TABLE bulkmig_migrations (version INTEGER PRIMARY KEY)")
    for _, sql in schema.migrations("sqlite"):
        connection.executescript(sql)
    tables = read(connection)
    for statement in portal.views(tables):
        connection.execute(statement)
    yield connection, frozenset(name for name, table in tables.items() if table.shaped)
    connection.close()


def test_every_statement_means_something_on_sqlite(
    file: tuple[sqlite3.Connection, frozenset[str]], statements: list[tuple[str, str]]
) -> None:
    connection, tables = file
    assert len(statements) > 60
    wrong = []
    for name, sql in statements:
        if re.match(r"\s*SELECT pg_(try_)?advisory_", sql):
            continue  # a call that the session answers itself
        try:
            for one in (part for whole in split(sql) for part in apart(whole)):
                made = translate(one, tables)
                values = [None] * (made.given + len(made.zipped))
                connection.execute(f"EXPLAIN {made.sql}", values)
        except Exception as error:
            wrong.append(f"{name}: {error!r} of {sql}")
    assert wrong == []


def test_equipment_is_looked_up_by_its_source_id_and_not_searched_for(
    file: tuple[sqlite3.Connection, frozenset[str]], statements: list[tuple[str, str]]
) -> None:
    connection, tables = file
    (sql,) = {sql for _, sql in statements if "m.original_id = i.id" in sql}
    plan = connection.execute(f"EXPLAIN QUERY PLAN {translate(sql, tables).sql}", [None]).fetchall()
    steps = [step for *_, step in plan]
    assert any(
        re.match(r"SEARCH m USING (COVERING )?INDEX \w+ \(original_id=\?\)", step) for step in steps
    ), steps
