"""What a strategy decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from bulkmig._core.declare import Entity
from bulkmig.sync.row import Row

#: `table.column` -> the type of the target's column
Types = Mapping[str, str]


class Strategy(Struct, frozen=True):
    """`both(entity, types, base, source, target)`: the row that stands where both sides changed it; None
    leaves the conflict open. `deleted_in_source`: whether a row that the portal changed is deleted;
    `deleted_by_portal`: whether a row that the source changed is created anew. None leaves these open."""

    name: str
    both: Callable[[Entity, Types, Row, Row, Row], Row | None]
    deleted_in_source: bool | None
    deleted_by_portal: bool | None
