"""A checkpoint that grows: its parts are written as they come, and last its row, which has their sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from bulkmig.checkpoint.parts import Owner, Packed, Role
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection

_KEPT = 8 * 1024 * 1024  # bytes of packed parts kept before they are written

INSERT = """
INSERT INTO bulkmig.checkpoints
       (id, run_id, vessel_id, roots, absent, base, together, restored, parts, rows, bytes, encrypted,
        incidental)
VALUES ($1::text::uuid, $2::text::uuid, $3::text::uuid, $4::text[]::uuid[], $5,
        (SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM bulkmig.base
          WHERE vessel_id = coalesce($3::text::uuid, $12::text::uuid) AND holds),
        $6::text[]::uuid[], $7::text::uuid, $8, $9, $10, $11, $13)
"""
_ADD = """
UPDATE bulkmig.checkpoints SET parts = parts + $2, rows = rows + $3, bytes = bytes + $4
 WHERE id = $1::text::uuid
"""


def entry(
    of: Owner,
    roots: Sequence[str],
    *,
    absent: bool,
    parts: int = 0,
    rows: int = 0,
    size: int = 0,
    together: Sequence[str] = (),
    restored: str | None = None,
    incidental: bool = False,
) -> tuple[Any, ...]:
    """A checkpoint's row, as INSERT takes it."""
    return (
        *(of.id, of.run_id, of.vessel_id, list(roots), absent, list(together), restored),
        *(parts, rows, size, of.encrypted, NIL, incidental),
    )


class Growing(Struct):
    """Parts from the number `first` on. `rows`: the portal's among theirs; `size`: their bytes."""

    connection: Connection
    of: Owner
    first: int = 0
    parts: int = 0
    rows: int = 0
    size: int = 0
    packed: Packed = field(default_factory=Packed)

    async def add(self, role: Role, table: str, columns: Sequence[str], query: str) -> None:
        """Adds what a query yields, which are these columns of that table."""
        before = self.packed.rows
        await self.packed.add(self.connection, role, table, columns, query)
        if role != "ledger":
            self.rows += self.packed.rows - before
        if sum(len(part[3]) for part in self.packed.parts) > _KEPT:
            await self.flush()

    async def flush(self) -> None:
        """Writes what came since the last time."""
        number = len(self.packed.parts)
        self.size += await self.packed.store(self.connection, self.of, self.first + self.parts)
        self.parts += number

    async def insert(
        self,
        roots: Sequence[str],
        *,
        absent: bool,
        together: Sequence[str] = (),
        restored: str | None = None,
        incidental: bool = False,
    ) -> None:
        """Ends a new checkpoint."""
        await self.flush()
        row = entry(
            self.of,
            roots,
            absent=absent,
            parts=self.parts,
            rows=self.rows,
            size=self.size,
            together=together,
            restored=restored,
            incidental=incidental,
        )
        await self.connection.execute(INSERT, *row)

    async def extend(self) -> None:
        """Ends what is added to one that is there."""
        await self.flush()
        await self.connection.execute(_ADD, self.of.id, self.parts, self.rows, self.size)
