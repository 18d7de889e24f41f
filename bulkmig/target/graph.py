"""Which tables of the target belong to vessels, told by its own foreign keys.

A row belongs to the vessel that its shortest chain of foreign keys leads to; so do documents that a link
table (a primary key made of two foreign keys) lists for it, if they hang on nothing else. Companies and users
belong to no vessel, even where the portal lets them refer to one. Tables that only the portal knows are found
like the contract's, which is why nothing that hangs on a vessel is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from msgspec import Struct

from bulkmig.entities import ENTITIES, FLEET, entity
from bulkmig.postgres.session import Connection
from bulkmig.sqlite.contract import contract
from bulkmig.sqlite.examine import ledger
from bulkmig.sqlite.session import Session, on_file
from bulkmig.target.scope import ForeignKey, Scope, TargetTable

_TABLES = """
SELECT c.oid::regclass::text AS name,
       array_agg(quote_ident(a.attname) ORDER BY a.attnum) FILTER (WHERE a.attgenerated = '') AS columns,
       array_agg(quote_ident(a.attname)) FILTER (WHERE a.attidentity = 'a') AS fixed,
       (SELECT array_agg(quote_ident(k.attname) ORDER BY array_position(i.indkey::int2[], k.attnum))
          FROM pg_index i JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = ANY (i.indkey::int2[])
         WHERE i.indrelid = c.oid AND i.indisprimary) AS key
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace
                               WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast'))
 GROUP BY c.oid
"""
_UNIQUE = """
SELECT i.indrelid::regclass::text AS name,
       array_agg(quote_ident(k.attname) ORDER BY array_position(i.indkey::int2[], k.attnum)) AS columns
  FROM pg_index i JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey::int2[])
 WHERE i.indisunique AND NOT i.indisprimary AND i.indpred IS NULL AND i.indexprs IS NULL
   AND i.indrelid::regclass::text = ANY ($1::text[])
 GROUP BY i.indexrelid, i.indrelid
HAVING bool_and(k.attgenerated = '')
"""
# Of a key of several columns the pair that names the parent's row alone, if there is one. A partition's key
# is its table's.
_FOREIGN_KEYS = """
SELECT coalesce(pg_partition_root(con.conrelid), con.conrelid)::regclass::text AS child,
       quote_ident(a.attname) AS column,
       coalesce(pg_partition_root(con.confrelid), con.confrelid)::regclass::text AS parent,
       quote_ident(b.attname) AS parent_column, NOT a.attnotnull AS nullable,
       con.confdeltype = 'c' AS cascades
  FROM pg_constraint con
  JOIN LATERAL (
       SELECT c.conkey, c.confkey
         FROM unnest(con.conkey, con.confkey) WITH ORDINALITY c (conkey, confkey, place)
        ORDER BY EXISTS (SELECT FROM pg_index i
                          WHERE i.indrelid = con.confrelid AND i.indisunique
                            AND i.indnkeyatts = 1 AND i.indkey[0] = c.confkey) DESC, c.place
        LIMIT 1) pair ON true
  JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = pair.conkey
  JOIN pg_attribute b ON b.attrelid = con.confrelid AND b.attnum = pair.confkey
 WHERE con.contype = 'f' AND con.conparentid = 0
 ORDER BY con.conname
"""


class Graph(Struct):
    """The target's tables: those that belong to vessels, and those that belong to companies alone."""

    tables: dict[str, TargetTable]
    vessels: Scope
    companies: Scope


async def read(connection: Connection) -> Graph:
    """Reads the catalogue of the target."""
    file = on_file(connection)
    if file is not None:
        return await _of_file(file)
    rows = await connection.fetch(_TABLES)
    unique: dict[str, list[tuple[str, ...]]] = {}
    for row in await connection.fetch(_UNIQUE, [row["name"] for row in rows]):
        unique.setdefault(row["name"], []).append(tuple(row["columns"]))
    tables = {
        row["name"]: TargetTable(
            row["name"],
            tuple(row["columns"] or ()),
            tuple(row["key"] or ()),
            tuple(sorted(unique.get(row["name"], ()))),
            frozenset(row["fixed"] or ()),
        )
        for row in rows
    }
    keys = [ForeignKey(*row) for row in await connection.fetch(_FOREIGN_KEYS)]
    return build(tables, [fk for fk in keys if not fk.child.startswith("bulkmig.")])


