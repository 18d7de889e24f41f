"""The numbers of a file's rows and the UUIDs that stand for them: which are given, looked up and given back.

`bulkmig_ids` has all of them; where nothing may be written, a temporary copy has.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import orjson

from bulkmig.sqlite import numbering
from bulkmig.sqlite.numbering import IDS
from bulkmig.sqlite.tables import PortalTable
from bulkmig.sqlite.values import own_number, own_uuid

_KEPT = 200_000  # numbers that are remembered between two look-ups
_LENGTH = 36  # of a UUID
_GAPS = 100  # numbers of a vessel's rows that are in quarantine, or are loaded otherwise
_OTHERS = 0  # instead of `born` where the row is none that bulkmig created
_FOUND = f"i.uuid, i.id, CASE WHEN i.source_id IS NULL THEN {_OTHERS} ELSE i.born END"


class Ids:
    """Of one connection, whose worker thread calls all of this."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tables: dict[str, PortalTable] = {}
        self._version: int | None = None  # of the file, when its rows were last looked through for new ones
        self._scratch = False
        self._known: dict[str | None, int] = {}  # as long as nobody else can write

    def begin(self, tables: dict[str, PortalTable], *, scratch: bool) -> None:
        """From now on these are the portal's tables. `scratch`: what is noted is gone with the session."""
        # A table of the portal's own may have that name: it is refused where the ledger is looked at.
        there = self._connection.execute(
            f"SELECT 1 FROM pragma_table_info('{IDS}', 'main') WHERE name = 'uuid'"
        ).fetchone()
        self.drop_scratch()
        self._tables = tables
        self._scratch = scratch or not there
        if self._scratch:
            for statement in numbering.CREATE_IDS.format(schema="temp").split(";"):
                self._connection.execute(statement)
            if there:
                self._connection.execute(f"INSERT INTO temp.{IDS} SELECT * FROM main.{IDS}")
        self.forget()

    @property
    def temporary(self) -> bool:
        """Whether what is noted is gone with the session."""
        return self._scratch

    def drop_scratch(self) -> None:
        """Its name would hide the ledger's."""
        if self._scratch:
            self._connection.execute(f"DROP TABLE temp.{IDS}")
            self._scratch = False

    def forget(self) -> None:
        """What was read may be otherwise by now."""
        self._version = None
        self._known.clear()

    def doubt(self) -> None:
        """Numbers may have changed, within this session's own transaction too."""
        self._known.clear()

    # -- looking up

    def numbers(self, table: str, uuids: Sequence[str | None]) -> list[int | None]:
        """The number of each UUID, in a column that holds numbers of `table`; None where it names no row."""
        known = self._known
        found = list(map(known.get, uuids))
        if None in found and (new := {*uuids} - known.keys() - {None}):
            if len(known) > _KEPT:
                known.clear()
                new = {*uuids} - {None}
            known.update(self.known(new))
            for uuid in new - known.keys():
                number = own_number(table, uuid)
                if number is not None:
                    known[uuid] = number
            found = list(map(known.get, uuids))
        return found

    def known(self, uuids: Iterable[str | None]) -> list[tuple[str, int]]:
        """(UUID, number) of those that have one."""
        query = f"SELECT i.uuid, i.id FROM json_each(?1) j CROSS JOIN {IDS} i ON i.uuid = j.value"
        return self._connection.execute(query, (orjson.dumps(list(uuids)).decode(),)).fetchall()

    def sources(self, uuids: Sequence[str]) -> dict[str, str]:
        """UUID -> id of the source row that it was made for, where there is one."""
        query = (
            f"SELECT uuid, source_id FROM {IDS} WHERE source_id IS NOT NULL"
            " AND uuid IN (SELECT value FROM json_each(?1))"
        )
        return dict(self._connection.execute(query, (orjson.dumps(uuids).decode(),)).fetchall())

    def from_source(self, rows: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those rows, by table and number, that came from the source; a detail row goes with its main row."""
        query = f"SELECT 1 FROM {IDS} WHERE tbl = ?1 AND id = ?2 AND source_id IS NOT NULL"
        found = set()
        for table, number in rows:
            key = self._tables[table].key[0] if table in self._tables and self._tables[table].key else None
            of = (key.parent or table) if key is not None else table
            if self._connection.execute(query, (of, number)).fetchone():
                found.add((table, number))
        return found

    # -- giving

    def number(self, table: PortalTable, rows: Sequence[str]) -> None:
        """Gives rows that have no number yet one, in their order. A row: its UUID, its source id and its
        `created_at` as the file has it, if there are these, in one text."""
        if table.own is None or not rows:
            return
        there = {uuid for uuid, _ in self.known(row[:_LENGTH] for row in rows)}
        new = [row for row in rows if row[:_LENGTH] not in there] if there else rows
        if not new:
            return  # not even a number to begin with: there may be none behind the last
        # One statement for all of them: half the time of one for each.
        self._connection.execute(
            f"INSERT INTO {IDS} (tbl, id, uuid, source_id, born) SELECT ?1, ?2 + key,"
            f" substr(value, 1, {_LENGTH}), nullif(substr(value, {_LENGTH + 1}, {_LENGTH}), ''),"
            f" nullif(substr(value, {2 * _LENGTH + 1}), '') FROM json_each(?3)",
            (table.name, self._next_free(table, len(new)), orjson.dumps(new).decode()),
        )

    def arrive(self, table: PortalTable, uuids: Sequence[str], born: Sequence[str | None]) -> None:
        """Rows are about to be inserted, with such a `created_at`: gives those a number that have none, and
        notes what tells them from later ones."""
        if len(self._known) > _KEPT:
            self._known.clear()
        was = self._remember(self._around(table, uuids))
        if list(map(was.get, uuids)) == born and None not in born:
            return  # as it is with the rows of a vessel that is new
        missing = [uuid for uuid in uuids if uuid not in was]
        if missing:
            query = f"SELECT {_FOUND} FROM json_each(?1) j CROSS JOIN {IDS} i ON i.uuid = j.value"
            rows = self._connection.execute(query, (orjson.dumps(missing).decode(),)).fetchall()
            was.update(self._remember(rows))
        changed = [
            (now, uuid)
            for uuid, now in zip(uuids, born, strict=False)
            if uuid in was and was[uuid] not in (now, _OTHERS)
        ]
        self._connection.executemany(f"UPDATE {IDS} SET born = ?1 WHERE uuid = ?2", changed)
        if not was.keys() >= set(missing):
            self.number_arriving(table, uuids)

    def _remember(self, rows: Sequence[tuple[str, int, str | None]]) -> dict[str, str | int | None]:
        """Keeps the numbers of such rows of the table of ids; returns what tells each from a later one."""
        uuids, numbers, born = zip(*rows, strict=True) if rows else ((), (), ())
        self._known.update(zip(uuids, numbers, strict=True))
        return dict(zip(uuids, born, strict=True))

    def _around(self, table: PortalTable, uuids: Sequence[str]) -> list[tuple[str, int, str | None]]:
        """The rows of the table of ids around that of the first of these, where a vessel's lie together, so
        that most are found by one short scan instead of one by one."""
        found = self.known(uuids[:1])
        if not found:
            return []
        query = (
            f"SELECT {_FOUND} FROM {IDS} i WHERE i.tbl = ?1 AND i.id BETWEEN ?2 - ?3 AND ?2 + ?3"
            " AND i.uuid BETWEEN ?4 AND ?5"
        )
        near = (table.name, found[0][1], len(uuids) + _GAPS, min(uuids), max(uuids))
        return self._connection.execute(query, near).fetchall()

    def number_arriving(self, table: PortalTable, uuids: Sequence[str]) -> None:
        """Rows are about to be inserted: gives those a number that have none, or whose number the portal has
        taken for a row of its own meanwhile."""
        taken = [
            (uuids[place], number)
            for place, number in self._connection.execute(
                numbering.unnumbered(table), (orjson.dumps(uuids).decode(),)
            ).fetchall()
            if number is not None and own_number(table.name, uuids[place]) is None
        ]
        self._renumber(table, taken)
        self.number(table, uuids)
        self.doubt()

    def come_back(self, table: PortalTable, uuids: Sequence[str]) -> None:
        """Rows that bulkmig may have deleted once are inserted again."""
        # Named, since without statistics the key seems as good, and it reads all the table's numbers.
        freed = f"SELECT 1 FROM {IDS} INDEXED BY {IDS}_freed WHERE tbl = ?1 AND freed LIMIT 1"
        if self._connection.execute(freed, (table.name,)).fetchone():
            self._connection.execute(
                f"UPDATE {IDS} SET freed = 0 WHERE freed AND tbl = ?1"
                " AND uuid IN (SELECT value FROM json_each(?2))",
                (table.name, orjson.dumps(uuids).decode()),
            )

    def note_new(self) -> None:
        """Gives the portal's new rows their UUIDs, and what rows refer to though it isn't there: they would
        not be seen, and such numbers are taken. Costs one look at each table and reference when another
        connection has written; not within a transaction that only reads."""
        connection = self._connection
        (version,) = connection.execute("PRAGMA main.data_version").fetchone()
        if version == self._version or (self._version is not None and not connection.in_transaction):
            return
        self.doubt()
        for table in self._tables.values():
            if table.own is not None:
                found = connection.execute(numbering.strangers(table, self._tables)).fetchall()
                taken = [(uuid, n) for n, uuid in found if uuid and own_number(table.name, uuid) is None]
                self._renumber(table, taken)
                self._note_own(table, [n for n, uuid in found if uuid is None])
        for table in self._tables.values():
            for column in table.columns:
                parent = self._tables[column.parent] if column.parent else None
                if parent is not None:
                    query = numbering.unheard(table, column, parent)
                    self._note_own(parent, [n for (n,) in connection.execute(query).fetchall()])
        self._version = version

    def _note_own(self, table: PortalTable, numbers: Sequence[int]) -> None:
        """Gives numbers of the portal's own their UUIDs."""
        self._connection.executemany(
            f"INSERT OR IGNORE INTO {IDS} (tbl, id, uuid) VALUES (?1, ?2, ?3)",
            [(table.name, n, own_uuid(table.name, n)) for n in numbers],
        )

    def _next_free(self, table: PortalTable, rows: int = 1) -> int:
        (number,) = self._connection.execute(f"SELECT {numbering.next_free(table, str(rows))}").fetchone()
        return int(number)

    def _renumber(self, table: PortalTable, taken: Sequence[tuple[str, int]]) -> None:
        """Gives rows (UUID, number) the next free numbers, and theirs to the rows that have taken them."""
        for uuid, number in taken:
            free = self._next_free(table)
            self._connection.execute(f"UPDATE {IDS} SET id = ?1 WHERE uuid = ?2", (free, uuid))
            self._connection.execute(
                f"INSERT INTO {IDS} (tbl, id, uuid) VALUES (?1, ?2, ?3)",
                (table.name, number, own_uuid(table.name, number)),
            )
