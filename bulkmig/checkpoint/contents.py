"""What a checkpoint holds, read whole, which also shows whether it can be restored."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct, field

from bulkmig._core.frames import from_csv
from bulkmig.checkpoint import parts
from bulkmig.checkpoint.changes import Change
from bulkmig.errors import CheckpointError
from bulkmig.postgres.session import Connection


class Contents(Struct):
    """Rows per table of the portal; `problem`: why it can't be restored, or ''."""

    tables: Counter[str] = field(default_factory=Counter)
    problem: str = ""


async def contents(connection: Connection, change: Change) -> Contents:
    """Reads every part of the checkpoint."""
    found = Contents()
    try:
        await parts.complete(connection, {change.id: change.parts})
        async for part in parts.read(connection, change, parts.ROLES):
            if part.role == "state":
                found.tables[part.table] += from_csv(part.data, part.columns).height
    except CheckpointError as error:
        found.problem = str(error)
    return found
