"""An expectation against a target: every cell of every table. Says nothing where all is as expected."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from tests.oracle import ids as id_rules
from tests.oracle import tie
from tests.oracle.contract import THINGS, Thing
from tests.oracle.draft import Ref
from tests.oracle.expect import Expectation
from tests.oracle.file import read_file
from tests.oracle.matching import Matching
from tests.oracle.target import read_rows
from tests.oracle.units import Ids, Tables, Unit, cells, units

SHOWN = 60


@dataclass
class Comparison:
    """The differences, and which id each source row has got."""

    differences: list[str]
    ids: dict[Ref, str]


async def compare(expectation: Expectation, target_url: str) -> list[str]:
    """The differences between what is expected and what a target holds."""
    if target_url.startswith("sqlite:"):
        return compare_tables(expectation.tables, read_file(target_url).tables, numbers=True).differences
    return compare_tables(expectation.tables, await read_rows(target_url)).differences


def compare_tables(expected: Tables, actual: Tables, *, numbers: bool = False) -> Comparison:
    """The same between tables that have been read. `numbers`: ids are a file's, not UUIDs."""
    ids: dict[Ref, str] = {}
    found: list[str] = []
    for thing in THINGS:
        matching = _match(thing, expected, actual, ids)
        for one, other in matching.pairs:
            if isinstance(one.id, Ref) and isinstance(other.id, str):
                ids[one.id] = other.id
        for one, other in matching.pairs:
            found += _cell_differences(one, other, ids)
        found += [f"{one}: missing" for one in matching.expected]
        found += [f"{other}: not expected" for other in matching.actual]
    found += id_rules.unordered(expected, ids) if numbers else id_rules.differences(expected, actual, ids)
    return Comparison(found, ids)


def _match(thing: Thing, expected: Tables, actual: Tables, ids: Ids) -> Matching:
    matching = Matching(units(expected, thing), units(actual, thing))
    matching.pair(lambda unit: unit.id if isinstance(unit.id, str) else None)
    natural = {
        "company": ("companies", "slug"),
        "user": ("users", "email"),
        "vessel": ("vessels", "imo_number"),
        "equipment": ("equipment_metadata", "original_id"),
    }
    if thing.entity in natural:
        table, column = natural[thing.entity]
        matching.pair(lambda unit: unit.value(table, column))

    def content(unit: Unit) -> Hashable:
        return frozenset(cells(unit, ids).items())

    if thing.entity == "vessel" and matching.expected:
        equipment = {**tie.equipment_on(expected), **tie.equipment_on(actual)}
        contents = {**tie.contents(expected, ids), **tie.contents(actual, ids)}
        matching.pair(lambda unit: equipment.get(unit.id))
        matching.pair(content)
        matching.pair(lambda unit: (content(unit), contents.get(unit.id)), interchangeable=True)
    matching.pair(content, interchangeable=True)
    matching.pair_likest(ids)
    return matching


def _cell_differences(one: Unit, other: Unit, ids: Ids) -> Iterator[str]:
    if one.id != other.id and not isinstance(one.id, Ref):
        yield f"{one}: its id is now {other.id}"
    expected, actual = cells(one, ids), cells(other, ids)
    for place in sorted(expected.keys() | actual.keys()):
        table, number, column = place
        if place not in actual or place not in expected:
            if column == "(row)":
                yield f"{one}: row {number + 1} of {table} " + (
                    "missing" if place in expected else "not expected"
                )
        elif expected[place] != actual[place]:
            wanted, held = _shown(expected[place], actual[place])
            yield f"{one} ({other.id}): {table}.{column}: expected {wanted}, found {held}"


def _shown(wanted: str | None, held: str | None) -> tuple[str, str]:
    """Both values, long ones from a little before the first character in which they differ."""
    if wanted is None or held is None or max(len(wanted), len(held)) <= SHOWN:
        return repr(wanted)[: 3 * SHOWN], repr(held)[: 3 * SHOWN]
    same = next((i for i, (a, b) in enumerate(zip(wanted, held, strict=False)) if a != b), 0)
    start = max(0, (same or min(len(wanted), len(held))) - SHOWN // 3)
    cut = f"[{start}:] "
    return cut + repr(wanted[start : start + SHOWN]), cut + repr(held[start : start + SHOWN])
