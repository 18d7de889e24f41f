"""What the roles may do: all that bulkmig needs, and no more than it needs."""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg

from bulkmig.config import Settings
from bulkmig.doctor.check import Check, lacking
from bulkmig.doctor.schemas import AUDIT_LOG, read_columns, written_columns
from bulkmig.ledger import schema
from bulkmig.postgres.catalogue import BARRED, read_catalogue, told
from bulkmig.postgres.session import Connection
from bulkmig.target import graph
from bulkmig.target.scope import Scope

_APPENDED = {"SELECT", "INSERT"}
_WRITES = {*_APPENDED, "UPDATE", "DELETE"}
GRANTS = "see `bulkmig doctor --grants`"

_ATTRIBUTES = """
SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles
 WHERE rolname = current_user
"""
_TOO_MUCH = {
    "rolcreaterole": "it may create roles",
    "rolcreatedb": "it may create databases",
    "rolreplication": "it may replicate",
    "rolbypassrls": "it passes by row security",
}
# Ordinary tables outside the system's and bulkmig's schemas, and what the role may do with each.
_TABLES = """
SELECT c.oid::regclass::text AS name, c.relname, pg_has_role(c.relowner, 'USAGE') AS owned,
       coalesce(c.oid = to_regclass(quote_ident(c.relname)), false) AS plain,
       row_security_active(c.oid) AS hidden, c.relrowsecurity AS secured,
       (SELECT array_agg(p)
          FROM unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
         WHERE has_table_privilege(c.oid, p)) AS may
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'bulkmig')
   AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_toast%'
 ORDER BY 1
"""
_MAY_CREATE = """
SELECT has_database_privilege(current_database(), 'CREATE') AS in_database,
       (SELECT array_agg(n.nspname::text ORDER BY 1) FROM pg_namespace n
         WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'bulkmig')
           AND has_schema_privilege(n.oid, 'CREATE')) AS in_schemas
"""
# What a role needs besides tables: the way into the schema, and a place for what a rollback compares.
_AROUND = """
SELECT has_database_privilege(current_database(), 'TEMPORARY') AS temporary,
       (SELECT array_agg(n.nspname::text ORDER BY 1) FROM pg_namespace n
         WHERE EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
                          AND c.relname = ANY ($1::text[]))
           AND n.nspname <> 'bulkmig' AND NOT has_schema_privilege(n.oid, 'USAGE')
           AND n.nspname = ANY (string_to_array(replace(current_setting('search_path'), ' ', ''), ',')))
       AS closed
"""
_ADDED = {"audit", "audit_chain", "migrations"}  # tables of the ledger in which nothing ever changes
_LEDGER = """
SELECT c.relname AS name, pg_has_role(c.relowner, 'USAGE') AS owned,
       (SELECT array_agg(p) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
         WHERE has_table_privilege(c.oid, p)) AS may
  FROM pg_class c WHERE c.relnamespace = to_regnamespace('bulkmig') AND c.relkind IN ('r', 'p') ORDER BY 1
"""


async def source(connection: Connection) -> list[Check]:
    """The source's role reads the tables that move and the log of deletions, and that is all."""
    wanted = read_columns()
    _, refused = await read_catalogue(connection, sorted(wanted))
    tables = await connection.fetch(_TABLES)
    problems, _ = await _around(connection, wanted)
    for table, columns in sorted(wanted.items()):
        barred = {column: f"{BARRED} read" for column in columns if (table, column) in refused}
        problems += told(table, columns, barred)
    problems += _hidden(tables, {t["name"] for t in tables if t["plain"] and t["relname"] in wanted})
    log = next((t for t in tables if t["relname"] == AUDIT_LOG and t["plain"]), None)
    unread = (
        [f"{AUDIT_LOG} may not be read"] if log is not None and "SELECT" not in (log["may"] or ()) else []
    )
    excess = await _excess(connection, tables, {t: {"SELECT"} for t in (*wanted, AUDIT_LOG)})
    may_create = await connection.fetchrow(_MAY_CREATE)
    assert may_create is not None
    excess += _creation(may_create, in_database=True)
    return [
        lacking("source privileges", problems, "every column that is read may be read", GRANTS),
        lacking(
            "source privileges for sync", unread, "the log of deletions may be read", GRANTS, needed=False
        ),
        _least("source", excess),
    ]


