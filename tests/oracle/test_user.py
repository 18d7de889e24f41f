"""Users: roles, e-mail addresses among the source's users and against the target's."""

from __future__ import annotations

import pytest

from tests.oracle.draft import Ref
from tests.oracle.sample import Sample, found

EARLIER, LATER = "2020-01-01 00:00:00+00", "2021-01-01 00:00:00+00"


def fleet() -> tuple[Sample, str]:
    """A sample with one selected company."""
    sample = Sample()
    company = sample.add("companies")
    sample.vessel(company_id=company)
    return sample, company


@pytest.mark.parametrize(
    ("role", "mapped", "flags"),
    [
        ("SUPER_ADMIN", "admin", "{}"),
        ("ADMIN", "admin", "{}"),
        ("MANAGER", "manager", "{}"),
        ("TECHNICIAN", "technician", "{}"),
        ("HSE_OFFICER", "technician", '{"hse_officer": true}'),
        ("VIEWER", "technician", '{"limited_permissions": true}'),
    ],
)
def test_roles_are_mapped_and_what_the_role_loses_becomes_a_flag(role: str, mapped: str, flags: str) -> None:
    sample, company = fleet()
    sample.add("users", company_id=company, role=role, phone="1", settings="null")
    outcome = sample.expect()
    assert outcome.tables["users"][0]["role"] == mapped
    [details] = outcome.tables["user_metadata"]
    assert (details["original_role"], details["flags"]) == (role, flags)
    assert (details["phone"], details["settings"]) == ("1", "null")


def test_the_first_of_one_email_is_loaded_and_the_others_are_quarantined() -> None:
    sample, company = fleet()
    other = sample.add("companies", code="OTHER")
    late = sample.add("users", company_id=company, email="A@x.org", created_at=LATER)
    elsewhere = sample.add("users", company_id=other, email="b@x.org", created_at=EARLIER)
    early = sample.add("users", company_id=company, email="a@X.org", created_at=EARLIER)
    behind = sample.add("users", company_id=company, email="B@X.ORG", created_at=LATER)
    outcome = sample.expect()
    assert [row["id"] for row in outcome.tables["users"]] == [Ref("user", early)]
    assert outcome.quarantined == {
        ("user", late): {"user.email_duplicate"},
        ("user", behind): {"user.email_duplicate"},
    }
    assert ("user", elsewhere) not in outcome.quarantined


def test_a_user_with_an_error_claims_no_email_and_is_quarantined_alone() -> None:
    sample, company = fleet()
    wrong = sample.add("users", company_id=company, role="CAPTAIN", created_at=EARLIER)
    right = sample.add("users", company_id=company, created_at=LATER)
    outcome = sample.expect(on_error="fail")
    assert [row["id"] for row in outcome.tables["users"]] == [Ref("user", right)]
    assert outcome.quarantined == {("user", wrong): {"user.role_unknown"}}
    assert outcome.failed_vessels == set()


def test_a_holder_at_the_mapped_company_is_adopted_the_exact_one_first() -> None:
    sample = Sample()
    own_company = sample.own("companies", slug="acme")
    company = sample.add("companies", code="ACME")
    sample.vessel(company_id=company)
    sample.own("users", company_id=own_company, email="A@X.ORG", role="admin")
    exact = sample.own("users", company_id=own_company, email="a@x.org", role="admin")
    user = sample.add("users", company_id=company, email="a@x.org")
    outcome = sample.expect()
    assert ("user.adopted", user, "email") in found(outcome)
    rows = {row["id"]: row for row in outcome.tables["users"]}
    assert len(rows) == 2
    assert rows[exact]["role"] == "technician"


def test_without_an_exact_holder_the_lowest_id_is_adopted_and_takes_the_sources_email() -> None:
    sample = Sample()
    own_company = sample.own("companies", slug="acme")
    company = sample.add("companies", code="ACME")
    sample.vessel(company_id=company)
    lowest = sample.own("users", company_id=own_company, email="A@X.org", role="admin")
    sample.own("users", company_id=own_company, email="A@X.ORG", role="admin")
    sample.add("users", company_id=company, email="a@x.org")
    rows = {row["id"]: row["email"] for row in sample.expect().tables["users"]}
    assert rows[lowest] == "a@x.org"
    assert len(rows) == 2


def test_a_holder_at_another_company_takes_the_email() -> None:
    sample, company = fleet()
    own_company = sample.own("companies", slug="someone-else")
    own = sample.own("users", company_id=own_company, email="A@X.ORG", role="admin")
    user = sample.add("users", company_id=company, email="a@x.org")
    outcome = sample.expect()
    assert outcome.quarantined == {("user", user): {"user.email_taken"}}
    assert [row["id"] for row in outcome.tables["users"]] == [own]


@pytest.mark.parametrize("email", ["", "a", "a@b", "a @b.c", "a@b@c.d", "a\u3000@b.c", "a@b.", "a@b.c\n"])
def test_an_invalid_email_is_loaded_and_found(email: str) -> None:
    sample, company = fleet()
    user = sample.add("users", company_id=company, email=email)
    outcome = sample.expect()
    assert found(outcome, "user") == {("user.email_invalid", user, "email")}
    assert outcome.tables["users"][0]["email"] == email


def test_users_of_companies_without_a_selected_vessel_are_neither_written_nor_reported() -> None:
    sample, _ = fleet()
    sample.add("users", company_id=sample.add("companies", code="OTHER"), email="", role="CAPTAIN")
    outcome = sample.expect()
    assert outcome.tables["users"] == []
    assert found(outcome, "user") == set()
