"""A target on SQLite: its file, its schema, its integrity, the ledger in it."""

from __future__ import annotations

import os
import sqlite3

from bulkmig.doctor import ledger
from bulkmig.doctor.check import Check, lacking
from bulkmig.doctor.schemas import written_columns
from bulkmig.ledger import schema
from bulkmig.postgres.session import Connection
from bulkmig.sqlite.examine import broken
from bulkmig.sqlite.session import Session
from bulkmig.sqlite.unlike import unlike


async def look(connection: Connection, file: Session) -> list[Check]:
    """Everything there is to know of it without writing."""
    path = file.address.path
    (journal,), *_ = await file.pragma("PRAGMA main.journal_mode")
    damage, lost = await broken(file)
    missing = [
        f"{table}.{column}"
        for table, columns in written_columns().items()
        for column in columns
        if table not in file.tables or column not in {c.name for c in file.tables[table].columns}
    ]
    return [
        Check("target version", True, f"SQLite {sqlite3.sqlite_version}"),
        Check(
            "target file",
            _writable(path),
            path,
            "give the user write access to the file and to its directory",
        ),
        Check(
            "target journal",
            journal == "wal",
            f"journal mode {journal}"
            + ("" if journal == "wal" else ": the portal waits while bulkmig commits"),
            "PRAGMA journal_mode = WAL, if the portal can take it",
            needed=False,
        ),
        lacking(
            "target schema",
            [*(f"column {name} is missing" for name in missing), *unlike(file.tables)],
            "every table and column that is written is there",
            "check the address and the schema",
        ),
        lacking(
            "target integrity", damage, "integrity_check finds nothing", "restore the file from a backup"
        ),
        lacking(
            "target references",
            [
                f"{table} {number}: {column} names no row of {parent}"
                for table, number, column, parent in lost[:10]
            ],
            "foreign_key_check finds nothing",
            "correct these rows in the portal",
            needed=False,
        ),
        *await ledger.look_into(connection, schema.migrations("sqlite")[-1][0]),
    ]


def _writable(path: str) -> bool:
    return os.access(path, os.W_OK) and os.access(os.path.dirname(os.path.abspath(path)), os.W_OK)
