"""The contender that always runs: a plain asyncpg program, a row at a time from a cursor, INSERTs in batches.

    python -m benchmarks.row_by_row SOURCE_URL TARGET_URL

Copies every table of the Onboarding Portal into a database of the same schema, keys and types kept. It
leaves out what a migration is: no transform, no validation, no ledger, no ids of the target's own. Prints
its rows as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

import asyncpg

# In the order of their foreign keys.
TABLES = (
    "companies",
    "users",
    "vessels",
    "locations",
    "equipment",
    "critical_parts",
    "documents",
    "quality_scores",
    "cross_references",
)
_AT_ONCE = 1000  # rows between two round trips


async def copy(source: str, target: str) -> int:
    """Copies every table; returns how many rows."""
    read, write = await asyncpg.connect(source), await asyncpg.connect(target)
    copied = 0
    for table in TABLES:
        async with read.transaction(isolation="repeatable_read", readonly=True):
            statement = await read.prepare(f"SELECT * FROM {table}")
            names = [attribute.name for attribute in statement.get_attributes()]
            places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
            insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"
            async with write.transaction():
                waiting = []
                async for row in statement.cursor(prefetch=_AT_ONCE):
                    waiting.append(tuple(row))
                    if len(waiting) == _AT_ONCE:
                        await write.executemany(insert, waiting)
                        copied += len(waiting)
                        waiting.clear()
                await write.executemany(insert, waiting)
                copied += len(waiting)
    await read.close()
    await write.close()
    return copied


def main() -> int:
    parser = argparse.ArgumentParser(description="a plain asyncpg program, row by row")
    parser.add_argument("source")
    parser.add_argument("target", help="a database with the source's schema, empty")
    arguments = parser.parse_args()
    print(json.dumps({"rows": asyncio.run(copy(arguments.source, arguments.target))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
