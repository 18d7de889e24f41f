"""Takes checkpoints: what is in the target before a run changes it, in the transaction that changes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import uuid4

from msgspec import Struct

from bulkmig.checkpoint.parts import Owner, Packed, Rows
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection, keys_of, pairs
from bulkmig.target import graph as target_graph
from bulkmig.target.graph import Graph, Scope, TargetTable

# What a rollback sets back besides the portal's rows, as a condition over a vessel's source id.
LEDGER = {
    "bulkmig.vessels": "vessel_id = {vessel}",
    "bulkmig.quarantine": "vessel_id = {vessel}",
    "bulkmig.pending": "vessel_id = {vessel}",
    "bulkmig.conflicts": "vessel_id = {vessel}",
    "bulkmig.retained": "vessel_id = {vessel}",
    "bulkmig.seen": "vessel_id = {vessel}",
    "bulkmig.identities": "entity = 'vessel' AND source_id = {vessel}",
}
# The same for companies and users, whose entries belong to no vessel.
SHARED_LEDGER = {
    "bulkmig.quarantine": "vessel_id IS NULL",
    "bulkmig.conflicts": "vessel_id IS NULL",
    "bulkmig.retained": "vessel_id IS NULL",
    "bulkmig.identities": "entity <> 'vessel' AND adopted",
}
_KEPT = 8 * 1024 * 1024  # bytes of packed parts kept before they are written

_TAKEN_OF = """
SELECT vessel_id::text, id::text FROM bulkmig.checkpoints
 WHERE run_id = $1::text::uuid AND vessel_id = ANY ($2::text[]::uuid[])
"""
_TAKEN = """
SELECT id::text FROM bulkmig.checkpoints
 WHERE run_id = $1::text::uuid
   AND coalesce(vessel_id, $3::text::uuid) = coalesce($2::text::uuid, $3::text::uuid)
"""
INSERT = """
INSERT INTO bulkmig.checkpoints
       (id, run_id, vessel_id, roots, absent, base, together, restored, parts, rows, bytes, encrypted,
        incidental)
VALUES ($1::text::uuid, $2::text::uuid, $3::text::uuid, $4::text[]::uuid[], $5,
        (SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM bulkmig.base
          WHERE vessel_id = coalesce($3::text::uuid, $12::text::uuid) AND holds),
        $6::text[]::uuid[], $7::text::uuid, $8, $9, $10, $11, $13)
"""
_ADD = """
UPDATE bulkmig.checkpoints SET parts = parts + $2, rows = rows + $3, bytes = bytes + $4
 WHERE id = $1::text::uuid
