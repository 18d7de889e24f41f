"""Whether a company's slug has a number because another has it without."""

from __future__ import annotations

import pytest

from bulkmig.decide.companies import assign_slugs
from bulkmig.entities.company import is_suffixed


@pytest.mark.parametrize(
    ("slug", "code", "suffixed"),
    [
        ("acme", "ACME", False),
        ("acme-2", "ACME", True),
        ("acme-10", "Acme", True),
        ("acme-2", "ACME-2", False),
        ("acme-2-3", "ACME-2", True),
        ("x" * 48 + "-2", "X" * 50, True),
        ("acme", "NEWCO", False),  # the code has changed, the slug never does
        ("acme-2", "NEWCO", False),
        ("acme-oil", "ACME", False),
    ],
)
def test_a_number_counts_where_it_was_appended_to_this_codes_slug(
    slug: str, code: str, suffixed: bool
) -> None:
    assert is_suffixed(slug, code) == suffixed


LONG = "y" * 50


@pytest.mark.parametrize(
    ("codes", "assigned", "portal", "slugs"),
    [
        (["X"], {}, [], ["x"]),
        (["X", "x", "X"], {}, [], ["x", "x-2", "x-3"]),
        (["X-2", "X", "X"], {}, [], ["x-2", "x", "x-3"]),
        (["X"], {}, ["x"], ["x"]),  # it is taken over
        (["X", "X", "X"], {}, ["x-2"], ["x", "x-3", "x-4"]),
        ([LONG, LONG], {}, [], [LONG, "y" * 48 + "-2"]),
        (
            [LONG] * 11,
            {},
            [],
            [LONG, *("y" * 48 + f"-{n}" for n in range(2, 10)), *("y" * 47 + f"-{n}" for n in (10, 11))],
        ),
        (["X", "X"], {"1": "x"}, [], ["x-2", "x"]),
        (["Y", "X"], {"0": "x"}, [], ["x", "x-2"]),  # its code was X before
        (["X"], {"gone": "x"}, [], ["x-2"]),
    ],
)
def test_slugs_are_given_in_order_and_avoid_what_others_have(
    codes: list[str], assigned: dict[str, str], portal: list[str], slugs: list[str]
) -> None:
    companies = [(str(number), code) for number, code in enumerate(codes)]
    before = dict(assigned)
    found = assign_slugs(companies, assigned, set(portal))
    assert [found[id_] for id_, _ in companies] == slugs
    assert {id_: slug for id_, slug in found.items() if id_ in assigned} == assigned == before


def test_a_slug_that_the_portal_gave_to_a_migrated_company_is_taken() -> None:
    slugs = assign_slugs([("a", "ALPHA"), ("b", "BETA")], {"a": "alpha"}, {"beta-2"}, {"beta"})
    assert slugs == {"a": "alpha", "b": "beta-3"}
