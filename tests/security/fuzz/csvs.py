"""CSV from PostgreSQL and for it, the export, and what is shown."""

from __future__ import annotations

import csv
import io

from hypothesis import strategies as st

from bulkmig import audit_log
from bulkmig._core.frames import from_csv, to_csv
from bulkmig._core.parcel import TableLoad
from bulkmig.cli.output import plain
from bulkmig.monitor import page
from tests.security.fuzz.target import (
    TEXT,
    target,
)

CELL = st.one_of(st.none(), TEXT.map(lambda text: text.replace("\x00", "")))
ROWS = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[CELL] * width), min_size=1, max_size=6))


@target(ROWS)
def csv_boundaries(rows: list[tuple[str | None, ...]]) -> None:
    """Cells come back as they were, from what PostgreSQL writes and from what bulkmig writes; and a line is
    of the row that a reader of CSV counts."""
    ids = [f"{number:08d}" for number in range(len(rows))]
    names = ["id", *(f"c{number}" for number in range(len(rows[0])))]
    whole = [(id_, *row) for id_, row in zip(ids, rows, strict=True)]
    as_server = "".join(",".join(map(server_cell, row)) + "\n" for row in whole).encode()
    frame = from_csv(as_server, names)
    assert frame.rows() == whole
    written = to_csv(frame)
    assert from_csv(written, names).rows() == whole
    load = TableLoad("t", ("id",), tuple(names), frame["id"], written)
    line = 1
    for number, row in enumerate(whole):
        for _ in range(1 + sum((cell or "").count("\n") for cell in row)):
            assert load.source_id_at(line) == ids[number]
            line += 1


def server_cell(cell: str | None) -> str:
    """A field as PostgreSQL's COPY writes it."""
    if cell is None:
        return ""
    quoted = (
        cell in ("", "\\.") or any(mark in cell for mark in '",\n\r') or cell[0] == " " or cell[-1] == " "
    )
    return '"' + cell.replace('"', '""') + '"' if quoted else cell


@target(st.lists(TEXT, min_size=1, max_size=5))
def exported_csv(texts: list[str]) -> None:
    """The export of the audit log is read back as it was, computed by no spreadsheet, no row of it two."""
    entries = [dict.fromkeys(audit_log.FIELDS, text) for text in texts]
    rows = list(csv.reader(io.StringIO(audit_log._csv(entries), newline="")))
    assert len(rows) == len(texts) + 1
    for text, row in zip(texts, rows[1:], strict=True):
        for cell in row:
            assert plain(text).plain in (cell, cell.removeprefix("'"))
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "|", "%", "\t", "\r"))


@target(TEXT)
def shown(text: str) -> None:
    """A text of a row shows no control character on a terminal and ends no script of a page."""
    assert all(c.isprintable() for c in plain(text).plain)
    data = page.alone({"name": text + "</script><script>alert(1)</script><!--"}).split('id="data">')[1]
    assert "<" not in data.split("</script>")[0]
