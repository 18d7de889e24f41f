"""Which user keeps a shared e-mail, and who is adopted (mapping.md, "user")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from bulkmig.sqlite.values import own_number
from bulkmig.target.state import PortalUser

TAKEN = "user.email_taken"


def duplicates(emails: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Lower-cased e-mail -> ids, for e-mails of several users. Input: (id, email) in order of seniority."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for user, email in emails:
        groups[email.lower()].append(user)
    return {email: users for email, users in groups.items() if len(users) > 1}


def losers(
    groups: Mapping[str, list[str]],
    erroneous: Collection[str],
    loaded: Collection[str],
) -> set[str]:
    """Users who don't get the e-mail they share: all claimants but the one who is loaded with it, else the
    first."""
    out: set[str] = set()
    for users in groups.values():
        claimants = [user for user in users if user not in erroneous]
        if claimants:
            winner = next((user for user in claimants if user in loaded), claimants[0])
            out.update(user for user in claimants if user != winner)
    return out


def adopt(email: str, company_id: str, candidates: Iterable[PortalUser]) -> tuple[str | None, bool]:
    """Of the target's users with the same lower-cased e-mail: the id to adopt, or whether it is taken."""
    found = list(candidates)
    if any(user.source_id is not None or user.company_id != company_id for user in found):
        return None, True
    if not found:
        return None, False
    return min(found, key=lambda user: (user.email != email, *_order(user.id))).id, False


def _order(id_: str) -> tuple[int, str]:
    """How the target sorts its ids: on SQLite by their integers, which may be negative."""
    return own_number("users", id_) or 0, id_
