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
    ],
)
def test_a_number_counts_where_it_was_appended_to_this_codes_slug(
    slug: str, code: str, suffixed: bool
) -> None:
    assert is_suffixed(slug, code) == suffixed


def test_a_slug_that_the_portal_gave_to_a_migrated_company_is_taken() -> None:
    slugs = assign_slugs([("a", "ALPHA"), ("b", "BETA")], {"a": "alpha"}, {"beta-2"}, {"beta"})
    assert slugs == {"a": "alpha", "b": "beta-3"}
