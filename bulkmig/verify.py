"""The verifier: compares every cell that the transform of the source yields with what the target holds."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import anyio
import polars as pl
from anyio import to_thread
from msgspec import Struct

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
from bulkmig.target.references import ForeignKey, dangling, foreign_keys
from bulkmig.transform import Outcome
from bulkmig.verified import Deviation, Verified
from bulkmig.weigh import Mismatch, Weigher


class Verifier:
    """A pipeline's sink that compares. `result` is complete when `finish` is done.

    Where a table comes in one batch, all rows in the vessels' key ranges are read in order of the key, which
    shows rows that are not due as well, and their references are proved with the rows at hand. Others are
    compared batch by batch, by the ids that are expected. Then their rows are counted; where there are too
    many, `surplus` names the tables, and a second pass with these as `collect` keeps the expected ids and
    tells which rows are not due."""

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
        self._collect = collect
        self._found: Counter[str] = Counter()
        self._session = anyio.Lock()  # two actors ask the one target session
        self._ids: defaultdict[str, list[pl.Series]] = defaultdict(list)
        self._references = _References()

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
        rest = (outcome.findings, outcome.quarantined, outcome.waiting)
        return [Parcel(outcome.entity, None, outcome.image, *rest)]

    async def accept(self, parcel: Parcel) -> None:
        self.weigher.kept_out[parcel.entity.name].update(
            parcel.quarantined["source_id"], parcel.waiting["id"]
        )
        if self._collect is not None:
            for table, rows in table_rows(parcel.entity, parcel.image):
                if table.name in self._collect:
                    self._ids[table.name].append(rows["@id"])
            return
        async with self._session:
            await self.compare(parcel.entity, parcel.image, whole=parcel.whole)

    async def compare(self, entity: Entity, image: pl.DataFrame, *, whole: bool = False) -> None:
        """Compares an image with the rows of the target that have its keys; a whole one with all in the
        vessels' key ranges."""
        started = time.perf_counter()
        # A vessel's own id may be one that the portal gave, and lie anywhere.
        in_ranges = whole and entity.name != "vessel"
        for table, rows in table_rows(entity, image):
            if in_ranges:
                await self._compare(entity, table, rows, await self._all(table), in_ranges=True)
            elif rows.height:
                await self._compare(entity, table, rows, await self._these(table, rows["@id"]))
        self.result.seconds += time.perf_counter() - started

    async def _compare(
        self, entity: Entity, table: Table, rows: pl.DataFrame, data: bytes, *, in_ranges: bool = False
    ) -> None:
        seen = await to_thread.run_sync(examine, table, rows, data)
        gone = [m.id for m in seen.mismatches if m.kind == "missing"]
        if gone and in_ranges:
            # A row that belonged to another vessel once has kept its id, outside of these ranges.
            elsewhere = await self._these(table, gone)
            if elsewhere:
                seen = await to_thread.run_sync(examine, table, rows, data + elsewhere)
        if in_ranges or entity.name == "vessel":
            keys = await foreign_keys(self.target, self.unit.decisions)
            await to_thread.run_sync(self._references.look, table, seen.actual, keys)
        self._found[table.name] += seen.actual.height
        self.result.rows[table.name] += seen.actual.height
        await self._judge(entity, seen.mismatches)
        # The portal's business rules: what breaks one is a warning, since its cells are compared anyway.
        self.result.checks += len(table.holds)
        self.result.warnings += seen.broken

    async def _these(self, table: Table, ids: Iterable[str]) -> bytes:
        return await read_all(
            self.target, f"{_select(table)} WHERE {table.own_key} = ANY ({uuid_array(ids)})"
        )

    async def _all(self, table: Table) -> bytes:
        """The rows in the vessels' key ranges, in order of the key."""
        each = (f"({_select(table)} WHERE {one} ORDER BY {table.own_key})" for one in self._ranges(table))
        return await read_all(self.target, " UNION ALL ".join(each))

    async def _judge(self, entity: Entity, mismatches: list[Mismatch]) -> None:
        self.result.checks += 1
        if mismatches:
            weighed = await self.weigher.weigh(entity, mismatches)
            self.result.failed += weighed.difference_count > 0
            self.result.warnings += weighed.difference_count == 0
            self.result.add(weighed)

    async def finish(self) -> None:
        """Looks for rows that have an id of these vessels and are not due, and proves the references."""
        started = time.perf_counter()
        surplus = set()
        for entity in PER_VESSEL:
            if entity.name == "vessel":
                continue  # one row, compared by its id
            for table in entity.tables:
                if self._collect is not None:
                    if table.name in self._collect:
                        await self._judge(entity, await self._extras(table))
                elif table.name in self._references.there:
                    continue  # all of it was compared
                elif len(self.unit.vessels) > 1:  # the source has no row for it
                    await self._compare(
                        entity, table, _nothing(table), await self._all(table), in_ranges=True
                    )
                elif await self._count(table) > self._found[table.name]:
                    surplus.add(table.name)
                else:
                    self.result.checks += 1
        self.surplus = frozenset(surplus)
        if self._collect is None and self.unit.vessels:
            await self._check_references()
        self.result.seconds += time.perf_counter() - started

    async def _check_references(self) -> None:
        """Integrity: every reference of these vessels' rows leads to a row."""
        self.result.checks += 1
        keys = await foreign_keys(self.target, self.unit.decisions)
        open_ = [key for key in keys if key not in self._references.proved]
        lost = await dangling(self.target, open_, self.unit.vessels)
        self.result.failed += bool(lost)
        self.result.difference_count += len(lost)
        self.result.differences += [
            Deviation(one.child, one.id, one.column, f"a row of {one.parent}", "no row") for one in lost
        ]

    def _ranges(self, table: Table) -> list[str]:
        ranges = sorted(id_range(vessel) for vessel in self.unit.vessels)
        return [f"{table.own_key} BETWEEN '{low}' AND '{high}'" for low, high in ranges]

    async def _count(self, table: Table) -> int:
        count: int = await self.target.fetchval(
            f"SELECT count(*) FROM {table.name} WHERE {' OR '.join(self._ranges(table))}"
        )
        return count

    async def _extras(self, table: Table) -> list[Mismatch]:
        query = f"SELECT {table.own_key} FROM {table.name} WHERE {' OR '.join(self._ranges(table))}"
        there = from_csv(await read_all(self.target, query), ("@id",))
        pieces = self._ids[table.name]
        due = pl.DataFrame({"@id": pl.concat(pieces)}) if pieces else there.clear()
        return [Mismatch("extra", table, id_, "") for id_ in there.join(due, on="@id", how="anti")["@id"]]


