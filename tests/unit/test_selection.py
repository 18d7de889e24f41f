"""Selections: what can't be meant is refused, and one selection has one canonical text."""

from __future__ import annotations

import pytest

from bulkmig import Selection, UsageError

ONE, OTHER = "0f9f7cf0-9c8e-4f2e-8b3a-2c0f6d1f4b11", "1d2c3b4a-0000-4000-8000-00000000abcd"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "no vessel is selected"),
        ({"all": True, "vessels": (ONE,)}, "already selects every vessel"),
        ({"all": True, "imo": ("9074729",)}, "already selects every vessel"),
        ({"all": True, "company": ("ACME",)}, "already selects every vessel"),
        ({"vessels": ("9074729",)}, "'9074729' is no vessel id"),
        ({"vessels": (ONE, "")}, "'' is no vessel id"),
        ({"allow_unapproved": True}, "no vessel is selected"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Selection(**wrong)  # type: ignore[arg-type]
    assert caught.value.hint
    assert caught.value.exit_status == 2


def test_the_same_selection_has_the_same_text_however_it_was_written() -> None:
    first = Selection(vessels=(ONE, OTHER), imo=("2", "1"), company=("B", "A"))
    second = Selection(vessels=(OTHER.upper(), f"{{{ONE}}}"), imo=("1", "2"), company=("A", "B"))
    assert str(first) == str(second) == f"{ONE} {OTHER} --imo 1 --imo 2 --company A --company B"
    assert str(Selection(all=True)) == "--all"
    assert str(Selection(vessels=(ONE,), allow_unapproved=True)) == f"{ONE} --allow-unapproved"