async def _of_file(file: Session) -> Graph:
    """The tables of a SQLite file, and bulkmig's under the names that they have everywhere."""

    def named(table: str, column: str) -> str:
        # The portal may call its own columns anything, "order" or "Built by".
        return column if (table, column) in known else '"' + column.replace('"', '""') + '"'

    known = contract()
    tables = {
        name: TargetTable(
            name,
            tuple(named(name, column.name) for column in table.columns if column.writable),
            tuple(named(name, column.name) for column in table.key),
            tuple(sorted(tuple(named(name, column) for column in columns) for columns in table.unique)),
        )
        for name, table in file.tables.items()
    }
    for name, columns, key in await ledger(file):
        shown = tuple('"row"' if column == "row" else column for column in columns)  # as PostgreSQL needs it
        tables[f"bulkmig.{name}"] = TargetTable(f"bulkmig.{name}", shown, key)
    nullable = {(table.name, c.name) for table in file.tables.values() for c in table.columns if c.nullable}
    keys = [
        ForeignKey(
            table.name,
            named(table.name, column),
            parent,
            named(parent, to),
            nullable=(table.name, column) in nullable,
            cascades=cascades,
        )
        for table in file.tables.values()
        for column, parent, to, cascades in table.references
        if parent in file.tables
    ]
    return build(tables, keys)


def build(tables: dict[str, TargetTable], keys: Sequence[ForeignKey]) -> Graph:
    """The graph over these tables."""
    vessel, company = (entity(name).tables[0] for name in ("vessel", "company"))
    fleet = {table.name for of in FLEET for table in of.tables}
    per_vessel = {table.name for of in ENTITIES for table in of.tables} - fleet
    below_vessels = _below(vessel.name, keys, stop=frozenset(fleet))
    below_companies = _below(company.name, keys, stop=frozenset({vessel.name, *below_vessels}))
    links = {
        fk.parent: fk
        for link, owner in below_vessels.items()
        for fk in keys
        if fk.child == link
        and fk != owner
        and len(tables[link].key) > 1
        and {fk.column, owner.column} == set(tables[link].key)
        and fk.parent in per_vessel - {vessel.name}
    }
    # What hangs on the other end of a link belongs along with it.
    for parent in links:
        if parent not in below_vessels:
            below_vessels |= {
                t: fk for t, fk in _below(parent, keys, stop=frozenset(below_vessels)).items() if t != parent
            }
    of_vessels, vessels_loose = _in_order({vessel.name, *below_vessels, *links}, tables, keys)
    of_companies, companies_loose = _in_order({company.name, *below_companies}, tables, keys)
    names = {table.name for table in of_vessels}
    companies_loose += [
        fk for fk in keys if fk.parent in names and (fk.child == company.name or fk.child in below_companies)
    ]
    return Graph(
        tables,
        Scope(vessel.name, vessel.own_key, of_vessels, below_vessels, links, list(keys), vessels_loose),
        Scope(company.name, company.own_key, of_companies, below_companies, {}, list(keys), companies_loose),
    )


def _below(root: str, keys: Sequence[ForeignKey], stop: frozenset[str]) -> dict[str, ForeignKey]:
    """Every table that leads to the root, with the first step of its shortest way."""
    found: dict[str, ForeignKey] = {}
    level = [root]
    while level:
        following = []
        for parent in level:
            for fk in keys:
                if (
                    fk.parent == parent
                    and fk.child not in found
                    and fk.child != root
                    and fk.child not in stop
                ):
                    found[fk.child] = fk
                    following.append(fk.child)
        level = following
    return found


def _in_order(
    names: Iterable[str], tables: dict[str, TargetTable], keys: Sequence[ForeignKey]
) -> tuple[list[TargetTable], list[ForeignKey]]:
    """Parents before children; and the foreign keys that had to be left out of account for that, because
    tables refer to each other in a circle."""
    wanted = set(names)
    loose: list[ForeignKey] = []
    while True:
        edges = {
            name: sorted(
                {fk.parent for fk in keys if fk.child == name and fk.parent in wanted and fk not in loose}
                - {name}
            )
            for name in sorted(wanted)
        }
        try:
            return [tables[name] for name in TopologicalSorter(edges).static_order()], loose
        except CycleError as error:
            # Each of these precedes the next, so it is the parent.
            circle = list(pairwise(error.args[1]))
            steps = [
                [fk for fk in keys if (fk.parent, fk.child) == step and fk not in loose] for step in circle
            ]
            # What can be set later is left out first.
            loose += next((step for step in steps if all(fk.nullable for fk in step)), steps[0])
