"""What a sync decides by."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from bulkmig._core.unit import Catalogue
from bulkmig.sync.strategies import named
from bulkmig.sync.strategies._strategy import Strategy


class Options(Protocol):
    """What the command's options say of it: settings, or what a worker is told of them."""

    @property
    def conflict(self) -> str: ...
    @property
    def allow_deletions(self) -> bool: ...
    @property
    def brake_share(self) -> float: ...
    @property
    def brake_least(self) -> int: ...


class Rules(Struct, frozen=True):
    """What a run decides by. The brake holds a vessel's deletions back where more than `brake_share` of the
    rows that bulkmig wrote, and at least `brake_least` equipment, would go. `spares`: vessels that
    were rolled back, be it since the run has chosen them, are left alone."""

    strategy: Strategy
    catalogue: Catalogue
    allow_deletions: bool
    brake_share: float
    brake_least: int
    spares: bool

    @classmethod
    def of(cls, options: Options, catalogue: Catalogue, *, spares: bool) -> Rules:
        """The rules of a run with these options, for a target with these columns."""
        return cls(
            named(options.conflict),
            catalogue,
            options.allow_deletions,
            options.brake_share,
            options.brake_least,
            spares,
        )
