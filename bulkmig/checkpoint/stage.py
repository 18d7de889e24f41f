"""Rows side by side in temporary tables of the target, where sets of any size are compared and exchanged.

    was_N   what the checkpoints hold: the state to go back to
    due_N   what would be there if nobody but bulkmig had written since
    now_N   what is there
    one_N   `due` of one vessel, while its changes are gone through
    new_N   rows on their way into the others

N is the number of a table of the scope. The tables live as long as the session and are empty after every
transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import polars as pl
from msgspec import Struct

from bulkmig._core.declare import Entity, Table
from bulkmig._core.frames import to_csv
from bulkmig.checkpoint.parts import Part, copy_part, plain
from bulkmig.encode import read_bases
from bulkmig.entities import ENTITIES, entity
from bulkmig.errors import CheckpointError
from bulkmig.ledger import base
from bulkmig.postgres.session import Connection
from bulkmig.sqlite.session import on_file
from bulkmig.target.postgres import copy_in
from bulkmig.target.scope import Scope, TargetTable

_NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})
_COPIES = ("was", "due", "now", "one", "new")
_WRITTEN = """
SELECT id, entity, kind FROM bulkmig.base
 WHERE checkpoint_id = ANY ($1::text[]::uuid[]) AND kind <> 'forgotten' AND (kind = 'stayed') = $2
 ORDER BY kind = 'untouched' DESC, id