class _References:
    """Proves references of a unit's rows with the rows themselves, where these have what they refer to.

    `there`: table -> the keys of its rows. `proved`: of these keys every reference leads to a row; about the
    others the target has to be asked."""

    def __init__(self) -> None:
        self.there: dict[str, pl.Series] = {}
        self.proved: set[ForeignKey] = set()

    def look(self, table: Table, actual: pl.DataFrame, keys: Iterable[ForeignKey]) -> None:
        """Takes in a table's rows; those that they refer to came before."""
        self.there[table.name] = actual[table.own_key]
        for key in keys:
            if key.child != table.name or key.column not in actual.columns:
                continue
            parents = self.there.get(key.parent)
            if parents is None or parents.name != key.parent_column:
                continue
            if actual[key.column].drop_nulls().is_in(parents.implode()).all():
                self.proved.add(key)


def table_rows(entity: Entity, image: pl.DataFrame) -> Iterator[tuple[Table, pl.DataFrame]]:
    """Each table of the entity with the image's rows that it should hold."""
    for table in entity.tables:
        yield table, image.filter(pl.col(f"?{table.name}")) if table.when is not None else image


def _columns(table: Table) -> list[str]:
    return [table.own_key, *(name for name in table.cells if name != table.own_key)]


def _select(table: Table) -> str:
    return f"SELECT {', '.join(_columns(table))} FROM {table.name}"


def _nothing(table: Table) -> pl.DataFrame:
    names = ["source_id", "@id", *(f"{table.name}.{name}" for name in table.cells)]
    return pl.DataFrame(schema=dict.fromkeys(names, pl.String))


class Examined(Struct):
    """The rows of one table: what the target holds, what deviates, how many business rules are broken."""

    actual: pl.DataFrame
    mismatches: list[Mismatch]
    broken: int


def examine(table: Table, expected: pl.DataFrame, data: bytes) -> Examined:
    """Compares rows of an image with the CSV of `_select`."""
    actual = _one_each(table, expected, from_csv(data, _columns(table)))
    key = table.own_key
    found: list[Mismatch] = []
    present = actual
    # Both are in order of the key as a rule, and then row lies beside row.
    if actual.height != expected.height or not (actual[key] == expected["@id"]).all():
        missing = expected.join(actual, left_on="@id", right_on=key, how="anti", maintain_order="left")
        extra = actual.join(expected, left_on=key, right_on="@id", how="anti", maintain_order="left")
        found = [
            *(Mismatch("missing", table, *ids) for ids in missing.select("@id", "source_id").iter_rows()),
            *(Mismatch("extra", table, id_, "") for id_ in extra[key]),
        ]
        expected = expected.join(actual, left_on="@id", right_on=key, how="semi").sort("@id")
        present = actual.join(expected, left_on=key, right_on="@id", how="semi").sort(key)
    found += _cells(table, expected, present)
    holds = actual.select(expr.all().alias(name) for name, expr in table.holds.items())
    broken = sum(not held for held in holds.row(0)) if table.holds else 0
    return Examined(actual, found, broken)


def _one_each(table: Table, expected: pl.DataFrame, actual: pl.DataFrame) -> pl.DataFrame:
    """One row for each own id, the expected one if it is there. Where that is not all of the key, the portal
    may have added others: documents of several vessels."""
    if len(table.key) == 1 or actual[table.own_key].is_unique().all():
        return actual
    due = expected.select(
        **{name: f"{table.name}.{name}" for name in table.key}, **{"@due": pl.lit(value=True)}
    )
    return (
        actual.join(due, on=table.key, how="left", maintain_order="left")
        .sort(table.own_key, "@due", nulls_last=True, maintain_order=True)
        .unique(table.own_key, keep="first", maintain_order=True)
        .drop("@due")
    )


def _cells(table: Table, expected: pl.DataFrame, actual: pl.DataFrame) -> list[Mismatch]:
    """The cells that differ between rows that lie beside each other."""
    names = _columns(table)[1:]
    pairs = expected.select("@id", "source_id", *(f"{table.name}.{name}" for name in names)).hstack(
        actual.select(names)
    )
    differ = {name: pl.col(name).ne_missing(pl.col(f"{table.name}.{name}")) for name in names}
    anywhere = pairs.select(expr.any().alias(name) for name, expr in differ.items()).row(0, named=True)
    found: list[Mismatch] = []
    for name in names:
        if anywhere[name]:
            rows = pairs.filter(differ[name]).select("@id", "source_id", f"{table.name}.{name}", name)
            if table.cells[name].json:
                rows = rows[jsontext.unlike(rows.to_series(2).to_list(), rows.to_series(3).to_list())]
            found += [
                Mismatch("cell", table, id_, source_id, name, want, have)
                for id_, source_id, want, have in rows.iter_rows()
            ]
    return found
