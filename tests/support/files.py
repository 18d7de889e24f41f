"""Maintenance Portals on SQLite for tests."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from bulkmig import schemas
from bulkmig.generate import FleetSpec, generate_portal
from tests.oracle.contract import TABLES
from tests.oracle.file import path_of, write_file
from tests.oracle.target import read_rows
from tests.support.fleets import Origin

SCHEMA = "maintenance.sqlite.sql"

_fresh: list[bytes] = []  # a portal's file, once one was made


def portal(path: Path) -> str:
    """A fresh portal without rows; its URL."""
    if not _fresh:
        write_file(path, schemas.read(SCHEMA), {})
        _fresh.append(path.read_bytes())
    path.write_bytes(_fresh[0])
    return f"sqlite:///{path}"


async def with_rows(path: Path, empty_url: str, origin: Origin, spec: FleetSpec) -> str:
    """A portal with rows of its own, which are made in an empty one on PostgreSQL; its URL."""
    await generate_portal(empty_url, origin.url, spec)
    return write_file(path, schemas.read(SCHEMA), await read_rows(empty_url))


def tamper(url: str, script: str) -> None:
    """Runs a script as any program could, foreign keys off."""
    connection = sqlite3.connect(path_of(url), isolation_level=None)
    try:
        connection.executescript(script)
    finally:
        connection.close()


def stored(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Every cell of the contract's tables as it is stored, with its type."""
    connection = sqlite3.connect(path_of(url))
    try:
        return {
            table: [
                tuple(row)
                for row in connection.execute(
                    f"SELECT {', '.join(f'{c}, typeof({c})' for c in columns)} FROM {table} ORDER BY 1, 3"
                )
            ]
            for table, columns in TABLES.items()
        }
    finally:
        connection.close()
