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
from bulkmig.sqlite.translate import apart, split, translate

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
    ("verify_units.py", "pg_"),
    ("cli/verb_demo.py", "UPDATE"),
    ("sync/detect.py", "FROM locations"),
    ("sync/detect.py", "assessed_by"),
}


def statements() -> Iterator[tuple[str, str]]:
    """(file, statement) of every constant that is one, as it stands in the package."""
    for path in sorted(ROOT.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name.split("/")[0] in ELSEWHERE:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {id(v) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for v in ast.walk(node)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in parts else None
            if not isinstance(text, str) or "{" in text:
                continue
            never = any(name == file and word in text for file, word in NEVER)
            if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s", text) and not never:
                yield name, text


STATEMENTS = list(statements())


@pytest.fixture(scope="module")
def file() -> Iterator[tuple[sqlite3.Connection, frozenset[str]]]:
    """An empty portal with a ledger, shown in PostgreSQL's shape."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    functions.register(connection)
    connection.executescript(schemas.read("maintenance.sqlite.sql"))
    connection.execute("CREATE TABLE bulkmig_migrations (version INTEGER PRIMARY KEY)")
    for _, sql in schema.migrations("sqlite"):
        connection.executescript(sql)
    tables = portal.read(connection)
    for statement in portal.views(tables):
        connection.execute(statement)
    yield connection, frozenset(name for name, table in tables.items() if table.shaped)
    connection.close()


def test_there_are_statements() -> None:
    assert len(STATEMENTS) > 60


@pytest.mark.parametrize(("name", "sql"), STATEMENTS, ids=[f"{f}:{n}" for n, (f, _) in enumerate(STATEMENTS)])
def test_a_statement_means_something_on_sqlite(
    file: tuple[sqlite3.Connection, frozenset[str]], name: str, sql: str
) -> None:
    connection, tables = file
    if re.match(r"\s*SELECT pg_(try_)?advisory_", sql):
        return  # a call that the session answers itself
    for one in (part for whole in split(sql) for part in apart(whole)):
        made = translate(one, tables)
        values = [None] * (made.given + len(made.zipped))
        connection.execute(f"EXPLAIN {made.sql}", values)


def test_equipment_is_looked_up_by_its_source_id_and_not_searched_for(
    file: tuple[sqlite3.Connection, frozenset[str]],
) -> None:
    connection, tables = file
    (sql,) = {sql for _, sql in STATEMENTS if "m.original_id = i.id" in sql}
    plan = connection.execute(f"EXPLAIN QUERY PLAN {translate(sql, tables).sql}", [None]).fetchall()
    steps = [step for *_, step in plan]
    assert any(
        re.match(r"SEARCH m USING (COVERING )?INDEX \w+ \(original_id=\?\)", step) for step in steps
    ), steps
