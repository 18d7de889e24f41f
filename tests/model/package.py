"""The package's commands as the model drives them."""

from __future__ import annotations

from typing import Any, Literal

from bulkmig import Report, Selection, Settings
from bulkmig import conflicts as listed
from bulkmig import resolve as decided
from bulkmig import sync as synced
from tests.model.run import Options
from tests.model.state import Decision

#: Whether sequences contain syncs, and resolutions of what those leave open.
SYNC = True


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


async def sync(config: Settings, selection: Selection) -> Report:
    """`bulkmig sync`."""
    return await synced(config, selection)


async def conflicts(config: Settings, status: Literal["open", "resolved"] | None) -> list[dict[str, Any]]:
    """`bulkmig conflicts list`."""
    return await listed(config, status)


async def resolve(config: Settings, ids: list[str], take: Decision) -> Report:
    """`bulkmig conflicts resolve`."""
    return await decided(config, ids, take=take, fields=None)
