"""Companies: slugs in order of creation, branding with defaults, adoption."""

from __future__ import annotations

import pytest

from tests.oracle.company import base_slug
from tests.oracle.draft import Ref
from tests.oracle.sample import Sample, found
from tests.oracle.target import Column

EARLIER, LATER = "2020-01-01 00:00:00+00", "2021-01-01 00:00:00+00"


@pytest.mark.parametrize(
    ("code", "slug"),
    [
        ("Acme Lines!", "acme-lines-"),
        ("İX", "i-x"),
        ("😀é", "--"),
        ("\u212a1", "k1"),
        ("", ""),
        ("x" * 60, "x" * 50),
    ],
)
def test_a_slug_has_a_hyphen_for_every_other_code_point(code: str, slug: str) -> None:
    assert base_slug(code) == slug


def test_slugs_are_given_in_order_of_creation_also_to_companies_not_selected() -> None:
    sample = Sample()
    second = sample.add("companies", code="A B", created_at=EARLIER)
    first = sample.add("companies", code="a-b", created_at="0044-01-01 00:00:00+00 BC")
    fourth = sample.add("companies", code="A.B", created_at=LATER)
    sample.own("companies", slug="a-b-3")
    sample.vessel(company_id=second)
    sample.vessel(company_id=fourth, imo_number=None)
    outcome = sample.expect()
    slugs = {row["id"]: row["slug"] for row in outcome.tables["companies"]}
    assert slugs[Ref("company", second)] == "a-b-2"
    assert slugs[Ref("company", fourth)] == "a-b-4"
    assert Ref("company", first) not in slugs
    assert found(outcome, "company") == {
        ("company.slug_collision", second, "code"),
        ("company.slug_collision", fourth, "code"),
    }
    assert outcome.lossiness["company.slug_collision"] == 2


def test_a_suffix_cuts_the_base_to_fit() -> None:
    sample = Sample()
    sample.add("companies", code="y" * 50, created_at=EARLIER)
    sample.vessel(company_id=sample.add("companies", code="Y" * 50, created_at=LATER))
    assert [row["slug"] for row in sample.expect().tables["companies"]] == ["y" * 48 + "-2"]


def test_an_unsuffixed_slug_adopts_and_every_mapped_column_takes_the_sources_value() -> None:
    sample = Sample()
    own = sample.own("companies", slug="acme", name="Before", logo_url="/own.svg")
    company = sample.add("companies", code="ACME", contact_email="", timezone="Mars/Base")
    vessel = sample.vessel(company_id=company)
    outcome = sample.expect()
    [row] = outcome.tables["companies"]
    assert (row["id"], row["name"], row["logo_url"]) == (own, "Company", "/assets/logos/default.svg")
    assert outcome.tables["company_settings"][0]["company_id"] == own
    assert outcome.tables["vessels"][0]["company_id"] == own
    assert found(outcome, "company") == {
        ("company.adopted", company, "code"),
        ("company.email_invalid", company, "contact_email"),
        ("company.timezone_unknown", company, "timezone"),
    }
    assert outcome.done_vessels == {vessel}


@pytest.mark.parametrize(
    ("settings", "logo"),
    [
        ('{"branding": {"logo": "/x\\u0000.svg"}}', "/x\ufffd.svg"),
        ('{"branding": {"logo": ""}}', "/assets/logos/default.svg"),
        ('{"branding": {"logo": 1}}', "/assets/logos/default.svg"),
        ('{"branding": ["logo"]}', "/assets/logos/default.svg"),
        ('"branding"', "/assets/logos/default.svg"),
        (None, "/assets/logos/default.svg"),
    ],
)
def test_branding_is_taken_from_objects_alone(settings: str | None, logo: str) -> None:
    sample = Sample()
    company = sample.add("companies", settings=settings)
    sample.vessel(company_id=company)
    outcome = sample.expect()
    assert outcome.tables["companies"][0]["logo_url"] == logo
    expected = {("json.unstorable_character", company, "settings")} if "\ufffd" in logo else set()
    assert found(outcome, "company") == expected


def test_text_is_cut_to_what_the_column_really_holds() -> None:
    sample = Sample()
    sample.target.columns["companies", "name"] = Column("character varying", length=3)
    company = sample.add("companies", name="😀😀😀😀")
    sample.vessel(company_id=company)
    outcome = sample.expect()
    assert outcome.tables["companies"][0]["name"] == "😀😀😀"
    assert found(outcome, "company") == {("value.truncated", company, "name")}


def test_an_error_of_a_company_fails_its_vessels_or_quarantines_them_and_its_users() -> None:
    sample = Sample()
    sample.own("companies", slug="acme")
    company = sample.add("companies", settings="[1e999999]")
    user = sample.add("users", company_id=company)
    vessel = sample.vessel(company_id=company)
    failing = sample.expect(on_error="fail")
    assert (failing.failed_vessels, failing.quarantined) == ({vessel}, {})
    quarantining = sample.expect(on_error="quarantine")
    assert quarantining.quarantined_vessels == {vessel}
    assert quarantining.quarantined == {
        ("company", company): {"json.unstorable"},
        ("user", user): {"json.unstorable"},
        ("vessel", vessel): {"json.unstorable"},
    }
    for outcome in (failing, quarantining):
        assert found(outcome) == {("json.unstorable", company, "settings")}
        assert outcome.tables["users"] == outcome.tables["vessels"] == []
