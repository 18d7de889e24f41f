"""How conflicts are decided: one file a strategy, each with its `STRATEGY`; adding a file adds one."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from bulkmig.sync.strategies._strategy import Strategy

#: Name -> strategy.
STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for module in iter_modules(__path__)
    if not module.name.startswith("_")
    for strategy in (import_module(f"{__name__}.{module.name}").STRATEGY,)
}
