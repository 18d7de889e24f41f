"""Slugs and adoption of companies (mapping.md, "company")."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from bulkmig.entities.company import MAX_SLUG, base_slug


def assign_slugs(
    companies: Iterable[tuple[str, str]],
    assigned: Mapping[str, str],
    portal: set[str],
    renamed: Collection[str] = (),
) -> dict[str, str]:
    """Gives every company of the source its slug.

    `companies`: (id, code) in order of (created_at, id), all of the source's. `assigned`: those that have
    one. `portal`: slugs of the target's own companies. An unsuffixed one is no obstacle: that company is
    adopted. `renamed`: slugs that migrated companies have by now, who can't be adopted."""
    slugs = dict(assigned)
    taken = {*assigned.values(), *renamed}
    for company, code in companies:
        if company in slugs:
            continue
        base = base_slug(code)
        slug, number = base, 1
        while slug in taken or (number > 1 and slug in portal):
            number += 1
            suffix = f"-{number}"
            slug = base[: MAX_SLUG - len(suffix)] + suffix
        slugs[company] = slug
        taken.add(slug)
    return slugs
