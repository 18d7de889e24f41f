"""Takes the checkpoints of several vessels at once: each table's rows of all of them by one query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct

from bulkmig.checkpoint.growing import INSERT, entry
from bulkmig.checkpoint.parts import Owner, Packed, Role, store
from bulkmig.checkpoint.take import LEDGER, Checkpoints
from bulkmig.postgres.session import Connection, keys_of
from bulkmig.source.onboarding import read_all
from bulkmig.source.queries import uuid_array
from bulkmig.sqlite.session import on_file
from bulkmig.target.graph import Graph
from bulkmig.target.scope import TargetTable, marked, rows_by

_ROW, _DIGITS = b'\n"""', frozenset(b"%x" % n for n in range(16))  # how `marked` begins a row
_MARK = 36 + len('",')
# What the planner would take instead of loops over indexes: all of it goes through the whole fleet's rows.
_BY_INDEX = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")


class Due(Struct, frozen=True):
    """A checkpoint to be taken: its id, and the vessel with its target id. `absent`: nothing of it is in the
    target; `together`: the checkpoints of vessels that change in the same commit because of each other;
    `incidental`: the run is about others; `restored`: the change is a rollback to that checkpoint."""

    id: str
    vessel: str
    root: str
    absent: bool
    together: tuple[str, ...]
    incidental: bool = False
    restored: str | None = None


Hanging = Sequence[tuple[TargetTable, str]]


async def of_vessels(
    own: Checkpoints, connection: Connection, due: Sequence[Due], hanging: Hanging = ()
) -> dict[str, str]:
    """Takes these checkpoints; returns their ids by vessel. Those that the run has already stand. `hanging`:
    queries of rows of others that go along, each row behind the target id of the vessel it goes along with
    (`marked`)."""
    taken = await own.taken_of(connection, [one.vessel for one in due])
    due = [one for one in due if one.vessel not in taken]
    if len(due) == 1 or on_file(connection) is not None:  # a large vessel's rows stream
        for one in due:
            await own.of_vessel(
                connection,
                one.vessel,
                one.root,
                id_=one.id,
                absent=one.absent,
                together=one.together,
                incidental=one.incidental,
                restored=one.restored,
            )
    elif due:
        await _take(connection, own.run_id, await own.read_graph(connection), due, hanging)
    return taken | {one.vessel: one.id for one in due}


async def _take(
    connection: Connection, run_id: str, graph: Graph, due: Sequence[Due], hanging: Hanging
) -> None:
    packed = {one.vessel: Packed() for one in due}
    by_root = {one.root: packed[one.vessel] for one in due}
    roots = [one.root for one in due if not one.absent]
    for setting in _BY_INDEX:
        await connection.execute(f"SET LOCAL {setting} = off")
    for table in graph.vessels.tables if roots else ():
        await _add(connection, "state", table, graph.vessels.owned_rows(table, roots), by_root)
    found = {one.vessel for one in due if packed[one.vessel].rows}
    for table, query in _context(graph, [one.root for one in due if one.vessel in found]):
        await _add(connection, "context", table, query, by_root)
    for table, query in hanging:
        await _add(connection, "hanging", table, query, by_root)
    rows = {vessel: one.rows for vessel, one in packed.items()}
    ids = uuid_array(packed)
    for name, condition in LEDGER.items():
        table = graph.tables[name]
        column = condition.partition(" = {vessel}")[0].rpartition(" ")[2]
        where = condition.replace("= {vessel}", f"= ANY ({ids})")
        query = f"SELECT {marked(column)}, {', '.join(table.columns)} FROM {name} WHERE {where}"
        await _add(connection, "ledger", table, query, packed)
    for setting in _BY_INDEX:
        await connection.execute(f"SET LOCAL {setting} = DEFAULT")
    keys, stored, entries = keys_of(connection), [], []
    for one in due:
        owner = Owner(one.id, run_id, one.vessel, bool(keys))
        parts = packed[one.vessel].taken(owner, 0, keys)
        size = sum(len(part[5]) for part in parts)
        stored += parts
        entries.append(
            entry(
                owner,
                [one.root],
                absent=one.vessel not in found,
                parts=len(parts),
                rows=rows[one.vessel],
                size=size,
                together=one.together,
                incidental=one.incidental,
                restored=one.restored,
            )
        )
    await store(connection, stored)
    await connection.executemany(INSERT, entries)


async def _add(
    connection: Connection, role: Role, table: TargetTable, query: str, owners: dict[str, Packed]
) -> None:
    """Adds a table's rows to those they belong to, as the query tells."""
    found: defaultdict[bytes, list[bytes]] = defaultdict(list)
    data = (await read_all(connection, query)).removesuffix(b"\n")
    for row in (b"\n" + data).split(_ROW)[1:]:
        if row[:1] in _DIGITS:
            rows = found[row[:36]]
            rows.append(row[_MARK:])
        else:  # a value within the row before ends so
            rows[-1] += _ROW + row
    for owner, rows in found.items():
        owners[owner.decode()].keep(role, table.name, table.columns, rows)


def _context(graph: Graph, roots: Sequence[str]) -> list[tuple[TargetTable, str]]:
    """Queries of the companies and users that vessels' rows refer to, with their details."""
    vessels, companies = graph.vessels, graph.companies
    wanted: dict[str, tuple[str, str]] = {}  # table -> column, and which of its values are needed by whom

    def through(table: str, column: str) -> str:
        key, owned = wanted[table]
        return f"SELECT p.owner, t.{column} AS key FROM {table} t JOIN ({owned}) p ON p.key = t.{key}"

    for table in reversed(companies.tables) if roots else ():
        ways = [
            (fk.parent_column, vessels.owned(fk.child, fk.column, roots))
            for fk in vessels.into(table.name)
            if fk.child in vessels
        ]
        ways += [
            (fk.parent_column, through(fk.child, fk.column))
            for fk in companies.into(table.name)
            if fk.child in wanted and fk.child in companies and fk.child != table.name
        ]
        if not ways:
            continue
        key = ways[0][0] if len({column for column, _ in ways}) == 1 else table.key[0]
        owned = [
            query
            if column == key
            else f"SELECT p.owner, t.{key} AS key FROM {table.name} t JOIN ({query}) p ON p.key = t.{column}"
            for column, query in ways
        ]
        wanted[table.name] = key, f"SELECT DISTINCT owner, key FROM ({' UNION ALL '.join(owned)}) w"
    for table in companies.tables:
        # Details: one row each, under their parent's key.
        fk = companies.owner.get(table.name)
        if fk is not None and table.key == (fk.column,) and fk.parent in wanted:
            wanted[table.name] = fk.column, through(fk.parent, fk.parent_column)
    return [
        (table, rows_by(table, *wanted[table.name])) for table in companies.tables if table.name in wanted
    ]
