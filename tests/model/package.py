"""The package's commands that the model drives, as long as they aren't all there: `sync` switches them on."""

from __future__ import annotations

import importlib
from typing import Any

import bulkmig
from bulkmig import Report, Selection, Settings
from tests.model.run import Options
from tests.model.state import Decision

#: Whether the package has `sync`, `conflicts` and `resolve`. Until then sequences go without.
SYNC = callable(vars(bulkmig).get("sync"))


def settings(options: Options | None, **common: Any) -> Settings:
    """The settings of a command."""
    if options is not None and options.command == "sync":
        common |= {
            "conflict": options.strategy,
            "full": options.full,
            "new": options.new,
            "allow_deletions": options.allow_deletions,
            "brake_share": options.brake_share,
            "brake_least": options.brake_least,
        }
    return Settings(**common)


def _command(name: str, module: str, within: str) -> Any:
    """A command by its public name, or from the module where it is on its way."""
    public = vars(bulkmig).get(name)
    return public if callable(public) else vars(importlib.import_module(module))[within]


async def sync(config: Settings, selection: Selection) -> Report:
    """`bulkmig sync`."""
    report: Report = await _command("sync", "bulkmig.sync.run", "sync")(config, selection)
    return report


async def conflicts(config: Settings, status: str | None) -> list[dict[str, Any]]:
    """`bulkmig conflicts list`."""
    command = _command("conflicts", "bulkmig.sync.resolve", "listed")
    found: list[dict[str, Any]] = await command(config, status)
    return found


async def resolve(config: Settings, ids: list[str], take: Decision) -> Report:
    """`bulkmig conflicts resolve`."""
    command = _command("resolve", "bulkmig.sync.resolve", "resolve")
    report: Report = await command(config, ids, take=take, fields=None)
    return report
