"""Creates the ledger's tables and brings them up to date, by the numbered files in `sql/`."""

from __future__ import annotations

from importlib.resources import files

import asyncpg

from bulkmig.errors import PreflightError
from bulkmig.ledger import shape
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import Connection, transaction
from bulkmig.sqlite.session import Session, on_file

_MIGRATIONS = """CREATE TABLE IF NOT EXISTS bulkmig_migrations (
    version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')));
"""
# Processes that start at once apply each file once: the lock is held to the end of the transaction.
_LOCK = 0x62756C6B6D6967  # "bulkmig"


def migrations(folder: str = "sql") -> list[tuple[int, str]]:
    """(number, SQL) of every file, in order. `folder`: `sql`, or `sqlite` where the portal is on SQLite."""
    found = [
        (int(file.name.partition("_")[0]), file.read_text(encoding="utf-8"))
        for file in files("bulkmig.ledger").joinpath(folder).iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found)


async def version(connection: Connection) -> int:
    """The number of the last file applied; 0 where there is no ledger. Raises PreflightError where the
    ledger is newer than this program, or other tables bear its names, or some of its own are gone."""
    found = await shape.there(connection)
    if "version" not in found.get("migrations", ()):
        return _none(found, _folder(connection))
    if (file := on_file(connection)) is not None:
        await file.ledger_is_there()
    applied: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM bulkmig.migrations")
    known = migrations(_folder(connection))
    if applied > known[-1][0]:
        raise PreflightError(
            f"the target's ledger has version {applied}, this program knows {known[-1][0]}",
            "use the newer bulkmig that wrote it",
        )
    if applied == 0:
        return _none({name: found[name] for name in found if name != "migrations"}, _folder(connection))
    # Looked at once more: another process may have brought it up to date between the two statements.
    if _apart(found, applied, known) and (apart := _apart(await shape.there(connection), applied, known)):
        raise PreflightError(
            f"the target's ledger says version {applied}, but isn't that: {'; '.join(apart)}",
            "restore it with the target from a backup: without it bulkmig doesn't know what it wrote",
        )
    return applied


def _apart(found: shape.Tables, applied: int, known: list[tuple[int, str]]) -> list[str]:
    """What a ledger of this version lacks, and which tables it has of later ones."""
    wanted, all_of_them = (
        shape.due(sql for number, sql in known if number <= last) for last in (applied, known[-1][0])
    )
    later = sorted(found.keys() & all_of_them.keys() - wanted.keys())
    missing = [f"{name} is missing" for name in shape.lacks(found, wanted)]
    return missing + [f"table {name} is of a later one" for name in later]


def _none(found: shape.Tables, folder: str) -> int:
    """No ledger, unless something else is where its tables would be."""
    others = found.keys() & {"migrations", *shape.due(sql for _, sql in migrations(folder))}
    if others:
        before = "bulkmig." if folder == "sql" else "bulkmig_"
        raise PreflightError(
            "the target has no ledger, but something with names of its tables: "
            + ", ".join(before + name for name in sorted(others)),
            "rename or remove what isn't bulkmig's, or restore the rest of the ledger from a backup",
        )
    return 0


def newest(connection: Connection) -> int:
    """The number of the last file that this program knows for such a target."""
    return migrations(_folder(connection))[-1][0]


def _folder(connection: Connection) -> str:
    return "sql" if on_file(connection) is None else "sqlite"


async def _upgrade_file(connection: Connection, file: Session) -> int:
    async with transaction(connection):
        await file.script(_MIGRATIONS)
        before = await version(connection)
        for number, sql in migrations("sqlite"):
            if number > before:
                await file.script(sql)
                await connection.execute("INSERT INTO bulkmig.migrations (version) VALUES ($1)", number)
    await file.look()
    return await version(connection) - before


async def upgrade(connection: Connection) -> int:
    """Creates what is missing; returns how many files were applied. Safe from several processes at once."""
    newest = migrations(_folder(connection))[-1][0]
    if await version(connection) == newest:
        return 0
    file = on_file(connection)
    if file is not None:
        return await _upgrade_file(connection, file)
    try:
        async with transaction(connection):
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            # Where it is there already, the role need not be allowed to create one.
            if await connection.fetchval("SELECT to_regnamespace('bulkmig') IS NULL"):
                await connection.execute("CREATE SCHEMA bulkmig")
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS bulkmig.migrations"
                " (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            applied = await version(connection)
            for number, sql in migrations():
                if number > applied:
                    await connection.execute(sql)
                    await connection.execute("INSERT INTO bulkmig.migrations (version) VALUES ($1)", number)
    except asyncpg.InsufficientPrivilegeError as error:
        raise PreflightError(
            f"the role may not create bulkmig's tables in the target: {describe(error)}",
            "run `bulkmig init` once as a role that may CREATE in this database",
        ) from error
    return newest - applied
