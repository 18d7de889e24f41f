"""Which rows belong to a vessel or a company: conditions and queries along the foreign keys to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from bulkmig._core.declare import Entity
from bulkmig.source.queries import uuid_array


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

    `owner`: by which foreign key a table's rows belong; `link`: by which key of a link table they do, where
    that one names nothing: a document of equipment is its vessel's, whatever others the portal lists it for;
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
        listed = f"SELECT {inner}.{link.column} FROM {link.child} {inner}"
        where = self._rows(link.child, ids, inner)
        if owner is None:
            return f"{alias}.{link.parent_column} IN ({listed} WHERE {where})"
        # No join, of which the planner could choose the way: it might read the whole table for each vessel.
        hangs = (
            f"SELECT {inner}l.{owner.column} FROM {table} {inner}l"
            f" WHERE {inner}l.{link.parent_column} = {inner}.{link.column}"
        )
        listed += f" WHERE {where} AND ({hangs}) IS NULL"
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
                + (f" WHERE t.{owner.column} IS NULL" if owner is not None else "")
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

    def naming(self, entity: Entity) -> Iterator[tuple[ForeignKey, str]]:
        """The foreign keys by which other rows name an entity's: its main row, or one of its details, which
        are one row with it; each with the column in which the named table has the row's id."""
        details = {table.name for table in entity.tables[1:]}
        for table in entity.tables:
            for fk in self.into(table.name):
                if fk.child not in details:
                    yield fk, table.own_key

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
