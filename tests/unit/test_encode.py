"""What is loaded: each vessel's part of a table's CSV, and the base that is made of it."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bulkmig._core.frames import from_csv
from bulkmig._core.ids import derive_one
from bulkmig.encode import base, bases, encode, read_base, read_bases, table_loads
from bulkmig.entities import document
from bulkmig.transform import Outcome

ENTITY = document.ENTITY
VESSELS = [f"{n:08d}-0000-4000-8000-000000000000" for n in range(5)]
# What could be taken for the end of a value, of a row, or for another row's beginning.
NASTY = ["", None, '"', '""', '\n"', ",", "\\.", "\\N", "\r\n", "﻿", "\n\n", 'ship\'s "log"\n']


def image(sizes: list[int], *, of_vessel: int) -> pl.DataFrame:
    """Documents of several vessels in order of their ids; every n-th one belongs to the vessel itself."""
    rows = []
    for vessel, size in zip(VESSELS, sizes, strict=True):
        for number in range(size):
            source = f"{vessel[:8]}-0000-4000-9000-{number:012d}"
            rows.append((vessel, source, derive_one(vessel, source, "7"), number % of_vessel == 0))
    frame = pl.DataFrame(
        rows,
        schema={
            "vessel_id": pl.String,
            "source_id": pl.String,
            "@id": pl.String,
            "?vessel_documents": pl.Boolean,
        },
        orient="row",
    ).sort("@id")
    ids = frame["@id"].to_list()
    cells = {}
    for table in ENTITY.tables:
        for place, name in enumerate(table.cells):
            values = [NASTY[(row + place) % len(NASTY)] for row in range(len(ids))]
            # A value that looks like the line of another row.
            values = [f'\n"{ids[-1]}","x' if row % 7 == 3 else v for row, v in enumerate(values)]
            cells[f"{table.name}.{name}"] = ids if name == table.own_key else values
    return frame.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in cells.items())


def outcome(of: pl.DataFrame) -> Outcome:
    none = pl.DataFrame(schema={"vessel_id": pl.String})
    return Outcome(ENTITY, of.height, none, of, none, none, none, Counter(), Counter(), 0.0, 0.0)


def written(of: pl.DataFrame) -> pl.DataFrame:
    """An image as its base has it: no value where a row is not in the table."""
    cells = [c for c in of.columns if c.startswith("vessel_documents.")]
    kept = of.with_columns(pl.when(pl.col("?vessel_documents")).then(c).alias(c) for c in cells)
    return kept.drop("vessel_id", "@id")


@pytest.mark.parametrize("sizes", [[30, 1, 0, 50, 12], [1, 1, 1, 1, 1], [0, 0, 9, 0, 0]])
@pytest.mark.parametrize("of_vessel", [1, 3, 1000])
def test_each_vessel_gets_its_own_rows_of_every_table_and_nothing_else(
    sizes: list[int], of_vessel: int
) -> None:
    whole = image(sizes, of_vessel=of_vessel)
    made = encode(outcome(whole), VESSELS)
    assert [(parcel.vessel_id, parcel.rows) for parcel in made] == list(zip(VESSELS, sizes, strict=True))
    for parcel in made:
        own = whole.filter(pl.col("vessel_id") == parcel.vessel_id)
        alone = {load.table: load for load in table_loads(ENTITY, own) if load.rows}
        assert {load.table for load in parcel.loads} == set(alone)
        for load in parcel.loads:
            assert load.data == alone[load.table].data
            assert load.source_ids.to_list() == alone[load.table].source_ids.to_list()
            assert from_csv(load.data, load.columns).height == load.rows
        if parcel.rows:
            assert_frame_equal(read_base(parcel.base), written(own), check_column_order=False)


def test_vessels_whose_ids_lie_between_each_other_get_their_own_rows_too() -> None:
    whole = image([20, 20, 20, 0, 0], of_vessel=2).sort("source_id", descending=True)
    mixed = whole.with_columns(pl.Series("vessel_id", [VESSELS[n % 3] for n in range(60)]))
    for parcel in encode(outcome(mixed), VESSELS[:3]):
        own = mixed.filter(pl.col("vessel_id") == parcel.vessel_id)
        assert_frame_equal(read_base(parcel.base), written(own), check_column_order=False)


def test_a_base_is_the_image_that_it_was_made_of() -> None:
    whole = image([10, 0, 3, 0, 5], of_vessel=2)
    once = read_base(base(ENTITY, whole))
    assert_frame_equal(once, written(whole), check_column_order=False)
    assert_frame_equal(read_base(base(ENTITY, once)), once)


def test_parts_that_are_read_at_once_are_what_each_is_alone() -> None:
    whole = image([10, 0, 3, 1, 5], of_vessel=3)
    own = whole.partition_by("vessel_id")
    payloads = [base(ENTITY, one) for one in own]
    together, rows = read_bases(payloads)
    assert rows == [one.height for one in own]
    assert_frame_equal(together, pl.concat([read_base(payload) for payload in payloads]))


@pytest.mark.parametrize("of_vessel", [1, 3, 1000])
def test_bases_that_are_made_at_once_are_what_each_is_alone(of_vessel: int) -> None:
    whole = image([10, 0, 3, 1, 5], of_vessel=of_vessel)
    made = bases(ENTITY, whole)
    assert list(made) == whole["vessel_id"].unique(maintain_order=True).to_list()
    for vessel, (rows, payload) in made.items():
        own = whole.filter(pl.col("vessel_id") == vessel)
        assert rows == own.height
        assert_frame_equal(read_base(payload), read_base(base(ENTITY, own)))
