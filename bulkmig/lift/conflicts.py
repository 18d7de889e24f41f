"""Recorded conflicts on their way: the values of both sides as a direct migration would have recorded them,
since who decides for the source later writes what is recorded of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from bulkmig.entities import entity
from bulkmig.lift.fit import Fit, Unfit
from bulkmig.sqlite.session import Session
from bulkmig.sync.conflicts import Fields, seal, unseal
from bulkmig.sync.row import field_names

if TYPE_CHECKING:
    from bulkmig.postgres.session import Connection

_N = "~n"


def fitted(file: Session, rows: Sequence[dict[str, Any]], fit: Fit) -> None:
    """Makes the fields of these rows of the ledger's conflicts what PostgreSQL's columns can hold."""
    keys = cast("Connection", file)  # it has them
    recorded: list[Fields] = [unseal(keys, *_of(row), row["fields"]) for row in rows]
    cells: defaultdict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
    for n, (row, fields) in enumerate(zip(rows, recorded, strict=True)):
        names = {name: cell for cell, name in field_names(entity(row["entity"])).items()}
        for name, sides in fields.items():
            table, _, column = names[name].partition(".")
            cells[table, column] += [(n, name, side) for side in sides]
    changed: set[int] = set()
    for (table, column), places in cells.items():
        values = [recorded[n][name][side] for n, name, side in places]
        frame = pl.DataFrame({_N: [str(n) for n, _, _ in places], column: pl.Series(values, dtype=pl.String)})
        try:
            made = fit.table(table, frame, _N, quiet=True)[column].to_list()
        except Unfit:
            # What the portal alone had, and which can't be NULL: it is shown as it was, and never written.
            continue
        for (n, name, side), value, now in zip(places, values, made, strict=True):
            if now != value:
                recorded[n][name][side] = now
                changed.add(n)
    for n in changed:
        rows[n]["fields"] = seal(keys, *_of(rows[n]), recorded[n])


def _of(row: dict[str, Any]) -> tuple[str, str | None]:
    return row["id"], row["vessel_id"]
