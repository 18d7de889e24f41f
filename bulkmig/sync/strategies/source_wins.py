"""Every field takes the source's value, also where the portal alone changed it."""

from bulkmig.sync.strategies._strategy import Strategy

STRATEGY = Strategy(
    "source_wins",
    both=lambda entity, types, base, source, target: source,
    deleted_in_source=True,
    deleted_by_portal=True,
)
