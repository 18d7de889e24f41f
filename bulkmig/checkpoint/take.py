"""Takes checkpoints: what is in the target before a run changes it, in the transaction that changes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import uuid4

from msgspec import Struct

from bulkmig.checkpoint.growing import INSERT, Growing, entry
from bulkmig.checkpoint.parts import Owner, Rows
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection, keys_of, pairs
from bulkmig.target import graph as target_graph
from bulkmig.target.graph import Graph
from bulkmig.target.scope import Scope, TargetTable

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

_TAKEN_OF = """
SELECT vessel_id::text, id::text FROM bulkmig.checkpoints
 WHERE run_id = $1::text::uuid AND vessel_id = ANY ($2::text[]::uuid[])
"""
_TAKEN = """
SELECT id::text FROM bulkmig.checkpoints
 WHERE run_id = $1::text::uuid
   AND coalesce(vessel_id, $3::text::uuid) = coalesce($2::text::uuid, $3::text::uuid)
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
        scope, roots = (await self.read_graph(connection)).vessels, [target_id]
        growing = self._new(connection, vessel, id_ or new_id())
        found = await self._pack(growing, scope, roots, rows, absent=absent, hanging=hanging)
        await growing.insert(
            roots, absent=not found, together=together, restored=restored, incidental=incidental
        )
        return growing.of.id

    async def of_nothing(self, connection: Connection, new: Sequence[tuple[str, str, str]]) -> None:
        """The checkpoints of vessels that neither target nor ledger knows yet: the vessel, its target id and
        the checkpoint's id of each."""
        owners = [(self._new(connection, vessel, id_).of, target_id) for vessel, target_id, id_ in new]
        if owners:
            entries = [entry(of, [target_id], absent=True) for of, target_id in owners]
            await connection.executemany(INSERT, entries)

    async def of_companies(
        self,
        connection: Connection,
        roots: Sequence[str],
        *,
        restored: str | None = None,
        rows: Rows | None = None,
    ) -> str:
        """Takes the checkpoint of the run's companies (target ids) and their users; where the run has one, it
        holds from now on those of these companies, too, of which the run has changed nothing so far. `rows`:
        as for a vessel."""
        taken = await self.taken(connection, None)
        if taken is not None:
            await self._extend(connection, taken, roots)
            return taken
        scope = (await self.read_graph(connection)).companies
        growing = self._new(connection, None, new_id())
        found = await self._pack(growing, scope, roots, rows)
        await growing.insert(roots, absent=not found, restored=restored)
        return growing.of.id

    async def _extend(self, connection: Connection, id_: str, roots: Sequence[str]) -> None:
        (known, first) = (await connection.fetch(_EXTENT, id_))[0]
        more = sorted({*roots}.difference(known))
        if not more:
            return
        scope = (await self.read_graph(connection)).companies
        growing = self._new(connection, None, id_, first)
        for table in scope.tables:
            await growing.add("state", table.name, table.columns, _belonging(scope, table, more))
        await growing.extend()
        await connection.execute(_EXTEND, id_, [*known, *more], not growing.rows)

    def _new(self, connection: Connection, vessel: str | None, id_: str, first: int = 0) -> Growing:
        return Growing(connection, Owner(id_, self.run_id, vessel, bool(keys_of(connection))), first)

    async def _pack(
        self,
        growing: Growing,
        scope: Scope,
        roots: Sequence[str],
        rows: Rows | None = None,
        *,
        absent: bool = False,
        hanging: Sequence[tuple[TargetTable, str]] = (),
    ) -> bool:
        """Adds all that a checkpoint holds; returns whether anything of the scope is there."""
        connection, vessel = growing.connection, growing.of.vessel_id
        graph = await self.read_graph(connection)
        await connection.execute("SET LOCAL enable_seqscan = off")
        for table in () if absent else scope.tables:
            query = rows(table) if rows is not None else _belonging(scope, table, roots)
            await growing.add("state", table.name, table.columns, query)
        found = growing.rows > 0
        if found and scope is graph.vessels:
            for name, where in _context(graph, roots, rows):
                columns = graph.tables[name].columns
                query = f"SELECT {', '.join(columns)} FROM {name} t WHERE {where}"
                await growing.add("context", name, columns, query)
        for table, query in hanging:
            await growing.add("hanging", table.name, table.columns, query)
        for name, condition in (SHARED_LEDGER if vessel is None else LEDGER).items():
            columns, where = graph.tables[name].columns, condition.format(vessel=f"'{vessel}'::uuid")
            await growing.add(
                "ledger", name, columns, f"SELECT {', '.join(columns)} FROM {name} WHERE {where}"
            )
        await connection.execute("SET LOCAL enable_seqscan = DEFAULT")
        return found


async def add_hanging(connection: Connection, of: Owner, table: TargetTable, query: str) -> None:
    """Adds other vessels' rows that go along to a checkpoint that was taken before."""
    first = await connection.fetchval(
        "SELECT parts FROM bulkmig.checkpoints WHERE id = $1::text::uuid", of.id
    )
    growing = Growing(connection, of, first)
    await growing.add("hanging", table.name, table.columns, query)
    await growing.extend()


def _belonging(scope: Scope, table: TargetTable, roots: Sequence[str]) -> str:
    return f"SELECT {', '.join(table.columns)} FROM {table.name} t WHERE {scope.rows(table.name, roots)}"


def _context(graph: Graph, roots: Sequence[str], rows: Rows | None) -> list[tuple[str, str]]:
    """(table, condition) for the companies and users that a vessel's rows refer to, with their details: what
    of it is deleted since comes back with the vessel."""
    vessels, companies = graph.vessels, graph.companies
    wanted: dict[str, str] = {}
    for table in reversed(companies.tables):
        needed: defaultdict[str, list[str]] = defaultdict(list)
        for key in vessels.into(table.name):
            if key.child in vessels:
                if rows is None:
                    of = f"{key.child} c WHERE {vessels.rows(key.child, roots, 'c')}"
                else:
                    of = f"({rows(graph.tables[key.child])}) c"
                needed[key.parent_column].append(f"SELECT c.{key.column} FROM {of}")
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