async def target(connection: Connection, settings: Settings) -> list[Check]:
    """The target's role reads and writes the tables that are filled and those that hang on them, and has a
    ledger or may make one."""
    tables = await connection.fetch(_TABLES)
    may = {t["name"]: set(t["may"] or ()) for t in tables}
    filled = {name for name in written_columns() if name in may}
    # Where these are missing, or the way to them, it is not known what hangs on them.
    scopes = await _scopes(connection) if {"vessels", "companies"} <= filled else ()
    problems, temporary = await _around(connection, written_columns())
    problems += _without(filled, may, _WRITES) + _hidden(tables, filled)
    hanging = {t.name for scope in scopes for t in scope.tables} - filled
    excess = await _excess(connection, tables, dict.fromkeys(filled | hanging, _WRITES))
    may_create = await connection.fetchrow(_MAY_CREATE)
    assert may_create is not None
    ledger = await _ledger(connection, may_create=may_create["in_database"])
    made = await connection.fetchval("SELECT to_regnamespace('bulkmig') IS NOT NULL")
    excess += _creation(may_create, in_database=made)
    checks = [
        lacking("target privileges", problems, "every table may be read and written", GRANTS),
        lacking(
            "target privileges for rollback",
            _without(hanging, may, _WRITES)
            + _hidden(tables, hanging)
            + ([] if temporary else ["the database: no TEMPORARY"]),
            "the portal's own tables that hang on vessels may be read and written",
            GRANTS,
            needed=False,
        ),
        lacking("target ledger privileges", ledger, "the ledger can be written", GRANTS),
        _least("target", excess),
    ]
    if settings.fk_check == "set":
        checks.append(await _replica(connection))
    return checks


def _hidden(tables: Iterable[asyncpg.Record], names: set[str]) -> list[str]:
    return [
        f"row security hides rows of {table['name']}: the role needs BYPASSRLS"
        for table in tables
        if table["hidden"] and table["name"] in names
    ]


async def _scopes(connection: Connection) -> tuple[Scope, ...]:
    found = await graph.read(connection)
    return found.vessels, found.companies


async def _around(connection: Connection, tables: Iterable[str]) -> tuple[list[str], bool]:
    """The schemas that the role may not use, and whether it may make temporary tables."""
    row = await connection.fetchrow(_AROUND, list(tables))
    assert row is not None
    return [f"the schema {name}: no USAGE" for name in row["closed"] or ()], row["temporary"]


def _without(tables: Iterable[str], may: dict[str, set[str]], wanted: set[str]) -> list[str]:
    return [
        f"{name}: no {', '.join(sorted(missing))}"
        for name in sorted(tables)
        if (missing := wanted - may.get(name, set()))
    ]


async def _ledger(connection: Connection, *, may_create: bool) -> list[str]:
    rows = await connection.fetch(_LEDGER)
    if not rows:
        own = await connection.fetchval("SELECT has_schema_privilege(to_regnamespace('bulkmig'), 'CREATE')")
        return [] if own or may_create else ["there is no schema bulkmig, and the role may not create one"]
    problems = [
        f"bulkmig.{row['name']}: no {', '.join(sorted(missing))}"
        for row in rows
        if (missing := (_APPENDED if row["name"] in _ADDED else _WRITES) - set(row["may"] or ()))
    ]
    begun = not problems and "migrations" in {row["name"] for row in rows}
    version = await connection.fetchval("SELECT max(version) FROM bulkmig.migrations") if begun else 0
    if (version or 0) < schema.migrations()[-1][0] and not all(row["owned"] for row in rows):
        problems.append("the ledger must be brought up to date, and the role doesn't own it")
    return problems


async def _excess(
    connection: Connection, tables: Iterable[asyncpg.Record], wanted: dict[str, set[str]]
) -> list[str]:
    role = await connection.fetchrow(_ATTRIBUTES)
    assert role is not None
    if role["rolsuper"]:
        return ["the role is a superuser"]
    tables = list(tables)
    may_bypass = any(table["secured"] and table["relname"] in wanted for table in tables)
    problems = [
        text
        for attribute, text in _TOO_MUCH.items()
        if role[attribute] and not (attribute == "rolbypassrls" and may_bypass)
    ]
    for table in tables:
        allowed = wanted.get(table["relname"], set()) if table["plain"] else set()
        more = sorted(set(table["may"] or ()) - allowed)
        if table["owned"]:
            problems.append(f"it owns {table['name']}")
        elif more:
            problems.append(f"{table['name']}: {', '.join(more)}")
    return problems


def _creation(may: asyncpg.Record, *, in_database: bool) -> list[str]:
    problems = ["it may create schemas in the database"] if may["in_database"] and in_database else []
    return problems + [f"it may create in the schema {name}" for name in may["in_schemas"] or ()]


def _least(role: str, excess: list[str]) -> Check:
    return lacking(
        f"{role} least privilege",
        excess if "the role is a superuser" not in excess else ["the role is a superuser"],
        "the role may do nothing that bulkmig doesn't need",
        f"use a role of its own for bulkmig: {GRANTS}",
        needed=False,
    )


async def _replica(connection: Connection) -> Check:
    name = "target privileges for --fk-check set"
    try:
        await connection.execute("BEGIN; SET LOCAL session_replication_role = replica; ROLLBACK")
    except asyncpg.InsufficientPrivilegeError:
        await connection.execute("ROLLBACK")
        return Check(
            name,
            False,
            "the role may not turn triggers off",
            "GRANT SET ON PARAMETER session_replication_role (from PostgreSQL 15), or --fk-check row",
        )
    return Check(name, True, "the role may turn triggers off for the load")
