"""Canaries: markers in the place of every personal or secret value, each with its column and row, so that one
that is found outside tells where it got out."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import asyncpg
import zstandard

from tests.oracle.file import path_of

SECRET = "kanarie-dsn-password"
KEY, NEWER_KEY = "0b" * 32, "0c" * 32
# Also as bytes print, and in base64.
CANARY = re.compile(r"kanarie|(?:0b){9}|(?:0c){9}|a2FuYXJpZ|CwsLCwsL|DAwMDAwM|(?:\\x0[bc]){9}", re.IGNORECASE)
# What is wrong with a value, or the same as in another row, stays so.
PERSONAL = """
UPDATE users SET email = left('kanarie-' || email, 255), password_hash = 'kanarie-hash-' || id,
  first_name = left('Kanarie ' || coalesce(first_name, substr(id::text, 1, 8)), 100),
  last_name = left('Kanarie''s "' || coalesce(last_name, '') || substr(id::text, 1, 8), 100),
  phone = '+kanarie-' || substr(id::text, 1, 8), avatar_url = 'https://example.org/kanarie-' || id,
  settings = json_build_object('token', 'kanarie-token-' || id, 'was', settings);
UPDATE companies SET contact_email = left('kanarie-' || coalesce(contact_email, id::text), 255),
  contact_phone = '+kanarie-' || substr(id::text, 1, 8);
"""


async def plant(source: str) -> None:
    """Puts markers into a source."""
    connection = await asyncpg.connect(source)
    try:
        await connection.execute(PERSONAL)
    finally:
        await connection.close()


def in_text(text: str) -> str:
    """The first canary with what is around it; '' where there is none."""
    found = CANARY.search(text)
    return text[max(found.start() - 80, 0) : found.end() + 80] if found else ""


def in_files(folder: Path, *apart_from: Path) -> list[str]:
    """The files below a folder that hold a canary."""
    return [
        f"{path.name}: {found}"
        for path in folder.rglob("*")
        if path.is_file() and not any(path.name.startswith(one.name) for one in apart_from)
        if (found := in_text(path.read_bytes().decode(errors="replace")))
    ]


async def in_ledger(target: str) -> set[str]:
    """The columns of the ledger that hold a canary in the clear, compressed or not."""
    tables = _of_file(target) if target.startswith("sqlite:") else await _of_server(target)
    return {name for name, values in tables.items() for value in values if in_text(_readable(value))}


def _of_file(target: str) -> dict[str, list[object]]:
    def columns() -> Iterator[tuple[str, str]]:
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            if table.startswith("bulkmig_"):
                for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                    yield table, column

    with closing(sqlite3.connect(path_of(target))) as connection:
        return {
            f"{table}.{column}": [row[0] for row in connection.execute(f'SELECT "{column}" FROM {table}')]
            for table, column in columns()
        }


async def _of_server(target: str) -> dict[str, list[object]]:
    connection = await asyncpg.connect(target)
    try:
        columns = await connection.fetch(
            "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " WHERE c.relnamespace = 'bulkmig'::regnamespace AND c.relkind = 'r' AND a.attnum > 0"
            " AND NOT a.attisdropped"
        )
        return {
            f"{table}.{column}": [
                row[0] for row in await connection.fetch(f'SELECT "{column}" FROM bulkmig.{table}')
            ]
            for table, column in columns
        }
    finally:
        await connection.close()


def _readable(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    with suppress(zstandard.ZstdError):  # it isn't compressed
        value = zstandard.ZstdDecompressor().decompress(value, max_output_size=1 << 26)
    return value.decode(errors="replace")
