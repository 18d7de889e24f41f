"""Counts the statements that bulkmig's sessions send, by end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

Statements = dict[str, list[str]]


@contextmanager
def counted() -> Iterator[Statements]:
    """`source` and `target` -> statements sent while the block runs, those that open and close sessions and
    transactions left out."""
    sent: defaultdict[str, list[str]] = defaultdict(list)

    def note(connection: Any, query: str) -> None:
        text = " ".join(query.split())
        if text.partition(" ")[0].upper().rstrip(";") not in ("BEGIN", "COMMIT", "ROLLBACK", "SET", "RESET"):
            sent["source" if connection._params.database.startswith("onboarding") else "target"].append(text)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_execute", "_copy_out", "_copy_in", "execute"):
            original = getattr(asyncpg.Connection, name)

            async def sends(
                self: Any, *given: Any, _original: Any = original, _name: str = name, **named: Any
            ) -> Any:
                if _name != "execute" or len(given) == 1:  # with arguments it is `_execute`
                    note(self, given[0])
                return await _original(self, *given, **named)

            patch.setattr(asyncpg.Connection, name, sends)
        yield sent