"""


class Drift(Struct, frozen=True):
    """A row that somebody else added, changed or deleted."""

    table: str
    id: str
    change: str


class Stage:
    """The temporary tables of one session for one scope."""

    def __init__(self, connection: Connection, scope: Scope, tag: str) -> None:
        self.connection, self.scope = connection, scope
        self.number = {table.name: f"{tag}{n}" for n, table in enumerate(scope.tables)}
        self.tables = {table.name: table for table in scope.tables}

    async def open(self) -> None:
        """Creates the tables; outside of any transaction."""
        statements = [
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {copy}_{n} ON COMMIT DELETE ROWS"
            f" AS SELECT {', '.join(table.columns)} FROM {table.name} WITH NO DATA"
            for n, table in zip(self.number.values(), self.scope.tables, strict=True)
            for copy in _COPIES
        ]
        if on_file(self.connection) is not None:  # whose planner has no other way to a row of a set
            statements += [
                f"CREATE INDEX IF NOT EXISTS {copy}_{n}_key ON {copy}_{n} ({', '.join(table.key)})"
                for n, table in zip(self.number.values(), self.scope.tables, strict=True)
                for copy in _COPIES
                if table.key
            ]
        await self.connection.execute(";".join(statements))

    def same(self, table: TargetTable, one: str, other: str) -> str:
        """Both aliases name the same row; never true without a primary key."""
        return " AND ".join(f"{one}.{column} = {other}.{column}" for column in table.key) or "false"

    def differ(self, table: TargetTable, one: str, other: str) -> str:
        """Two aliases' rows are not the same in every value, as text has them."""
        left, right = (", ".join(f"{of}.{column}::text" for column in table.columns) for of in (one, other))
        return f"({left}) IS DISTINCT FROM ({right})"

    @property
    def keyed(self) -> list[tuple[int, TargetTable]]:
        """The tables whose rows can be told apart, with their places."""
        return [(place, table) for place, table in enumerate(self.scope.tables) if table.key]

    async def by_index(self, statements: Iterable[str]) -> None:
        """Executes them in one go, with index paths wherever there is one."""
        # A round trip costs more than what most of these statements do.
        await self.connection.execute(
            ";".join(["SET LOCAL enable_seqscan = off", *statements, "SET LOCAL enable_seqscan = DEFAULT"])
        )

    def missing(self, table: TargetTable, alias: str, copy: str) -> str:
        """The alias's row is not in a copy."""
        n = self.number[table.name]
        return f"NOT EXISTS (SELECT FROM {copy}_{n} x WHERE {self.same(table, 'x', alias)})"

    async def load(self, part: Part, copy: str) -> None:
        """Adds a part's rows to a copy."""
        if part.table not in self.number:
            raise CheckpointError(
                f"the target has no table {part.table} any more, and the checkpoint holds rows of it",
                "create the table again",
            )
        there = {plain(column) for column in self.tables[part.table].columns}
        if lost := [name for name in map(plain, part.columns) if name not in there]:
            raise CheckpointError(
                f"{part.table} has no column {', '.join(lost)} any more, and the checkpoint holds its values",
                "add it again, if only for as long as it takes, then roll back again",
            )
        await copy_part(self.connection, f"{copy}_{self.number[part.table]}", part)

    async def add(self, copy: str, to: str) -> None:
        """Adds a copy's rows to another."""
        await self.connection.execute(
            ";".join(f"INSERT INTO {to}_{n} SELECT * FROM {copy}_{n}" for n in self.number.values())
        )

    async def clear(self, copy: str) -> None:
        """Empties a copy."""
        await self.connection.execute(";".join(f"DELETE FROM {copy}_{n}" for n in self.number.values()))

    async def look(self, roots: Sequence[str]) -> None:
        """Fills `now` with the rows that belong to the roots. They stay locked, parents before children, so
        that nobody adds to them until the transaction ends."""
        await self.clear("now")
        await self.by_index(
            f"INSERT INTO now_{self.number[table.name]} SELECT {_columns(table, 't')} FROM {table.name} t"
            f" WHERE {self.scope.rows(table.name, roots)} FOR UPDATE OF t"
            for table in self.scope.tables
        )
        for table in self.scope.tables:
            if not table.key and await self.connection.fetchval(
                f"SELECT EXISTS (SELECT FROM now_{self.number[table.name]})"
            ):
                raise CheckpointError(
                    f"{table.name} holds rows of the vessel and has no primary key",
                    "without one its rows can't be told apart: give it one",
                )

    async def look_for(self, copy: str) -> None:
        """Adds to `now` the rows that have the keys of a copy, wherever they belong by now."""
        await self.by_index(
            f"INSERT INTO now_{n} SELECT {_columns(table, 't')} FROM {table.name} t JOIN {copy}_{n} c"
            f" ON {self.same(table, 't', 'c')} WHERE {self.missing(table, 't', 'now')} FOR UPDATE OF t"
            for _, table in self.keyed
            for n in (self.number[table.name],)
        )

    async def look_below(self, roots: Sequence[str]) -> None:
        """Adds to `now` what hangs on rows of it that belong to others than the roots by now: whoever moved
        them may have added to them."""
        await self.by_index(
            f"INSERT INTO now_{self.number[table.name]} SELECT {_columns(table, 't')} FROM {table.name} t"
            f" WHERE t.{up.column} IN (SELECT p.{up.parent_column} FROM now_{self.number[up.parent]} p"
            f" WHERE ({self.scope.rows(up.parent, roots, 'p')}) IS NOT TRUE)"
            f" AND {self.missing(table, 't', 'now')} FOR UPDATE OF t"
            for _, table in self.keyed
            if (up := self.scope.owner.get(table.name)) is not None and up.parent != self.scope.root
        )

    async def leave_shared(self, roots: Sequence[str]) -> None:
        """Takes out of `now` what others list as well and these vessels neither had nor were given, such as
        another vessel's document that the portal lists for one of them, and what hangs on it."""
        left: set[str] = set()
        for _, table in self.keyed:
            n, owner = self.number[table.name], self.scope.owner.get(table.name)
            o, link = f"DELETE FROM now_{n} o WHERE", self.scope.link.get(table.name)
            strange = f"{self.missing(table, 'o', 'was')} AND {self.missing(table, 'o', 'due')}"
            if owner is not None and link is not None:
                left.add(table.name)
                await self.connection.execute(
                    f"{o} {strange} AND EXISTS (SELECT FROM {link.child} l"
                    f" WHERE l.{link.column} = o.{link.parent_column}"
                    f" AND ({self.scope.rows(link.child, roots, 'l')}) IS NOT TRUE)"
                )
            elif owner is not None and owner.parent in left:
                left.add(table.name)
                await self.connection.execute(
                    f"{o} {strange} AND NOT EXISTS (SELECT FROM now_{self.number[owner.parent]} p"
                    f" WHERE p.{owner.parent_column} = o.{owner.column})"
                )

    async def expect_written(self, checkpoints: Sequence[str], *, stayed: bool = False) -> None:
        """Lets `one` go through the changes that these checkpoints were taken for, one a vessel; or have the
        rows that `stayed` in a rollback of companies."""
        names = {of.name for of in ENTITIES}
        # Rows, or cells, that stayed as they were when their base changed come first: it wrote none of them.
        untouched: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        written: dict[str, list[bytes]] = {}
        size = 0
        rows = await self.connection.fetch(_WRITTEN, list(checkpoints), stayed)
        found = [(id_, name, kind) for id_, name, kind in rows if name in names]
        payloads = base.payloads_of(self.connection, [id_ for id_, _, _ in found])
        for _, name, kind in found:
            payload = await anext(payloads)
            if kind == "untouched":
                for entry in base.read_ids(payload):
                    cell, _, own_id = entry.rpartition("/")
                    untouched[name][cell].append(own_id)
                continue
            if kind == "removed" or size + len(payload) > base.TOGETHER:
                await self._merge(written, untouched)
                written, size = {}, 0
            if kind == "removed":
                await self._remove(base.read_keys(payload))
            else:
                written.setdefault(name, []).append(payload)
                size += len(payload)
        await self._merge(written, untouched)

    async def _merge(
        self,
        written: Mapping[str, Sequence[bytes]],
        untouched: Mapping[str, Mapping[str, Sequence[str]]],
    ) -> None:
        """Merges parts of the base by entity. Of a row in several the last counts, which is what stands."""
        for name, payloads in written.items():
            of, left = entity(name), untouched.get(name, _NOTHING)
            own = f"{of.tables[0].name}.{of.tables[0].own_key}"
            frame = read_bases(payloads)[0].filter(~pl.col(own).is_in(left.get("", ())))
            frame = frame.unique(["source_id", own], keep="last", maintain_order=True)
            for table in of.tables:
                if table.name in self.number:
                    await self.merge(of, table, frame, left)

    async def _remove(self, keys: dict[str, list[str]]) -> None:
        for name, ids in keys.items():
            if name in self.number:
                key = ", ".join(f"{column}::text" for column in self.tables[name].key)
                await self.connection.execute(
                    f"DELETE FROM one_{self.number[name]} WHERE concat_ws('/', {key}) = ANY ($1::text[])", ids
                )

    async def merge(
        self, of: Entity, table: Table, frame: pl.DataFrame, left: Mapping[str, Sequence[str]] = _NOTHING
    ) -> None:
        """Lets `one` hold these rows of an image as they were written. `left`: `table.column` -> target ids
        of rows in which that wasn't written."""
        flag, own = f"?{table.name}", pl.col(f"{table.name}.{table.own_key}")
        # What stands after a conflict may have lost its details to the portal.
        there = pl.col(flag) if flag in frame.columns else own.is_not_null()
        rows, gone = frame.filter(there), frame.filter(~there)
        target = self.tables[table.name]
        n = self.number[table.name]
        if gone.height:
            await self.connection.execute(
                f"DELETE FROM one_{n} WHERE {table.own_key} = ANY ($1::text[]::uuid[])",
                gone[f"{of.tables[0].name}.{of.tables[0].own_key}"].to_list(),
            )
        if not rows.height:
            return
        cells = rows.select(pl.col(f"{table.name}.{name}").alias(name) for name in table.cells)
        await copy_in(self.connection, f"new_{n}", list(table.cells), to_csv(cells))
        for column in table.cells:
            if ids := left.get(f"{table.name}.{column}"):
                await self.connection.execute(
                    f"UPDATE new_{n} new SET {column} = d.{column} FROM one_{n} d"
                    f" WHERE {self.same(target, 'd', 'new')}"
                    f" AND new.{table.own_key} = ANY ($1::text[]::uuid[])",
                    list(ids),
                )
        # A column that bulkmig doesn't map is nobody's drift: whatever it holds is expected.
        values = ", ".join(
            f"new.{column}" if column in table.cells else f"now.{column}" for column in target.columns
        )
        await self.connection.execute(
            f"DELETE FROM one_{n} d WHERE EXISTS"
            f" (SELECT FROM new_{n} new WHERE {self.same(target, 'd', 'new')});"
            f"INSERT INTO one_{n} ({', '.join(target.columns)}) SELECT {values} FROM new_{n} new"
            f" LEFT JOIN now_{n} now ON {self.same(target, 'new', 'now')};"
            f"DELETE FROM new_{n}"
        )

    async def drift(self, limit: int, own: Sequence[str] = ()) -> list[Drift]:
        """The rows in which `now` isn't as `due`: what others did since. At most `limit` of each table; rows
        that these transactions wrote (`xmin`) are left out."""
        queries = []
        for place, table in self.keyed:
            n, first = self.number[table.name], table.key[0]
            key = ", ".join(f"coalesce(d.{column}, t.{column})::text" for column in table.key)
            own_write = (
                f" AND NOT EXISTS (SELECT FROM {table.name} r WHERE {self.same(table, 'r', 't')}"
                " AND r.xmin::text = ANY ($1::text[]))"
            )
            queries.append(
                f"(SELECT {place} AS place, concat_ws('/', {key}) AS id, CASE WHEN d.{first} IS NULL"
                f" THEN 'added' WHEN t.{first} IS NULL THEN 'deleted' ELSE 'changed' END AS change"
                f" FROM due_{n} d FULL JOIN now_{n} t ON {self.same(table, 'd', 't')}"
                f" WHERE (d.{first} IS NULL OR t.{first} IS NULL OR {self.differ(table, 'd', 't')})"
                f"{own_write if own else ''} ORDER BY 2 LIMIT {limit})"
            )
        rows = await self.connection.fetch(
            f"{' UNION ALL '.join(queries)} ORDER BY place, id", *([list(own)] if own else [])
        )
        return [Drift(self.scope.tables[row["place"]].name, row["id"], row["change"]) for row in rows]


def _columns(table: TargetTable, alias: str) -> str:
    return ", ".join(f"{alias}.{column}" for column in table.columns)
