"""Equipment whose QR codes would be the same: ids that are alike in the first digits of their hash."""

from __future__ import annotations

from random import Random

from bulkmig.generate.collisions import collisions
from bulkmig.generate.frame import Frame
from bulkmig.generate.ships import Vessel
from bulkmig.generate.traps.plant import Family, Planter, Trap
from bulkmig.generate.world import Half, World

# The codes of the group's members. `EQ` is what stands for a missing code.
_WITHIN: dict[str, tuple[str | None, ...]] = {
    "qr_pair_without_code": (None, ""),
    "qr_pair_same_code": ("ME-1", "ME-1"),
    "qr_pair_code_eq": ("EQ", None),
    "qr_pair_other_code": ("ME-1", "ME-2"),
    "qr_pair_code_other_case": ("me-1", "ME-1"),
    "qr_triple": (None, None, ""),
    "qr_triple_two_codes": ("ME-1", None, "ME-1"),
    "qr_pair_eight_digits": (None, None),
}
_ACROSS, _HIDDEN, _QUARANTINED = "qr_pair_two_vessels", "qr_pair_not_approved", "qr_pair_quarantined"
_GROUPS: Family = (*(Trap(name) for name in _WITHIN), Trap(_ACROSS))
TRAPS: Family = (*_GROUPS, Trap(_HIDDEN), Trap(_QUARANTINED, error=True))


class QrGroups:
    """A fleet's supply of colliding ids."""

    def __init__(self, seed: int) -> None:
        rng = Random(f"{seed}/collisions")
        self._supply = {
            kind: rng.sample(groups, len(groups)) for kind, groups in collisions()._asdict().items()
        }

    def take(self, name: str) -> tuple[str, ...] | None:
        """Ids for the trap of this name; None when there are no more."""
        kind = "deep_pairs" if "eight" in name else "triples" if "triple" in name else "pairs"
        return self._supply[kind].pop() if self._supply[kind] else None


def plant(
    planter: Planter, world: World, groups: QrGroups, vessel: Vessel, frame: Frame, rows: list[int]
) -> None:
    """Gives some of the rows new ids and codes. Before anything refers to the ids."""
    free = list(frame.free_rows(rows, "id", "code"))
    for half in [half for half in world.halves if half.vessel != vessel.id][: len(free) // 2]:
        world.halves.remove(half)
        _put(frame, free.pop(), half.cells)
        planter.count(half.trap)
    for _ in range(-(-len(free) // 6)):
        trap = planter.draw(_GROUPS)
        if trap is None or len(free) < 3:
            return
        if trap.name == _ACROSS:
            _first_half(planter, world, groups, vessel, frame, free.pop(), _ACROSS)
        elif ids := groups.take(trap.name):
            for id_, code in zip(ids, _WITHIN[trap.name], strict=True):
                _put(frame, free.pop(), {"id": id_, "code": code})
            planter.count(trap.name)


def plant_hidden(planter: Planter, world: World, groups: QrGroups, vessel: Vessel, frame: Frame) -> None:
    """Gives a vessel that isn't APPROVED equipment whose code will collide with another's."""
    for row in range(len(frame)):
        _first_half(planter, world, groups, vessel, frame, row, _HIDDEN)


def plant_quarantined(planter: Planter, groups: QrGroups, frame: Frame, broken: int, good: int) -> None:
    """A row that is an error, and one that isn't, with colliding codes."""
    ids = groups.take(_QUARANTINED)
    if ids and frame.is_free(good, "id", "code"):
        _put(frame, broken, {"id": ids[0], "code": None})
        _put(frame, good, {"id": ids[1], "code": None})
        planter.count(_QUARANTINED)


def _first_half(
    planter: Planter, world: World, groups: QrGroups, vessel: Vessel, frame: Frame, row: int, name: str
) -> None:
    if ids := groups.take(name):
        code = planter.rng.choice((None, "EG-00001"))
        _put(frame, row, {"id": ids[0], "code": code})
        world.halves.append(Half(name, vessel.id, {"id": ids[1], "code": code}))


def _put(frame: Frame, row: int, cells: dict[str, str | None]) -> None:
    for column, value in cells.items():
        frame.put(row, column, value)
