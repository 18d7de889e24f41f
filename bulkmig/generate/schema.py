"""The onboarding database's schema: as the contract has it, and as it may be found instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bulkmig.generate.session import connect
from bulkmig.postgres.session import Connection, transaction
from bulkmig.schemas import read

# Values that no rule knows.
_ENUM_VALUES = {
    "user_role": "AUDITOR",
    "onboarding_status": "ARCHIVED",
    "equipment_criticality": "EXTREME",
    "equipment_status": "LOST",
    "equipment_classification": "LEASED",
    "document_type": "VIDEO",
}
_TABLES = """
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' ORDER BY c.relname
"""
_COLUMNS = """
    SELECT quote_ident(c.relname) AS table, quote_ident(a.attname) AS column, t.typtype = 'e' AS enumerated,
           format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required,
           pg_get_expr(d.adbin, d.adrelid) AS default,
           a.attidentity <> '' AS identity, coalesce(k.contype = 'p', false) AS key
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p' AND a.attnum = ANY (k.conkey)
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
    ORDER BY c.relname, a.attnum
"""
_CONSTRAINTS = """
    SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s',
                  conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint
    WHERE connamespace = current_schema()::regnamespace AND contype IN ('p', 'u', 'c', 'f')
    ORDER BY contype = 'f', conname
"""
_INDEXES = """
    SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    WHERE c.relnamespace = current_schema()::regnamespace
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))
    ORDER BY i.indexrelid::regclass::text
"""


async def create_schema(url: str) -> None:
    """Creates the onboarding database's types and tables in an empty database."""
    async with connect(url) as connection:
        await connection.execute(read("onboarding.sql"))


async def vary_schema(url: str, variation: str) -> None:
    """Makes an onboarding database without rows differ from the contract; see `VARIATIONS`.

    Variations may follow one another. Raises ValueError for a name that isn't one."""
    if variation not in VARIATIONS:
        raise ValueError(f"no variation named {variation!r}; there are {', '.join(sorted(VARIATIONS))}")
    async with connect(url) as connection:
        if variation == "extended_enums":
            await add_enum_values(
                connection
            )  # PostgreSQL lets nobody use a new value in the same transaction
            return
        async with transaction(connection):
            await _VARY[variation](connection)


async def add_enum_values(connection: Connection) -> None:
    """Gives each enum type a value that no rule knows; where a column is text, there is nothing to do."""
    for type_, value in _ENUM_VALUES.items():
        if await connection.fetchval("SELECT to_regtype($1) IS NOT NULL", type_):
            await connection.execute(f"ALTER TYPE {type_} ADD VALUE IF NOT EXISTS '{value}'")


async def has_jsonb(connection: Connection) -> bool:
    """Whether any column is `jsonb`, which refuses part of what `json` takes."""
    return any(row["type"] == "jsonb" for row in await connection.fetch(_COLUMNS))


async def _reorder(connection: Connection) -> None:
    """Every table's columns in the opposite order, the id last."""
    columns = await connection.fetch(_COLUMNS)
    constraints = await connection.fetch(_CONSTRAINTS)
    indexes = await connection.fetch(_INDEXES)
    tables: dict[str, list[str]] = {}
    for row in reversed(columns):
        line = f"{row['column']} {row['type']}"
        if row["identity"]:
            line += " GENERATED ALWAYS AS IDENTITY"
        elif row["default"] is not None:
            line += f" DEFAULT {row['default']}"
        tables.setdefault(row["table"], []).append(line + (" NOT NULL" if row["required"] else ""))
    for table, lines in tables.items():
        await connection.execute(f"DROP TABLE {table} CASCADE")
        await connection.execute(f"CREATE TABLE {table} ({', '.join(lines)})")
    for (statement,) in [*constraints, *indexes]:
        await connection.execute(statement)


async def _add_columns(connection: Connection) -> None:
    """Columns that nobody expects, of types that nobody expects, also under names that need quotes."""
    await connection.execute("CREATE TYPE dimensions AS (length_m numeric, beam_m numeric)")
    for (table,) in await connection.fetch(_TABLES):
        await connection.execute(
            f"""ALTER TABLE {table}
                ADD COLUMN "select" text DEFAULT E'line\\nbreak, "quoted"',
                ADD COLUMN "Größe ""x"" m" dimensions DEFAULT '(1.50,)',
                ADD COLUMN legacy_blob bytea NOT NULL DEFAULT '\\x00ff',
                ADD COLUMN tags text[] DEFAULT '{{a,NULL}}',
                ADD COLUMN slug text,
                ADD COLUMN row_version bigint GENERATED ALWAYS AS (1) STORED"""
        )


async def _to_jsonb(connection: Connection) -> None:
    for row in await connection.fetch(_COLUMNS):
        if row["type"] == "json":
            await connection.execute(f"ALTER TABLE {row['table']} ALTER {row['column']} TYPE jsonb")


async def _enums_to_text(connection: Connection) -> None:
    for row in await connection.fetch(_COLUMNS):
        if row["enumerated"]:
            column = f"ALTER TABLE {row['table']} ALTER {row['column']}"
            await connection.execute(f"{column} DROP DEFAULT")
            await connection.execute(f"{column} TYPE text")
    for type_ in _ENUM_VALUES:
        await connection.execute(f"DROP TYPE IF EXISTS {type_}")


async def _allow_null(connection: Connection) -> None:
    for row in await connection.fetch(_COLUMNS):
        if row["required"] and not row["key"]:
            await connection.execute(f"ALTER TABLE {row['table']} ALTER {row['column']} DROP NOT NULL")


_VARY: dict[str, Callable[[Connection], Awaitable[None]]] = {
    "reordered": _reorder,
    "extra_columns": _add_columns,
    "jsonb": _to_jsonb,
    "text_enums": _enums_to_text,
    "nullable": _allow_null,
}
VARIATIONS = (*_VARY, "extended_enums")