"""
_EXTENT = "SELECT roots::text[] AS roots, parts FROM bulkmig.checkpoints WHERE id = $1::text::uuid"
_EXTEND = """
UPDATE bulkmig.checkpoints SET roots = $2::text[]::uuid[], absent = absent AND $3 WHERE id = $1::text::uuid
"""


def new_id() -> str:
    """An id for a checkpoint."""
    return str(uuid4())


class Checkpoints(Struct):
    """The checkpoints of one run: one for each vessel it changes, one for companies and users."""

    run_id: str
    graph: Graph | None = None

    async def read_graph(self, connection: Connection) -> Graph:
        """What hangs together in the target; asked once."""
        if self.graph is None:
            self.graph = await target_graph.read(connection)
        return self.graph

    async def taken(self, connection: Connection, vessel: str | None) -> str | None:
        """The checkpoint that the run has of this vessel already."""
        found: str | None = await connection.fetchval(_TAKEN, self.run_id, vessel, NIL)
        return found

    async def taken_of(self, connection: Connection, vessels: Sequence[str]) -> dict[str, str]:
        """The checkpoints that the run has of these vessels already."""
        return pairs(await connection.fetch(_TAKEN_OF, self.run_id, list(vessels)))

    async def of_vessel(
        self,
        connection: Connection,
        vessel: str,
        target_id: str,
        *,
        id_: str | None = None,
        absent: bool = False,
        incidental: bool = False,
        together: Sequence[str] = (),
        restored: str | None = None,
        rows: Rows | None = None,
        hanging: Sequence[tuple[TargetTable, str]] = (),
    ) -> str:
        """Takes a vessel's checkpoint unless the run has one; returns its id.

        absent       nothing of it is in the target, which spares looking
        incidental   the run is about other vessels
        restored     the change is a rollback to that checkpoint
        rows         the query of a table's rows, where it isn't the scope's
        hanging      queries of other vessels' rows that go along"""
        taken = await self.taken(connection, vessel)
        if taken is not None:
            return taken
        graph = await self.read_graph(connection)
        return await self._take(
            connection,
            graph.vessels,
            vessel,
            [target_id],
            id_=id_ or new_id(),
            absent=absent,
            incidental=incidental,
            together=together,
            restored=restored,
            rows=rows,
            hanging=hanging,
        )

    async def of_nothing(self, connection: Connection, vessel: str, target_id: str, id_: str) -> None:
        """The checkpoint of a vessel that neither the target nor the ledger knows yet: one statement."""
        await connection.execute(
            INSERT,
            id_,
            self.run_id,
            vessel,
            [target_id],
            True,
            [],
            None,
            0,
            0,
            0,
            bool(keys_of(connection)),
            NIL,
            False,
        )

    async def of_companies(
        self,
        connection: Connection,
        roots: Sequence[str],
        *,
        restored: str | None = None,
        rows: Rows | None = None,
    ) -> str:
        """Takes the checkpoint of the run's companies (target ids) and their users; where the run has one, it
        holds from now on those of these companies, too, of which the run has changed nothing so far."""
        taken = await self.taken(connection, None)
        if taken is not None:
            await self._extend(connection, taken, roots)
            return taken
        graph = await self.read_graph(connection)
        return await self._take(
            connection, graph.companies, None, roots, id_=new_id(), absent=False, restored=restored, rows=rows
        )

    async def _extend(self, connection: Connection, id_: str, roots: Sequence[str]) -> None:
        (known, first) = (await connection.fetch(_EXTENT, id_))[0]
        more = sorted({*roots}.difference(known))
        if not more:
            return
        scope = (await self.read_graph(connection)).companies
        packed, owner = Packed(), Owner(id_, self.run_id, None, bool(keys_of(connection)))
        for table in scope.tables:
            await packed.add(connection, "state", table.name, table.columns, _belonging(scope, table, more))
        number, rows = len(packed.parts), packed.rows
        size = await packed.store(connection, owner, first)
        await connection.execute(_ADD, id_, number, rows, size)
        await connection.execute(_EXTEND, id_, [*known, *more], not rows)

    async def _take(
        self,
        connection: Connection,
        scope: Scope,
        vessel: str | None,
        roots: Sequence[str],
        *,
        id_: str,
        absent: bool,
        incidental: bool = False,
        together: Sequence[str] = (),
        restored: str | None = None,
        rows: Rows | None = None,
        hanging: Sequence[tuple[TargetTable, str]] = (),
    ) -> str:
        graph = await self.read_graph(connection)
        packed, number, size = Packed(), 0, 0
        owner = Owner(id_, self.run_id, vessel, bool(keys_of(connection)))

        async def flush() -> None:
            nonlocal number, size
            parts = len(packed.parts)
            size += await packed.store(connection, owner, number)
            number += parts

        # The parts come first, and refer to a row that is inserted last: their sum is part of it.
        await connection.execute("SET LOCAL enable_seqscan = off")
        found = 0
        for table in () if absent else scope.tables:
            query = rows(table) if rows is not None else _belonging(scope, table, roots)
            await packed.add(connection, "state", table.name, table.columns, query)
            found = packed.rows
            if sum(len(part[3]) for part in packed.parts) > _KEPT:
                await flush()
        if found and scope is graph.vessels:
            for name, where in _context(graph, roots):
                columns = graph.tables[name].columns
                query = f"SELECT {', '.join(columns)} FROM {name} t WHERE {where}"
                await packed.add(connection, "context", name, columns, query)
        for table, query in hanging:
            await packed.add(connection, "hanging", table.name, table.columns, query)
        count = packed.rows
        literal = f"'{vessel}'::uuid"
        for name, condition in (SHARED_LEDGER if vessel is None else LEDGER).items():
            columns = graph.tables[name].columns
            query = f"SELECT {', '.join(columns)} FROM {name} WHERE {condition.format(vessel=literal)}"
            await packed.add(connection, "ledger", name, columns, query)
        await flush()
        await connection.execute("SET LOCAL enable_seqscan = DEFAULT")
        await connection.execute(
            INSERT,
            id_,
            self.run_id,
            vessel,
            list(roots),
            not found,
            list(together),
            restored,
            number,
            count,
            size,
            bool(keys_of(connection)),
            NIL,
            incidental,
        )
        return id_


async def add_hanging(connection: Connection, of: Owner, table: TargetTable, query: str) -> None:
    """Adds other vessels' rows that go along to a checkpoint that was taken before."""
    packed = Packed()
    await packed.add(connection, "hanging", table.name, table.columns, query)
    first = await connection.fetchval(
        "SELECT parts FROM bulkmig.checkpoints WHERE id = $1::text::uuid", of.id
    )
    number, rows = len(packed.parts), packed.rows
    size = await packed.store(connection, of, first)
    await connection.execute(_ADD, of.id, number, rows, size)


def _belonging(scope: Scope, table: TargetTable, roots: Sequence[str]) -> str:
    return f"SELECT {', '.join(table.columns)} FROM {table.name} t WHERE {scope.rows(table.name, roots)}"


def _context(graph: Graph, roots: Sequence[str]) -> list[tuple[str, str]]:
    """(table, condition) for the companies and users that a vessel's rows refer to, with their details: what
    of it is deleted since comes back with the vessel."""
    vessels, companies = graph.vessels, graph.companies
    wanted: dict[str, str] = {}
    for table in reversed(companies.tables):
        needed: defaultdict[str, list[str]] = defaultdict(list)
        for key in vessels.into(table.name):
            if key.child in vessels:
                where = vessels.rows(key.child, roots, "c")
                needed[key.parent_column].append(f"SELECT c.{key.column} FROM {key.child} c WHERE {where}")
        for key in companies.into(table.name):
            if key.child in wanted and key.child in companies and key.child != table.name:
                needed[key.parent_column].append(
                    f"SELECT t.{key.column} FROM {key.child} t WHERE {wanted[key.child]}"
                )
        if needed:
            # One set for a column: of conditions joined by OR none becomes a join of sets.
            sets = (f"t.{column} IN ({' UNION '.join(queries)})" for column, queries in needed.items())
            wanted[table.name] = f"({' OR '.join(sets)})"
    for table in companies.tables:
        # Details: one row each, under their parent's key.
        fk = companies.owner.get(table.name)
        if fk is not None and table.key == (fk.column,) and fk.parent in wanted:
            wanted[table.name] = (
                f"t.{fk.column} IN (SELECT t.{fk.parent_column} FROM {fk.parent} t WHERE {wanted[fk.parent]})"
            )
    return [(table.name, wanted[table.name]) for table in companies.tables if table.name in wanted]
