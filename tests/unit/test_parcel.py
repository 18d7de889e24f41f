"""Which source row a line of COPY's input belongs to, though rows may span lines."""

from __future__ import annotations

import polars as pl
import pytest

from bulkmig._core.frames import to_csv
from bulkmig._core.parcel import TableLoad

ROWS = [
    ("a", "one line", None),
    ("b", "two\nlines", "x"),
    ("c", "", "ends in one\n"),
    ("d", 'quoted "line\n\n\nbreaks"', "\n"),
    ("e", "carriage\r\nreturn", "\r"),
    ("f", None, None),
]
# How many lines of the input each row takes.
LINES = [1, 2, 2, 5, 2, 1]


def load(rows: list[tuple[str, str | None, str | None]]) -> TableLoad:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("id", "text", "more"), pl.String), orient="row")
    sources = pl.Series([f"source {id_}" for id_ in frame["id"]], dtype=pl.String)
    return TableLoad("things", ("id",), ("id", "text", "more"), sources, to_csv(frame))


def test_every_line_of_a_row_leads_to_its_source_row() -> None:
    things = load(ROWS)
    assert things.data.count(b"\n") == sum(LINES)
    found = [things.source_id_at(line) for line in range(1, sum(LINES) + 1)]
    assert found == [f"source {row[0]}" for row, lines in zip(ROWS, LINES, strict=True) for _ in range(lines)]


@pytest.mark.parametrize("line", [sum(LINES) + 1, 10_000])
def test_a_line_beyond_the_last_row_leads_nowhere(line: int) -> None:
    assert load(ROWS).source_id_at(line) == ""


def test_a_load_knows_how_many_rows_it_has() -> None:
    assert load(ROWS).rows == len(ROWS)
    assert load([]).rows == 0
