"""The contract's schemas: read by name, and loadable where they are meant to be."""

from __future__ import annotations

import sqlite3

import asyncpg
import pytest

from bulkmig import schemas
from tests.support.servers import Content, Databases


def test_a_schema_is_read_by_name() -> None:
    assert "CREATE TABLE companies" in schemas.read("onboarding.sql")


@pytest.mark.parametrize("name", ["nothing.sql", "../errors.py", "__init__.py", ""])
def test_an_unknown_name_is_refused_and_the_known_are_named(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"maintenance\.postgres\.sql"):
        schemas.read(name)


@pytest.mark.all_versions
@pytest.mark.parametrize(("content", "table"), [("onboarding", "companies"), ("maintenance", "equipment")])
async def test_a_fresh_database_has_the_schema_and_no_rows(
    databases: Databases, content: Content, table: str
) -> None:
    connection = await asyncpg.connect(databases(content))
    try:
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
    finally:
        await connection.close()


def test_the_target_schema_loads_into_sqlite() -> None:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(schemas.read("maintenance.sqlite.sql"))
        assert connection.execute("SELECT count(*) FROM equipment").fetchone() == (0,)
    finally:
        connection.close()
