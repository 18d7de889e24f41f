"""Which rows of the target belong to a vessel, told by its own foreign keys.

A row belongs to the vessel that its shortest chain of foreign keys leads to; so do documents that a link
table (a primary key made of two foreign keys) lists for it. Companies and users belong to no vessel, even
where the portal lets them refer to one. Tables that only the portal knows are found like the contract's,
which is why nothing that hangs on a vessel is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from msgspec import Struct, field

from bulkmig.entities import ENTITIES, FLEET, entity
from bulkmig.postgres.session import Connection
from bulkmig.source.queries import uuid_array
from bulkmig.sqlite.examine import ledger
from bulkmig.sqlite.portal import contract
from bulkmig.sqlite.session import Session, on_file

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


class ForeignKey(Struct, frozen=True):
    """`child.column` names a row of `parent` by its `parent_column` (`nullable`: or none); with `cascades` it
    goes along."""

    child: str
    column: str
    parent: str
    parent_column: str
    nullable: bool = False
    cascades: bool = False


class TargetTable(Struct, frozen=True):
    """A table as it really is: columns that can be written, primary key, other unique keys; `fixed`: columns
    that only an insert can write. Names are quoted and qualified where SQL needs it."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...] = ()
    fixed: frozenset[str] = frozenset()


class Scope(Struct):
    """The tables whose rows belong to a root (a vessel, a company), parents before children.

    `owner`: by which foreign key a table's rows belong; `link`: (link's key to the table, the link table);
    `loose`: foreign keys whose parents may come after their children, and so are set last."""

    root: str
    key: str
    tables: list[TargetTable]
    owner: dict[str, ForeignKey] = field(default_factory=dict)
    link: dict[str, ForeignKey] = field(default_factory=dict)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    loose: list[ForeignKey] = field(default_factory=list)

    def __contains__(self, name: str) -> bool:
        return name == self.root or name in self.owner or name in self.link

    def rows(self, table: str, roots: Iterable[str], alias: str = "t") -> str:
        """A condition over `alias`: the row belongs to one of these roots (target ids)."""
        ids = uuid_array(roots)
        return self._rows(table, ids, alias)

    def _rows(self, table: str, ids: str, alias: str) -> str:
        if table == self.root:
            return f"{alias}.{self.key} = ANY ({ids})"
        inner = f"{alias}_"
        owner, link = self.owner.get(table), self.link.get(table)
        owned = self._owned(owner, ids, alias) if owner is not None else ""
        if link is None:
            return owned
        listed = f"SELECT {inner}.{link.column} FROM {link.child} {inner} WHERE " + self._rows(
            link.child, ids, inner
        )
        if owner is None:
            return f"{alias}.{link.parent_column} IN ({listed})"
        mine = (
            f"SELECT {inner}.{link.parent_column} FROM {table} {inner} WHERE {self._owned(owner, ids, inner)}"
        )
        return f"{alias}.{link.parent_column} IN ({mine} UNION {listed})"

    def _owned(self, owner: ForeignKey, ids: str, alias: str) -> str:
        if owner.parent == self.root and owner.parent_column == self.key:
            return f"{alias}.{owner.column} = ANY ({ids})"
        inner = f"{alias}_"
        return (
            f"{alias}.{owner.column} IN (SELECT {inner}.{owner.parent_column} FROM {owner.parent} {inner}"
            f" WHERE {self._rows(owner.parent, ids, inner)})"
        )

    def owned(self, table: str, column: str, roots: Iterable[str]) -> str:
        """A query of `owner` and `key`: to which of these roots (target ids) a table's rows belong, and their
        values of a column. A row may belong to several, and be told more than once."""
        return self._owned_by(table, column, uuid_array(roots))

    def _owned_by(self, table: str, column: str, ids: str) -> str:
        if table == self.root:
            where = self._rows(table, ids, "t")
            return f"SELECT t.{self.key} AS owner, t.{column} AS key FROM {table} t WHERE {where}"
        ways = []
        owner, link = self.owner.get(table), self.link.get(table)
        if owner is not None and owner.parent == self.root and owner.parent_column == self.key:
            ways.append(
                f"SELECT t.{owner.column} AS owner, t.{column} AS key FROM {table} t"
                f" WHERE t.{owner.column} = ANY ({ids})"
            )
        elif owner is not None:
            above = self._owned_by(owner.parent, owner.parent_column, ids)
            ways.append(
                f"SELECT p.owner, t.{column} AS key FROM {table} t"
                f" JOIN ({above}) p ON p.key = t.{owner.column}"
            )
        if link is not None:
            listed = self._owned_by(link.child, link.column, ids)
            ways.append(
                f"SELECT p.owner, t.{column} AS key FROM {table} t"
                f" JOIN ({listed}) p ON p.key = t.{link.parent_column}"
            )
        return " UNION ALL ".join(ways)

    def owned_rows(self, table: TargetTable, roots: Iterable[str]) -> str:
        """A query of rows that belong to these roots, each with its root (`marked`) before its columns."""
        ids, name = uuid_array(roots), table.name
        columns = ", ".join(f"t.{column}" for column in table.columns)
        owner, link = self.owner.get(name), self.link.get(name)
        if name == self.root:
            own, where = marked(f"t.{self.key}"), self._rows(name, ids, "t")
            return f"SELECT {own}, {columns} FROM {name} t WHERE {where}"
        if link is not None:
            column, above = link.parent_column, self._owned_by(name, link.parent_column, ids)
        elif owner is not None and owner.parent == self.root and owner.parent_column == self.key:
            own = marked(f"t.{owner.column}")
            return f"SELECT {own}, {columns} FROM {name} t WHERE t.{owner.column} = ANY ({ids})"
        else:
            assert owner is not None
            column, above = owner.column, self._owned_by(owner.parent, owner.parent_column, ids)
        return rows_by(table, column, above)

    def into(self, table: str) -> Iterator[ForeignKey]:
        """The foreign keys that lead to a table."""
        return (fk for fk in self.foreign_keys if fk.parent == table)

    def out_of(self, table: str) -> Iterator[ForeignKey]:
        """The foreign keys of a table."""
        return (fk for fk in self.foreign_keys if fk.child == table)


def rows_by(table: TargetTable, column: str, owned: str) -> str:
    """A query of a table's rows by the values of a column, each with its owner (`marked`) before its columns.
    `owned`: a query of `owner` and `key`."""
    columns = ", ".join(f"t.{name}" for name in table.columns)
    return (
        f"SELECT {marked('o.owner')}, {columns} FROM (SELECT DISTINCT owner, key FROM ({owned}) p) o"
        f" JOIN {table.name} t ON t.{column} = o.key"
    )


def marked(owner: str) -> str:
    """An owner's id behind a quote, which COPY prints as no value within a row can begin a line."""
    return f"'\"' || {owner}::text"


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
