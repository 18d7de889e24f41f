"""Units of work: every vessel in exactly one, the large ones alone and first."""

from __future__ import annotations

from random import Random
from uuid import UUID

import pytest

from bulkmig._core.ids import prefix
from bulkmig.selection import Vessel
from bulkmig.units import MAX_TOGETHER, PER_EQUIPMENT, PER_VESSEL, cut, in_order, keys_bytes, room

BATCH = 1024 * 1024
ROOM = room(BATCH)


def vessels(*sizes: int) -> list[Vessel]:
    return [Vessel(str(UUID(int=n)), f"V{n}", None, "company", size) for n, size in enumerate(sizes)]


def expected(unit: list[Vessel]) -> int:
    return sum(PER_VESSEL + vessel.equipment * PER_EQUIPMENT for vessel in unit)


def test_no_vessel_makes_no_unit() -> None:
    assert cut([], BATCH) == []


@pytest.mark.parametrize("seed", range(5))
def test_every_vessel_is_in_exactly_one_unit_that_fits_or_is_its_own(seed: int) -> None:
    rng = Random(seed)
    fleet = vessels(*(rng.choice((0, 1, 40, 300, 600, 5000)) for _ in range(200)))
    units = cut(fleet, BATCH)
    assert sorted(vessel.id for unit in units for vessel in unit) == [vessel.id for vessel in fleet]
    assert all(len(unit) == 1 or expected(unit) <= ROOM for unit in units)
    assert all(len(unit) <= MAX_TOGETHER for unit in units)


def test_the_largest_come_first_and_alone() -> None:
    units = cut(vessels(3, 9000, 0, 900, 2), BATCH)
    assert [sorted(vessel.equipment for vessel in unit) for unit in units] == [[9000], [900], [0, 2, 3]]


def test_small_ones_go_in_the_order_of_their_target_ids_and_in_ever_smaller_units() -> None:
    units = cut(vessels(*[100] * 120), BATCH)
    prefixes = [prefix(vessel.id) for unit in units for vessel in unit]
    assert prefixes == sorted(prefixes)
    sizes = [len(unit) for unit in units]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


def test_small_ones_go_together_however_many_as_far_as_sessions_should_hold_them() -> None:
    assert [len(unit) for unit in cut(vessels(*[0] * 130), BATCH)] == [64, 64, 2]


def test_the_order_in_which_vessels_are_named_does_not_matter() -> None:
    fleet = vessels(5, 5, 700, 0, 5, 700)
    assert cut(fleet[::-1], BATCH) == cut(fleet, BATCH)


def test_the_keys_of_a_unit_take_room_by_its_equipment() -> None:
    assert keys_bytes(vessels(0, 0)) == 0
    assert keys_bytes(vessels(1000, 500)) == 1500 * keys_bytes(vessels(1))


@pytest.mark.parametrize("seed", range(5))
def test_units_that_keep_the_order_fit_or_are_one_vessel(seed: int) -> None:
    rng = Random(seed)
    fleet = vessels(*(rng.choice((0, 1, 40, 300, 600, 5000)) for _ in range(200)))
    units = in_order(fleet, BATCH)
    assert [vessel for unit in units for vessel in unit] == fleet
    assert all(len(unit) == 1 or expected(unit) <= ROOM for unit in units)
    assert all(len(unit) <= MAX_TOGETHER for unit in units)
    assert len(units) < len(fleet)


def test_where_one_writes_the_last_vessels_are_not_alone_either() -> None:
    small = vessels(*[1000] * 60)
    assert [len(unit) for unit in in_order(small, 8 * BATCH)[-2:]] == [1, 1]
    lengths = [len(unit) for unit in in_order(small, 8 * BATCH, one_writes=True)]
    assert (sum(lengths), lengths) == (60, sorted(lengths, reverse=True))
    assert lengths[0] > min(lengths[:-1]) > 1
