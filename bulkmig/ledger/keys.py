"""Which keys the ledger's values are encrypted with: whoever reads or adds to them must have them all."""

from __future__ import annotations

from bulkmig.errors import PreflightError
from bulkmig.postgres.session import Connection, keys_of
from bulkmig.security.seal import missing

_THERE = "SELECT to_regclass('bulkmig.keys') IS NOT NULL"


async def check(connection: Connection) -> None:
    """Raises PreflightError where a key in use isn't here: nothing could be compared or gone on with, and
    what is added in the clear, or under another key alone, would be no protection."""
    if not await connection.fetchval(_THERE):
        return
    keys = keys_of(connection)
    rows = await connection.fetch("SELECT id FROM bulkmig.keys ORDER BY since, id")
    if lacking := [row["id"] for row in rows if row["id"] not in keys.ids]:
        error = missing(lacking, keys)
        raise PreflightError(f"the ledger holds values {error.message}", error.hint)


async def register(connection: Connection) -> None:
    """Records the writing key as in use, before anything is encrypted with it."""
    writer = keys_of(connection).writer
    if writer is not None:
        await connection.execute(
            "INSERT INTO bulkmig.keys (id) VALUES ($1) ON CONFLICT DO NOTHING", writer.id
        )


async def retire(connection: Connection, in_use: set[bytes]) -> None:
    """Forgets keys that nothing is encrypted with any more."""
    await connection.execute("DELETE FROM bulkmig.keys WHERE NOT (id = ANY ($1::bytea[]))", list(in_use))
