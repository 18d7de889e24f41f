"""Every field keeps the target's value, also where the source alone changed it."""

from bulkmig.sync.strategies._strategy import Strategy

STRATEGY = Strategy(
    "target_wins",
    both=lambda entity, types, base, source, target: target,
    deleted_in_source=False,
    deleted_by_portal=False,
)
