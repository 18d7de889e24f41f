"""What is known while rows are transformed: for the whole run (`Decisions`) and for one unit of work.

A unit is one large vessel whose tables stream through in batches, or several small ones whose tables
are each one batch; a pseudo unit without vessels carries companies, users and rows that belong nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import polars as pl
from msgspec import Struct, field

from bulkmig._core.keys import Keys

ID_FRAME = {"source_id": pl.String, "target_id": pl.String}


class TargetColumn(Struct, frozen=True):
    """A column as the target's catalogue has it. `limit`: characters of a varchar, digits before the
    point of a numeric; `scale`: a numeric's digits after it; None where unlimited."""

    type: str
    nullable: bool
    limit: int | None = None
    scale: int | None = None


class Check(Struct, frozen=True):
    """One cell of the image that may not fit its column: `bad` and `mended` are expressions over the image;
    without `mended` a row where `bad` holds has an error. Without a code it is only spelled otherwise."""

    column: str
    field: str
    code: str
    bad: pl.Expr
    mended: pl.Expr | None
    where: str


Catalogue = dict[str, dict[str, TargetColumn]]


class Decisions(Struct):
    """What holds for every unit of a run; read-only once the first vessel starts.

    identities     entity -> frame (source_id, target_id): what is in the target, and what vessels will be
    slugs          company source id -> assigned slug
    emails         user source id -> the code for which it is not loaded
    adopted        (entity, source id) of rows that take over an existing target row
    imo_taken      vessel source ids whose number another target vessel holds
    qr_codes       equipment source id -> code assigned other than by the plain rule
    foreign_qr     codes that the target's other equipment has
    companies_out  company source id -> code for which the company can't be loaded
    kept_ids       entity -> source id -> target id, of rows that moved to another vessel after they got it
    unwritten      vessel -> entities of which the source has written no row of it since a run was there
    """

    on_error: str
    catalogue: Catalogue
    source_types: Catalogue
    identities: dict[str, pl.DataFrame] = field(default_factory=dict)
    slugs: dict[str, str] = field(default_factory=dict)
    emails: dict[str, str] = field(default_factory=dict)
    adopted: set[tuple[str, str]] = field(default_factory=set)
    imo_taken: set[str] = field(default_factory=set)
    qr_codes: dict[str, str] = field(default_factory=dict)
    foreign_qr: frozenset[str] = frozenset()
    companies_out: dict[str, str] = field(default_factory=dict)
    kept_ids: dict[str, dict[str, str]] = field(default_factory=dict)
    vessels_due: frozenset[str] = frozenset()  # whose rows this run looks at itself
    unwritten: dict[str, frozenset[str]] = field(default_factory=dict)
    current_year: int = 0
    checks: dict[str, list[Check]] = field(default_factory=dict)
    foreign_keys: list[Any] | None = None  # of the target; None before anyone asked

    def identity(self, entity: str) -> pl.DataFrame:
        return self.identities.get(entity, pl.DataFrame(schema=ID_FRAME))


class Location(Struct, frozen=True):
    vessel_id: str
    parent_id: str | None
    name: str


class Unit(Struct):
    """One unit of work and what its earlier tables left for later ones.

    whole     vessel -> code for which the vessel is quarantined whole
    failing   vessel -> the first error for which it is not migrated (`--on-error fail`)
    ends      what is known of equipment of any vessel: source_id, target_id, out; None before it was asked
    keys      its equipment so far
    unread    vessel -> entities of which nothing is read
    """

    decisions: Decisions
    vessels: tuple[str, ...]
    locations: dict[str, Location] = field(default_factory=dict)
    keys: Keys = field(default_factory=Keys)
    whole: dict[str, str] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    ends: pl.DataFrame | None = None
    unread: Mapping[str, Set[str]] = field(default_factory=dict)
    _target_ids: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def reads(self, entity: str) -> list[str]:
        """The vessels whose rows of this entity are read."""
        return [vessel for vessel in self.vessels if entity not in self.unread.get(vessel, ())]

    def target_ids(self, entity: str, source_ids: Set[str]) -> Mapping[str, str | None]:
        """The target ids of these rows of a fleet-wide entity; None for those that are not in the target."""
        found = self._target_ids.setdefault(entity, {})
        new = source_ids - found.keys()
        if new:
            known = self.decisions.identity(entity).filter(pl.col("source_id").is_in(list(new)))
            found.update({**dict.fromkeys(new), **dict(known.iter_rows())})
        return found
