"""Location trees that aren't trees: cycles, parents that don't exist or lie elsewhere, very deep ones."""

from __future__ import annotations

from bulkmig.generate import ids
from bulkmig.generate.frame import Frame
from bulkmig.generate.ships import Kind, Vessel, location_row
from bulkmig.generate.traps import texts
from bulkmig.generate.traps.plant import Family, Planter, Trap
from bulkmig.generate.world import World

_LEVELS = 300
_DEEP = "location_deep"
_PER_CARRIER = 4
_SHAPES: Family = tuple(
    Trap(name, heavy=name == _DEEP)
    for name in (
        "location_cycle_of_two", "location_cycle_of_three", "location_below_cycle", "location_own_parent",
        "location_below_own_parent", "location_parent_unknown", "location_below_parent_unknown",
        "location_parent_other_vessel", "location_back_from_other_vessel", "location_cycle_over_vessels",
        _DEEP, "location_cycle_unused", "location_name_separator", "location_name_empty",
        "location_name_any", "location_same_names",
    )
)  # fmt: skip
MISSING = Trap("location_missing")
TRAPS: Family = (*_SHAPES, MISSING)

Leaves = list[tuple[str, str | None]]


def plant(planter: Planter, world: World, vessel: Vessel, frame: Frame) -> Leaves:
    """Adds awkward locations, and returns those that equipment should lie in: name of the trap, location."""
    leaves: Leaves = [(MISSING.name, None)]
    for _ in range(len(_SHAPES) if vessel.kind is Kind.FLEET else _PER_CARRIER):
        trap = planter.draw(_SHAPES)
        if trap is None:
            break
        leaf = _Shape(planter, world, vessel, frame).build(trap.name)
        if trap.name == "location_cycle_unused":
            planter.count(trap.name)
        elif leaf is not None:
            leaves.append((trap.name, leaf))
    return leaves


class _Shape:
    def __init__(self, planter: Planter, world: World, vessel: Vessel, frame: Frame) -> None:
        self.rng = planter.rng
        self.planter = planter
        self.world = world
        self.vessel = vessel.id
        self.frame = frame

    def build(self, name: str) -> str | None:
        """Adds the locations; returns the one to use, None where the fleet doesn't have what it takes yet."""
        match name:
            case "location_cycle_of_two" | "location_cycle_unused":
                return self._cycle(2)
            case "location_cycle_of_three":
                return self._cycle(3)
            case "location_below_cycle":
                return self._chain(self._cycle(self.rng.choice((2, 3))), 2)
            case "location_own_parent":
                return self._cycle(1)
            case "location_below_own_parent":
                return self._chain(self._cycle(1), 2)
            case "location_parent_unknown":
                return self._add(ids.uuid(self.rng))
            case "location_below_parent_unknown":
                return self._chain(self._add(ids.uuid(self.rng)), 2)
            case "location_parent_other_vessel":
                other = self.world.locations.elsewhere(self.vessel)
                return self._add(other[1]) if other else None
            case "location_back_from_other_vessel":
                other = self.world.locations.elsewhere(self.vessel)
                return self._add(self._add(self._add(None), vessel=other[0])) if other else None
            case "location_cycle_over_vessels":
                other = self.world.locations.elsewhere(self.vessel)
                own = ids.uuid(self.rng)
                return self._add(self._add(own, vessel=other[0]), id_=own) if other else None
            case name if name == _DEEP:
                return self._chain(None, _LEVELS)
            case "location_name_separator":
                return self._add(self._add(None, name=" > "), name="A > B")
            case "location_name_empty":
                return self._add(self._add(self._add(None, name="Hold"), name=""), name=" ")
            case "location_same_names":
                return self._add(self._add(self._add(None, name="Hold"), name="Hold"), name="Hold")
            case _:
                return self._any_name()

    def _add(
        self,
        parent: str | None,
        *,
        name: str | None = None,
        vessel: str | None = None,
        id_: str | None = None,
    ) -> str:
        id_ = id_ or ids.uuid(self.rng)
        name = name if name is not None else f"Space {self.rng.randrange(1000)}"
        self.frame.append(location_row(self.rng, id_, vessel or self.vessel, parent, name))
        return id_

    def _cycle(self, length: int) -> str:
        members = ids.uuids(self.rng, length)
        for id_, parent in zip(members, members[1:] + members[:1], strict=True):
            self._add(parent, id_=id_)
        return members[0]

    def _chain(self, top: str | None, length: int) -> str:
        leaf = self._add(top)
        for _ in range(length - 1):
            leaf = self._add(leaf)
        return leaf

    def _any_name(self) -> str:
        leaf = self._add(self._add(None))
        for row in range(len(self.frame) - 2, len(self.frame)):
            self.planter.plant(self.frame, row, texts.GIVEN, "name")
        return leaf
