"""Who has an e-mail that several users want (mapping.md, "user"), from one run to the next."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from bulkmig import Report, Selection, Settings, migrate, sync
from bulkmig.entities import DIGITS

ALL = Selection(all=True)
ANOTHER_ROLE = "ALTER TYPE user_role ADD VALUE 'CAPTAIN'"  # which the map doesn't know


class Portals:
    """Both portals. Companies and users are known by a digit, of which their ids are made."""

    def __init__(self, source: asyncpg.Connection, target: asyncpg.Connection, settings: Settings) -> None:
        self.source, self.target, self.settings = source, target, settings

    async def company(self, number: int) -> None:
        """Adds one, with a vessel."""
        await self.source.execute(
            "INSERT INTO companies (id, name, code) VALUES ($1, 'c', $2)", of("company", number), f"c{number}"
        )
        await self.source.execute(
            "INSERT INTO vessels (id, company_id, name, onboarding_status)"
            " VALUES (gen_random_uuid(), $1, 'v', 'APPROVED')",
            of("company", number),
        )

    async def user(self, number: int, email: str, *, company: int = 1, role: str = "ADMIN") -> None:
        """Adds one; the lower the number, the earlier it was created."""
        await self.source.execute(
            "INSERT INTO users (id, company_id, email, role, created_at)"
            " VALUES ($1, $2, $3, $4, '2020-01-01'::timestamptz + $5 * interval '1 day')",
            of("user", number),
            of("company", company),
            email,
            role,
            number,
        )

    async def changes(self, number: int, email: str) -> None:
        await self.source.execute(
            "UPDATE users SET email = $2, updated_at = now() WHERE id = $1", of("user", number), email
        )

    async def of_the_portal(self, email: str, *, company: int = 1) -> str:
        """Adds a user to the target, in the company that is there; returns its id."""
        id_: str = await self.target.fetchval(
            "INSERT INTO users (id, company_id, email, role) SELECT gen_random_uuid(), id, $2, 'admin'"
            " FROM companies WHERE slug = $1 RETURNING id::text",
            f"c{company}",
            email,
        )
        return id_

    async def sync(self) -> Report:
        return await sync(self.settings, ALL)

    async def emails(self) -> dict[int | None, str]:
        """The e-mails of the target's users; None: of those that are no user's of the source."""
        rows = await self.target.fetch(
            "SELECT u.email, i.source_id::text AS source FROM users u LEFT JOIN bulkmig.identities i"
            " ON i.entity = 'user' AND i.target_id = u.id"
        )
        return {row["source"] and int(row["source"][-1]): row["email"] for row in rows}

    async def out(self) -> dict[int, str]:
        """The users in quarantine, and why."""
        rows = await self.target.fetch(
            "SELECT source_id::text AS source, code FROM bulkmig.quarantine WHERE entity = 'user'"
        )
        return {int(row["source"][-1]): row["code"].removeprefix("user.") for row in rows}


def of(entity: str, number: int) -> str:
    return f"0000000{DIGITS[entity]}-0000-4000-8000-00000000000{number}"


@pytest.fixture
async def portals(onboarding_url: str, maintenance_url: str) -> AsyncIterator[Portals]:
    source, target = await asyncpg.connect(onboarding_url), await asyncpg.connect(maintenance_url)
    made = Portals(source, target, Settings(source=onboarding_url, target=maintenance_url))
    try:
        await made.company(1)
        yield made
    finally:
        await source.close()
        await target.close()


async def test_a_loaded_user_keeps_an_email_against_one_who_was_created_earlier_until_it_changes(
    portals: Portals,
) -> None:
    await portals.user(2, "a@x.org")
    await migrate(portals.settings, ALL)
    await portals.user(1, "A@x.org")
    for same in ("a@x.org", "A@X.org", "a@X.org"):
        await portals.changes(2, same)
        await portals.sync()
        assert (await portals.emails(), await portals.out()) == ({2: same}, {1: "email_duplicate"})
    await portals.changes(2, "b@x.org")
    await portals.sync()
    assert (await portals.emails(), await portals.out()) == ({1: "A@x.org", 2: "b@x.org"}, {})


async def test_a_loaded_user_has_no_claim_to_an_email_that_it_was_not_loaded_with(portals: Portals) -> None:
    await portals.user(2, "a@x.org")
    await portals.user(3, "b@x.org")
    await migrate(portals.settings, ALL)
    await portals.user(1, "c@x.org")
    await portals.changes(2, "c@x.org")
    await portals.changes(3, "a@x.org")  # nobody's, had 2 got what it wants
    await portals.sync()
    assert await portals.emails() == {1: "c@x.org", 2: "a@x.org", 3: "b@x.org"}
    assert await portals.out() == {2: "email_duplicate", 3: "email_taken"}


async def test_an_email_that_a_loaded_user_gives_up_goes_to_a_newcomer_in_the_same_run(
    portals: Portals,
) -> None:
    await portals.user(1, "a@x.org")
    await migrate(portals.settings, ALL)
    await portals.changes(1, "b@x.org")
    await portals.user(2, "a@x.org")
    await portals.sync()
    assert (await portals.emails(), await portals.out()) == ({1: "b@x.org", 2: "a@x.org"}, {})


async def test_what_a_user_of_the_portal_has_only_a_newcomer_gets_who_takes_that_user_over(
    portals: Portals,
) -> None:
    await portals.user(1, "a@x.org")
    await migrate(portals.settings, ALL)
    own = await portals.of_the_portal("B@x.org")
    await portals.changes(1, "b@x.org")
    await portals.sync()
    assert (await portals.emails(), await portals.out()) == (
        {1: "a@x.org", None: "B@x.org"},
        {1: "email_taken"},
    )
    await portals.changes(1, "c@x.org")
    await portals.user(2, "b@x.org")
    for adopted in (1, 0):
        assert (await portals.sync()).findings["warning", "user.adopted"] == adopted
        assert (await portals.emails(), await portals.out()) == ({1: "c@x.org", 2: "b@x.org"}, {})
    assert await portals.target.fetchval("SELECT id::text FROM users WHERE email = 'b@x.org'") == own


async def test_who_does_not_get_an_email_keeps_the_own_one_which_nobody_else_gets(portals: Portals) -> None:
    await portals.user(1, "a@x.org")
    await portals.user(2, "c@x.org")
    await migrate(portals.settings, ALL)
    for email in ("b@x.org", "C@x.org"):
        await portals.of_the_portal(email)
    await portals.changes(1, "b@x.org")
    await portals.changes(2, "a@x.org")
    await portals.user(3, "C@x.org")
    assert (await portals.sync()).findings["warning", "user.adopted"] == 0
    rows = await portals.target.fetch('SELECT email FROM users ORDER BY email COLLATE "C"')
    assert [row["email"] for row in rows] == ["C@x.org", "a@x.org", "b@x.org", "c@x.org"]
    assert await portals.out() == dict.fromkeys((1, 2, 3), "email_taken")


async def test_who_has_an_email_keeps_it_whoever_gets_the_like_of_it_in_the_portal(portals: Portals) -> None:
    await portals.user(1, "a@x.org")
    await migrate(portals.settings, ALL)
    await portals.of_the_portal("A@x.org")
    await portals.changes(1, "a@X.ORG")
    await portals.sync()
    assert (await portals.emails(), await portals.out()) == ({1: "a@X.ORG", None: "A@x.org"}, {})


async def test_an_email_of_a_user_whom_the_portal_deleted_stays_that_users(portals: Portals) -> None:
    await portals.user(2, "a@x.org")
    await migrate(portals.settings, ALL)
    await portals.target.execute("DELETE FROM users")
    await portals.user(1, "a@x.org")
    await portals.sync()
    assert (await portals.emails(), await portals.out()) == ({}, {1: "email_duplicate"})


async def test_a_user_of_another_company_is_not_taken_over(portals: Portals) -> None:
    await portals.company(2)
    await migrate(portals.settings, ALL)
    await portals.of_the_portal("a@x.org", company=2)
    await portals.user(1, "a@x.org")
    await portals.sync()
    assert (await portals.emails(), await portals.out()) == ({None: "a@x.org"}, {1: "email_taken"})


async def test_a_user_with_a_warning_claims_an_email_and_one_with_an_error_does_not(portals: Portals) -> None:
    await portals.source.execute(ANOTHER_ROLE)
    await portals.user(1, "no address", role="CAPTAIN")
    await portals.user(2, "no address")
    await portals.user(3, "no address")
    await migrate(portals.settings, ALL)
    assert await portals.emails() == {2: "no address"}
    assert await portals.out() == {1: "role_unknown", 3: "email_duplicate"}


async def test_users_of_a_company_that_is_not_migrated_claim_theirs_unless_they_have_an_error(
    portals: Portals,
) -> None:
    await portals.source.execute(ANOTHER_ROLE)
    await portals.company(2)
    await portals.user(1, "a@x.org", company=2)
    await portals.user(2, "A@x.org")
    await portals.user(3, "b@x.org", company=2, role="CAPTAIN")
    await portals.user(4, "b@x.org")
    await migrate(portals.settings, Selection(company=("c1",)))
    assert (await portals.emails(), await portals.out()) == ({4: "b@x.org"}, {2: "email_duplicate"})
    await migrate(portals.settings, Selection(company=("c2",)))
    assert await portals.emails() == {1: "a@x.org", 4: "b@x.org"}
