"""Rows as the driver for PostgreSQL gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


class Row(tuple[Any, ...]):
    """A row by place and by name."""

    names: tuple[str, ...] = ()

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)

    def keys(self) -> Sequence[str]:
        return self.names

    def values(self) -> Iterator[Any]:
        return iter(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        return zip(self.names, self, strict=True)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self.names else default
