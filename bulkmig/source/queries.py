"""The SQL that reads an entity, made from its declaration. Vessel ids enter as literals that were checked
to be UUIDs, because COPY takes no parameters."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from bulkmig._core.declare import Column, Entity


def columns(entity: Entity) -> tuple[str, ...]:
    """The columns of what `select` yields, the id first; `vessel_id` always among them."""
    names = entity.column_names
    return names if "vessel_id" in names else (*names, "vessel_id")


def for_vessels(entity: Entity, vessels: Iterable[str]) -> str:
    """All rows of an entity that belong to these vessels, by index paths only."""
    ids = uuid_array(vessels)
    if entity.ancestors:
        return _with_ancestors(entity, ids)
    if entity.through is not None:
        parent, column = entity.through
        return (
            f"SELECT {_list(entity)}, p.vessel_id FROM {parent} p"
            f" JOIN {entity.source} t ON t.{column} = p.id {entity.joins} WHERE p.vessel_id = ANY ({ids})"
        )
    owner = "id" if entity.name == "vessel" else "vessel_id"
    return f"SELECT {_list(entity)} FROM {entity.source} t {entity.joins} WHERE t.{owner} = ANY ({ids})"


def keys(entity: Entity, vessels: Iterable[str], *also: str) -> str:
    """The ids of all rows of an entity that belong to these vessels, the vessel of each, and more columns."""
    ids, more = uuid_array(vessels), "".join(f", t.{column}" for column in also)
    if entity.through is not None:
        parent, column = entity.through
        return (
            f"SELECT t.id, p.vessel_id{more} FROM {parent} p JOIN {entity.source} t ON t.{column} = p.id"
            f" WHERE p.vessel_id = ANY ({ids})"
        )
    owner = "id" if entity.name == "vessel" else "vessel_id"
    return f"SELECT t.id, t.{owner}{more} FROM {entity.source} t WHERE t.{owner} = ANY ({ids})"


def placed(entity: Entity, ids: Iterable[str]) -> str:
    """The vessels of the rows of an entity with these ids."""
    if entity.through is not None:
        parent, column = entity.through
        return (
            f"SELECT t.id, p.vessel_id FROM {entity.source} t JOIN {parent} p ON p.id = t.{column}"
            f" WHERE t.id = ANY ({uuid_array(ids)})"
        )
    return f"SELECT t.id, t.vessel_id FROM {entity.source} t WHERE t.id = ANY ({uuid_array(ids)})"


def by_id(entity: Entity, ids: Iterable[str]) -> str:
    """The rows of an entity with these ids."""
    extra = "" if "vessel_id" in entity.column_names else ", NULL AS vessel_id"
    return (
        f"SELECT {_list(entity)}{extra} FROM {entity.source} t {entity.joins}"
        f" WHERE t.id = ANY ({uuid_array(ids)})"
    )


def of_companies(entity: Entity, companies: Iterable[str]) -> str:
    """The rows of a fleet entity that belong to these companies."""
    return (
        f"SELECT {_list(entity)}, NULL AS vessel_id FROM {entity.source} t"
        f" WHERE t.{entity.owner} = ANY ({uuid_array(companies)})"
    )


def orphans(entity: Entity) -> str:
    """The rows of an entity that belong to no vessel because their parent doesn't exist."""
    assert entity.through is not None
    parent, column = entity.through
    return (
        f"SELECT {_list(entity)}, NULL AS vessel_id FROM {entity.source} t"
        f" WHERE NOT EXISTS (SELECT FROM {parent} p WHERE p.id = t.{column})"
    )


def uuid_array(ids: Iterable[str]) -> str:
    """A literal `uuid[]`; raises ValueError for what is no UUID."""
    return "'{" + ",".join(str(UUID(i)) for i in ids) + "}'::uuid[]"


def _list(entity: Entity) -> str:
    return ", ".join(map(_read, entity.columns))


def _read(column: Column) -> str:
    return f"{column.sql} AS {column.name}" if column.sql else f"t.{column.name}"


def _with_ancestors(entity: Entity, ids: str) -> str:
    return (
        f"WITH RECURSIVE up AS (SELECT {_list(entity)} FROM {entity.source} t"
        f" WHERE t.vessel_id = ANY ({ids}) UNION SELECT {_list(entity)} FROM up"
        f" JOIN {entity.source} t ON t.id = up.{entity.ancestors})"
        f" SELECT {', '.join(entity.column_names)} FROM up"
    )
