"""What moves: one file an entity, each with its `ENTITY`. Adding a file here is all that a new one takes."""

from __future__ import annotations

from graphlib import TopologicalSorter
from importlib import import_module
from pkgutil import iter_modules

from bulkmig._core.declare import Entity

_found = [
    import_module(f"{__name__}.{module.name}").ENTITY
    for module in iter_modules(__path__)
    if not module.name.startswith("_")
]
_by_name: dict[str, Entity] = {entity.name: entity for entity in _found}
_order = TopologicalSorter({name: sorted(entity.after) for name, entity in sorted(_by_name.items())})

#: Every entity, each after the ones it needs.
ENTITIES: tuple[Entity, ...] = tuple(_by_name[name] for name in _order.static_order())
#: Entity name -> its digit in target ids.
DIGITS: dict[str, str] = {entity.name: entity.digit for entity in ENTITIES}
if len(set(DIGITS.values())) != len(DIGITS):
    raise ValueError("two entities share a digit, so their ids could meet")
FLEET: tuple[Entity, ...] = tuple(e for e in ENTITIES if e.scope == "fleet")
PER_VESSEL: tuple[Entity, ...] = tuple(e for e in ENTITIES if e.scope == "vessel")
#: Every target table that the mapping fills, in the order of its foreign keys.
TABLES: tuple[str, ...] = tuple(table.name for entity in ENTITIES for table in entity.tables)


def entity(name: str) -> Entity:
    """The entity of that name; raises KeyError."""
    return _by_name[name]
