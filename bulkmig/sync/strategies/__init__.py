"""How conflicts are decided: one file a strategy, each with its `STRATEGY`; adding a file adds one."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules

from bulkmig.errors import UsageError
from bulkmig.sync.strategies._strategy import Strategy

#: Name -> strategy.
STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for module in iter_modules(__path__)
    if not module.name.startswith("_")
    for strategy in (import_module(f"{__name__}.{module.name}").STRATEGY,)
}


def named(name: str) -> Strategy:
    """The strategy of that name; raises UsageError."""
    if name not in STRATEGIES:
        near = get_close_matches(name, STRATEGIES, 1) or sorted(STRATEGIES)
        raise UsageError(f"{name!r} is no conflict strategy", f"did you mean {' or '.join(near)}?")
    return STRATEGIES[name]
