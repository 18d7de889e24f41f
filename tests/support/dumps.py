"""Databases byte by byte, to be compared."""

from __future__ import annotations

from typing import cast

import asyncpg

from tests.support import lane

_TABLES = """
SELECT c.oid::regclass::text AS name,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n)
          FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
          JOIN pg_attribute a ON a.attnum = k.attnum
         WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid) AS key
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
 ORDER BY 1
"""
_OBJECTS = """
SELECT array_agg(n.nspname || '.' || c.relname || ' ' || c.relkind::text ORDER BY 1)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT LIKE 'pg\\_%'
"""


async def dump(url: str, *, schema: str = "") -> dict[str, bytes]:
    """Every table's rows in order of its key, as COPY prints them; of one schema, if named ("public")."""
    if url.startswith("sqlite:"):
        return await lane.shown(url)
    connection = await asyncpg.connect(url, server_settings={"TimeZone": "UTC", "DateStyle": "ISO, YMD"})
    found: dict[str, bytes] = {}
    try:
        for table, key in await connection.fetch(_TABLES):
            if schema and (table.partition(".")[0] if "." in table else "public") != schema:
                continue
            chunks: list[bytes] = []

            async def keep(data: bytes, chunks: list[bytes] = chunks) -> None:
                chunks.append(data)

            order = f"ORDER BY {key}" if key else "ORDER BY t::text"
            await connection.copy_from_query(f"SELECT * FROM {table} t {order}", output=keep)
            found[table] = b"".join(chunks)
    finally:
        await connection.close()
    return found


async def objects(url: str) -> list[str]:
    """The names of every table, index, sequence and view, in every schema."""
    connection = await asyncpg.connect(url)
    try:
        return cast("list[str]", await connection.fetchval(_OBJECTS))
    finally:
        await connection.close()


def apart(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """The tables in which two dumps differ, with the first line that does."""
    lines = []
    for table in sorted(one.keys() | other.keys()):
        left, right = (dump.get(table, b"").split(b"\n") for dump in (one, other))
        if left != right:
            first = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), -1)
            lines.append(f"{table}: {len(left)} lines, {len(right)} lines: {left[first]!r} {right[first]!r}")
    return lines
