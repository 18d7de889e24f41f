"""locations → equipment.location"""

from __future__ import annotations

from collections.abc import Iterator

from tests.oracle.draft import World
from tests.oracle.source import SourceRow, identity, required

ENTITY = "location"


def index(world: World) -> dict[str, SourceRow]:
    """All locations of the source by id."""
    return {identity(row): row for row in world.source.locations}


def upwards(locations: dict[str, SourceRow], location_id: str) -> Iterator[str]:
    """The location, its parent, and so on; ends at the root, at a gap, or before any location repeats."""
    seen: set[str] = set()
    here: str | None = location_id
    while here is not None and here in locations and here not in seen:
        seen.add(here)
        yield here
        here = locations[here]["parent_id"]


def path(locations: dict[str, SourceRow], location_id: str) -> str:
    """The names from the root to the location."""
    names = [required(locations[step], "name") for step in upwards(locations, location_id)]
    return " > ".join(reversed(names))


def is_in_cycle(locations: dict[str, SourceRow], location_id: str) -> bool:
    """Whether walking up from the location's parent leads back to it."""
    parent = locations[location_id]["parent_id"]
    return parent is not None and location_id in upwards(locations, parent)


def find(world: World, locations: dict[str, SourceRow], vessel_id: str) -> None:
    """The findings of a vessel's locations and of all above them, whichever vessel those are on."""
    concerned: set[str] = set()
    for location_id, location in locations.items():
        if location["vessel_id"] == vessel_id:
            concerned.update(upwards(locations, location_id))
    for location_id in concerned:
        parent = locations[location_id]["parent_id"]
        if parent is not None and parent not in locations:
            world.findings.note("location.parent_missing", ENTITY, location_id)
        if is_in_cycle(locations, location_id):
            world.findings.note("location.cycle", ENTITY, location_id)
