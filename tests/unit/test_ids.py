"""Target ids: valid UUIDs of version 8, the same on every machine, clustered by owner."""

from __future__ import annotations

from uuid import RFC_4122, UUID, uuid5

import polars as pl
import pytest

from bulkmig._core import ids
from bulkmig.entities import DIGITS

SPACE = UUID(int=7)
ROWS = [str(uuid5(SPACE, str(number))) for number in range(500)]
OWNER = str(uuid5(SPACE, "owner"))


def derived(owner: str, digit: str) -> list[str]:
    frame = pl.DataFrame({"owner": [owner] * len(ROWS), "id": ROWS})
    made = frame.select(ids.derive(pl.lit(ids.prefix(owner)), ids.digest("id"), digit).alias("id"))
    return made["id"].to_list()


def test_they_are_valid_uuids_of_version_8() -> None:
    for id_ in map(UUID, derived(OWNER, "5")):
        assert (id_.version, id_.variant) == (8, RFC_4122)


def test_one_row_gets_the_same_id_as_many() -> None:
    assert derived(OWNER, "5") == [ids.derive_one(OWNER, row, "5") for row in ROWS]


def test_an_id_is_what_the_rule_says() -> None:
    assert ids.derive_one("a", "b", "5") == "ca978112-ca1b-853e-823e-8160039594a3"


def test_no_two_entities_share_an_id() -> None:
    every = [id_ for digit in DIGITS.values() for id_ in derived(OWNER, digit)]
    assert len(set(every)) == len(every)


def test_all_ids_of_an_owner_lie_in_its_range_and_no_others() -> None:
    low, high = ids.id_range(OWNER)
    assert all(low <= id_ <= high for digit in DIGITS.values() for id_ in derived(OWNER, digit))
    assert not any(low <= id_ <= high for id_ in derived(str(uuid5(SPACE, "other")), "5"))


def test_what_became_bytes_becomes_the_same_text_again() -> None:
    column = pl.Series("source_id", ROWS)
    assert ids.canonical(ids.raw(column)).to_list() == ROWS
    assert ids.canonical(b"").to_list() == []
    with pytest.raises(ValueError, match="whole"):
        ids.canonical(bytes(15))
