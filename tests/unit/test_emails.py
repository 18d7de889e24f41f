"""Who of several users gets the e-mail that they share, and whom of the portal's a user takes over."""

from __future__ import annotations

import pytest

from bulkmig.decide.users import adopt, duplicates, losers
from bulkmig.sqlite.values import own_uuid
from bulkmig.target.state import PortalUser


def test_emails_are_one_by_their_lower_cased_text_and_keep_the_order_of_their_users() -> None:
    emails = [("c", "A@x.org"), ("a", "b@x.org"), ("b", "a@X.ORG"), ("d", "a@x.org")]
    assert duplicates(emails) == {"a@x.org": ["c", "b", "d"]}


@pytest.mark.parametrize(
    ("erroneous", "loaded", "out"),
    [
        ("", "", "bc"),
        ("a", "", "c"),
        ("ab", "", ""),
        ("abc", "", ""),
        ("", "b", "ac"),
        ("b", "b", "c"),
        ("", "bc", "ac"),
        ("", "z", "bc"),
    ],
)
def test_who_is_loaded_keeps_an_email_else_the_first_without_an_error_gets_it(
    erroneous: str, loaded: str, out: str
) -> None:
    assert losers({"e": ["a", "b", "c"], "f": ["d"]}, set(erroneous), set(loaded)) == set(out)


def held(id_: str, company: str = "ours", email: str = "a@x.org", source: str | None = None) -> PortalUser:
    return PortalUser(id_, company, email, source)


@pytest.mark.parametrize(
    ("held_by", "adopted", "taken"),
    [
        ([], None, False),
        ([held("1")], "1", False),
        ([held("2"), held("1")], "1", False),
        ([held("1", email="A@x.org"), held("2")], "2", False),  # the exact one first
        ([held("1", email="A@x.org"), held("3"), held("2")], "2", False),
        ([held("1", company="theirs")], None, True),
        ([held("1", source="s")], None, True),
        ([held("1"), held("2", company="theirs")], None, True),
        ([held("1"), held("2", source="s")], None, True),
    ],
)
def test_a_portals_user_is_taken_over_in_its_company_unless_the_email_is_taken(
    held_by: list[PortalUser], adopted: str | None, taken: bool
) -> None:
    assert adopt("a@x.org", "ours", held_by) == (adopted, taken)
    assert adopt("a@x.org", "ours", reversed(held_by)) == (adopted, taken)


@pytest.mark.parametrize("numbers", [(1, 2), (-3, 1), (-3, -2), (-3, 0), (9, 10), (-(2**63), 2**63 - 1)])
def test_the_lowest_id_of_a_file_is_its_lowest_integer(numbers: tuple[int, int]) -> None:
    held_by = [held(own_uuid("users", number)) for number in numbers]
    assert adopt("a@x.org", "ours", held_by) == (held_by[0].id, False)
    assert adopt("a@x.org", "ours", reversed(held_by)) == (held_by[0].id, False)
