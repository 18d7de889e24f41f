"""The keys of a unit's equipment: each is found on its vessel, with what was said of it."""

from __future__ import annotations

from random import Random
from uuid import UUID

import polars as pl
import pytest

from bulkmig._core.keys import Keys

ONE, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
NIL = "00000000-0000-0000-0000-000000000000"


def texts(*values: str | None) -> pl.Series:
    return pl.Series(values, dtype=pl.String)


def add(
    keys: Keys, ids: list[str], vessel: str, *, alike: list[int | None] | None = None, out: bool = False
) -> None:
    keys.add(
        texts(*ids),
        texts(*[vessel] * len(ids)),
        pl.Series(alike or [None] * len(ids), dtype=pl.UInt64),
        pl.Series([out] * len(ids), dtype=pl.Boolean),
    )


def ids(count: int, seed: int = 0) -> list[str]:
    """Random ids, and such that differ in their last or first digits only, zeros at the end among them."""
    rng = Random(seed)
    made = [str(UUID(int=rng.getrandbits(128))) for _ in range(count)]
    made += [str(UUID(int=n)) for n in range(count)] + [str(UUID(int=n << 112)) for n in range(1, count)]
    rng.shuffle(made)
    return made


@pytest.mark.parametrize("batches", [1, 7])
def test_every_key_is_found_on_its_vessel_with_what_was_said_of_it(batches: int) -> None:
    keys, known = Keys(), ids(60)
    kept, out = known[::2], known[1::2]
    for number in range(batches):
        add(keys, kept[number::batches], ONE)
        add(keys, out[number::batches], OTHER, out=True)
    wanted = texts(*kept, *out)
    right = texts(*[ONE] * len(kept), *[OTHER] * len(out))
    assert keys.find(wanted, right).to_list() == [False] * len(kept) + [True] * len(out)
    wrong = texts(*[OTHER] * len(kept), *[ONE] * len(out))
    assert keys.find(wanted, wrong).null_count() == len(known)


def test_what_was_never_added_is_not_found() -> None:
    keys = Keys()
    assert keys.find(texts(NIL, None), texts(ONE, ONE)).to_list() == [None, None]
    add(keys, [NIL, "ffffffff-ffff-ffff-ffff-fffffffffffe"], ONE)
    strangers = texts(
        "ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-0000-0000-000000000001", None, NIL
    )
    assert keys.find(strangers, texts(*[ONE] * 4)).to_list() == [None, None, None, False]
    assert keys.find(texts(NIL), texts("33333333-3333-4333-8333-333333333333")).to_list() == [None]
    assert keys.find(texts(), texts()).to_list() == []


def test_keys_that_come_after_a_question_are_found_too() -> None:
    keys = Keys()
    add(keys, ["b" * 8 + NIL[8:]], ONE)
    assert keys.find(texts(NIL), texts(ONE)).to_list() == [None]
    add(keys, [NIL], ONE, out=True)
    add(keys, [], ONE)
    assert keys.find(texts(NIL, "b" * 8 + NIL[8:]), texts(ONE, ONE)).to_list() == [True, False]


def test_of_those_that_look_alike_all_but_the_first_by_id_are_repeated() -> None:
    keys, known = Keys(), sorted(ids(10))
    add(keys, known[4::-1], ONE, alike=[7, None, 7, 0, 7])
    add(keys, known[5:9], OTHER, alike=[0, 8, 9, None])
    repeated = set(keys.repeated().iter_rows())
    assert repeated == {(known[2], ONE), (known[4], ONE), (known[5], OTHER)}
    assert Keys().repeated().schema == keys.repeated().schema
