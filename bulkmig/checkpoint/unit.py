"""Cuts the changes that a rollback undoes into units: what goes back in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from bulkmig.checkpoint import changes
from bulkmig.checkpoint.changes import Change
from bulkmig.checkpoint.restore import MANY
from bulkmig.postgres.session import Connection, pairs
from bulkmig.sqlite.session import on_file

_MOST = 64  # vessels of a unit
_WRITTEN = """
SELECT checkpoint_id::text, sum(rows) FROM bulkmig.base
 WHERE checkpoint_id = ANY ($1::text[]::uuid[]) AND kind = 'rows' GROUP BY checkpoint_id
"""
_TABLES = 2  # of the target's, that have a row for each of most entities' rows


async def cut(connection: Connection, chosen: Sequence[Change]) -> list[list[Change]]:
    """Units of these changes, the newest first: small vessels that have nothing to do with each other, so
    many that their rows are found by index still; everything else alone."""
    due = changes.newest_first(chosen)
    if on_file(connection) is not None:  # where neither a statement nor a commit is a way to a server
        return [[change] for change in due]
    since = await changes.since_each(connection, [change for change in due if change.vessel_id is not None])
    written = pairs(await connection.fetch(_WRITTEN, [one.id for chain in since.values() for one in chain]))
    units: list[list[Change]] = []
    room = -1  # for rows in the last unit
    for change in due:
        chain = since.get(change.id, ())
        rows = sum(later.rows + _TABLES * int(written.get(later.id, 0)) for later in chain)
        if change.vessel_id is None or changes.entangled(change, chain) or rows > MANY:
            units.append([change])
            room = -1
        elif rows > room or len(units[-1]) >= _MOST:
            units.append([change])
            room = MANY - rows
        else:
            units[-1].append(change)
            room -= rows
    return units
