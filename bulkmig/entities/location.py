"""locations → equipment.location (mapping.md): a tree that fills no table of its own.

Read: the vessels' own locations and all ancestors of them, on other vessels too.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from bulkmig._core.declare import Column, Entity, Kind, Rule
from bulkmig._core.unit import Location, Unit

SEPARATOR = " > "


def _prepare(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    unit.locations.update(
        (row["id"], Location(row["vessel_id"], row["parent_id"], row["name"]))
        for row in frame.iter_rows(named=True)
    )
    cyclic = on_a_cycle(unit.locations)
    # A location of another vessel is reported with that vessel, if this run looks at it too.
    elsewhere = pl.col("vessel_id").is_in(list(unit.decisions.vessels_due - set(unit.vessels)))
    return frame.with_columns(
        pl.Series("~cycle", [i in cyclic for i in frame["id"]], dtype=pl.Boolean) & ~elsewhere,
        (pl.col("parent_id").is_not_null() & ~pl.col("parent_id").is_in(list(unit.locations)) & ~elsewhere)
        .alias("~orphan"),
    )  # fmt: skip


def on_a_cycle(locations: Mapping[str, Location]) -> set[str]:
    """The locations that are their own ancestors."""
    cyclic: set[str] = set()
    done: set[str] = set()
    for start in locations:
        trail: dict[str, int] = {}
        current: str | None = start
        while current is not None and current in locations and current not in done and current not in trail:
            trail[current] = len(trail)
            current = locations[current].parent_id
        if current is not None and current in trail:
            cyclic.update(list(trail)[trail[current] :])
        done.update(trail)
    return cyclic


def path(locations: Mapping[str, Location], location_id: str) -> str:
    """The names from the root to a location. A missing parent ends it, a cycle before any one repeats."""
    names: list[str] = []
    seen: set[str] = set()
    current: str | None = location_id
    while current is not None and current not in seen and current in locations:
        seen.add(current)
        names.append(locations[current].name)
        current = locations[current].parent_id
    return SEPARATOR.join(reversed(names))


ENTITY = Entity(
    name="location",
    source="locations",
    digit="4",
    after=("vessel",),
    ancestors="parent_id",
    columns=(
        Column("id", Kind.ID),
        Column("vessel_id", Kind.ID),
        Column("parent_id", Kind.ID),
        Column("name"),
    ),
    prepare=_prepare,
    rules=(
        Rule(
            "location.parent_missing",
            "parent_id",
            pl.col("~orphan"),
            "its parent doesn't exist: the path ends there",
            lossy=True,
        ),
        Rule(
            "location.cycle",
            "parent_id",
            pl.col("~cycle"),
            "it is its own ancestor: the path ends before a location repeats",
            lossy=True,
        ),
    ),
)
