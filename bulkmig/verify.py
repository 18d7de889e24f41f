"""The verifier: compares every cell that the transform of the source yields with what the target holds."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import anyio
import polars as pl
from anyio import to_thread

from bulkmig._core import jsontext
from bulkmig._core.declare import Entity, Table
from bulkmig._core.frames import from_csv
from bulkmig._core.ids import id_range
from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Unit
from bulkmig.entities import PER_VESSEL
from bulkmig.postgres.session import Connection
from bulkmig.source.onboarding import read_all
from bulkmig.source.queries import uuid_array
from bulkmig.target.postgres import ends
from bulkmig.target.references import dangling
from bulkmig.transform import Outcome
from bulkmig.weigh import Deviation, Mismatch, Verified, Weigher


class Verifier:
    """A pipeline's sink that compares. `result` is complete when `finish` is done.

    `collect`: tables whose expected ids are kept, to tell which rows are not due. For units of small vessels
    that is all of them; a large vessel collects in a second pass, and only where there are too many rows:
    `surplus` names those tables."""

    def __init__(
        self,
        target: Connection,
        unit: Unit,
        weigher: Weigher,
        *,
        collect: frozenset[str] | None = None,
    ) -> None:
        self.target, self.unit, self.weigher = target, unit, weigher
        self.result = Verified()
        self.surplus: frozenset[str] = frozenset()
        self._second_pass = collect is not None
        self._collect = collect
        if collect is None and len(unit.vessels) > 1:
            self._collect = frozenset(t.name for e in PER_VESSEL for t in e.tables)
        self._found: Counter[str] = Counter()
        self._session = anyio.Lock()  # two actors ask the one target session
        self._ids: defaultdict[str, list[pl.Series]] = defaultdict(list)

    async def look_up(self, entity: Entity, frame: pl.DataFrame) -> None:
        """Asks the target about rows of other vessels that this batch refers to."""
        if entity.waits is None:
            return
        wanted: set[str] = set()
        for reference in entity.references:
            if reference.entity == "equipment":
                own = self.unit.keys.find(frame[reference.column], frame["vessel_id"])
                wanted.update(frame.filter(own.is_null())[reference.column].drop_nulls())
        async with self._session:
            self.unit.ends = await ends(self.target, sorted(wanted)) if wanted else None

    def pack(self, outcome: Outcome) -> list[Parcel]:
        return [Parcel(outcome.entity, None, outcome.image, *_rest(outcome))]

    async def accept(self, parcel: Parcel) -> None:
        for table, rows in table_rows(parcel.entity, parcel.image):
            if self._collect is not None and table.name in self._collect:
                self._ids[table.name].append(rows["@id"])
        if not self._second_pass:
            async with self._session:
                await self.compare(parcel.entity, parcel.image)

    async def compare(self, entity: Entity, image: pl.DataFrame) -> None:
        """Compares an image with the rows of the target that have its keys."""
        started = time.perf_counter()
        for table, rows in table_rows(entity, image):
            if not rows.height:
                continue
            actual = await self._fetch(table, rows["@id"])
            self._found[table.name] += actual.height
            mismatches = await to_thread.run_sync(compare_rows, table, rows, actual)
            self.result.rows[table.name] += actual.height
            await self._judge(entity, mismatches)
            self._check_rules(table, actual)
        self.result.seconds += time.perf_counter() - started

    async def _fetch(self, table: Table, ids: pl.Series) -> pl.DataFrame:
        columns = [table.own_key, *(c for c in table.cells if c != table.own_key)]
        query = (
            f"SELECT {', '.join(columns)} FROM {table.name} WHERE {table.own_key} = ANY ({uuid_array(ids)})"
        )
        data = await read_all(self.target, query)
        return await to_thread.run_sync(from_csv, data, columns)

    def _check_rules(self, table: Table, actual: pl.DataFrame) -> None:
        """The portal's business rules: what breaks one is a warning, since its cells are compared anyway."""
        if not table.holds:
            return
        row = actual.select(expr.all().alias(name) for name, expr in table.holds.items()).row(0)
        self.result.checks += len(row)
        self.result.warnings += sum(not held for held in row)

    async def _judge(self, entity: Entity, mismatches: list[Mismatch]) -> None:
        self.result.checks += 1
        if mismatches:
            weighed = await self.weigher.weigh(entity, mismatches)
            self.result.failed += weighed.difference_count > 0
            self.result.warnings += weighed.difference_count == 0
            self.result.add(weighed)

    async def finish(self) -> None:
        """Counts the rows that have an id of these vessels, and looks for those that are not due."""
        started = time.perf_counter()
        surplus = set()
        for entity in PER_VESSEL:
            if entity.name == "vessel":
                continue  # one row, compared by its id
            for table in entity.tables:
                if self._second_pass:
                    if self._collect is not None and table.name in self._collect:
                        await self._judge(entity, await self._extras(table))
                elif await self._count(table) > self._found[table.name]:
                    surplus.add(table.name)
                    if self._collect is not None:
                        await self._judge(entity, await self._extras(table))
                else:
                    self.result.checks += 1
        self.surplus = frozenset(surplus) if self._collect is None else frozenset()
        if not self._second_pass and self.unit.vessels:
            await self._check_references()
        self.result.seconds += time.perf_counter() - started

    async def _check_references(self) -> None:
        """Integrity: every reference of these vessels' rows leads to a row."""
        self.result.checks += 1
        lost = [one async for one in dangling(self.target, self.unit.vessels)]
        self.result.failed += bool(lost)
        self.result.difference_count += len(lost)
        self.result.differences += [
            Deviation(one.child, one.id, one.column, f"a row of {one.parent}", "no row") for one in lost
        ]

    def _where(self, table: Table) -> str:
        ranges = (id_range(vessel) for vessel in self.unit.vessels)
        return " OR ".join(f"{table.own_key} BETWEEN '{low}' AND '{high}'" for low, high in ranges)

    async def _count(self, table: Table) -> int:
        count: int = await self.target.fetchval(
            f"SELECT count(*) FROM {table.name} WHERE {self._where(table)}"
        )
        return count

    async def _extras(self, table: Table) -> list[Mismatch]:
        query = f"SELECT {table.own_key} FROM {table.name} WHERE {self._where(table)}"
        there = from_csv(await read_all(self.target, query), ("@id",))
        pieces = self._ids[table.name]
        due = pl.DataFrame({"@id": pl.concat(pieces)}) if pieces else there.clear()
        extra = there.join(due, on="@id", how="anti")["@id"]
        return [Mismatch("extra", table, id_, "") for id_ in extra]


