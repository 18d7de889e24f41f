"""What makes a unit of a sync: vessels that change in one commit, or others as far as they fit together."""

from __future__ import annotations

from collections.abc import Callable

from bulkmig.config import Settings
from bulkmig.selection import Vessel
from bulkmig.sync.moves import Moves
from bulkmig.units import in_order

Group = list[Vessel]  # vessels that change in one commit


def units(groups: list[Group], moves: Moves, settings: Settings) -> list[list[Vessel]]:
    """Units of these groups. Within a window, or at a rate, each vessel starts for itself that may."""
    if settings.window is not None or settings.max_rows_per_second:
        return groups
    plain, others = parted(groups, lambda group: is_plain(group, moves))
    return others + in_order((group[0] for group in plain), settings.batch_bytes)


def is_plain(group: Group, moves: Moves) -> bool:
    """Whether it is one vessel, and nothing goes from or to it."""
    return len(group) == 1 and not moves.concern(group[0].id)


def parted(groups: list[Group], those: Callable[[Group], bool]) -> tuple[list[Group], list[Group]]:
    """Those groups, and the others."""
    found: tuple[list[Group], list[Group]] = ([], [])
    for group in groups:
        found[0 if those(group) else 1].append(group)
    return found
