"""Nothing is written; the conflict stays open until somebody decides."""

from bulkmig.sync.strategies._strategy import Strategy

STRATEGY = Strategy(
    "manual",
    both=lambda entity, types, base, source, target: None,
    deleted_in_source=None,
    deleted_by_portal=None,
)