def _rest(outcome: Outcome) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    return outcome.findings, outcome.quarantined, outcome.waiting


def table_rows(entity: Entity, image: pl.DataFrame) -> Iterator[tuple[Table, pl.DataFrame]]:
    """Each table of the entity with the image's rows that it should hold."""
    for table in entity.tables:
        yield table, image.filter(pl.col(f"?{table.name}")) if table.when is not None else image


def compare_rows(table: Table, expected: pl.DataFrame, actual: pl.DataFrame) -> list[Mismatch]:
    """The rows of one table that are missing and the cells that differ."""
    cells = [name for name in table.cells if name != table.own_key]
    joined = expected.select(
        "source_id", "@id", *(pl.col(f"{table.name}.{name}").alias(name) for name in cells)
    ).join(
        actual.rename({name: f"actual.{name}" for name in cells}).with_columns(there=True),
        left_on="@id",
        right_on=table.own_key,
        how="left",
        maintain_order="left",
    )
    found = [
        Mismatch("missing", table, id_, source_id)
        for id_, source_id in joined.filter(pl.col("there").is_null()).select("@id", "source_id").iter_rows()
    ]
    present = joined.filter(pl.col("there"))
    flags = present.select(pl.col(name).ne_missing(pl.col(f"actual.{name}")) for name in cells)
    for name in cells:
        if not flags[name].any():
            continue
        rows = present.filter(flags[name]).select("@id", "source_id", name, f"actual.{name}")
        for id_, source_id, want, have in rows.iter_rows():
            if not (table.cells[name].json and jsontext.same(want, have)):
                found.append(Mismatch("cell", table, id_, source_id, name, want, have))
    return found
