"""Onboarding fleets, seeded: what demo, tests and benchmarks read. The same spec gives the same rows.

    spec ──▶ fleet ──▶ people, ships, locations, machinery   (clean rows, as columns of COPY fields)
               │          ▲
               │          └── traps/   (change cells, add rows; one file for each kind of row)
               ▼
             load    (COPY, one stream per table)       portal   (the target's own rows, to begin with)

A fleet with `nasty=0` gives no finding at all. With `nasty>0`, rows carry the traps that `TRAPS` lists.
"""

from bulkmig.generate.load import generate_fleet
from bulkmig.generate.portal import PORTAL_TRAPS, generate_portal
from bulkmig.generate.schema import VARIATIONS, create_schema, vary_schema
from bulkmig.generate.spec import FleetSpec, FleetSummary
from bulkmig.generate.traps.registry import ENUM_TRAPS, ERROR_TRAPS, JSON_ONLY_TRAPS, ONCE_TRAPS, TRAPS

__all__ = [
    "ENUM_TRAPS",
    "ERROR_TRAPS",
    "JSON_ONLY_TRAPS",
    "ONCE_TRAPS",
    "PORTAL_TRAPS",
    "TRAPS",
    "VARIATIONS",
    "FleetSpec",
    "FleetSummary",
    "create_schema",
    "generate_fleet",
    "generate_portal",
    "vary_schema",
]
