"""How options become settings: flags beat the environment, that beats the file, that beats the defaults."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bulkmig import config
from bulkmig.config import Settings
from bulkmig.errors import UsageError
from bulkmig.sync.strategies import named

DEFAULT_FILE = Path("bulkmig.toml")
_LARGEST_FILE = 1024 * 1024  # bytes


def in_force(
    given: dict[str, Any], from_environment: Collection[str] = ()
) -> tuple[Settings, dict[str, str]]:
    """Flags and environment over the file over the defaults, and where each that is set is from. Raises
    UsageError."""
    path = given.get("config")
    values = _from_file(path)
    origins = dict.fromkeys(values, f"file {path or DEFAULT_FILE}")

    def put(name: str, value: Any, origin: str = "flag") -> None:
        values[name], origins[name] = value, origin

    for name in Settings.__struct_fields__:
        value = given.get(name)
        if value is not None and value is not False:
            put(name, value, "environment" if name in from_environment else "flag")
    for flag, name in (("no_verify", "verify"), ("no_new", "new")):
        if given.get(flag):
            put(name, False)
    if given.get("until") is not None:
        put("window", seconds_until(given["until"], datetime.now().astimezone()))
    if isinstance(values.get("memory"), str):
        values["memory"] = config.size(values["memory"])
    if isinstance(values.get("window"), str):
        values["window"] = config.duration(values["window"])
    found = config.made(values)
    named(found.conflict)
    return found, origins


def _from_file(path: Path | None) -> dict[str, Any]:
    file = path or DEFAULT_FILE
    import difflib
    import tomllib

    try:
        if path is None and not file.is_file():
            return {}
        with file.open("rb") as opened:
            text = opened.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise UsageError(f"{file} is too large for a configuration file", "check --config")
        values = tomllib.loads(text.decode("utf-8-sig"))
    except OSError as error:
        hint = "check --config" if path else "start it where it may read this file, or name one by --config"
        raise UsageError(f"can't read {file}: {error.strerror}", hint) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is no TOML: {error}", "correct the file") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{file} is no TOML", "correct the file") from None
    for key in values:
        if key not in Settings.__struct_fields__:
            near = difflib.get_close_matches(key, Settings.__struct_fields__, 1)
            raise UsageError(
                f"{file}: unknown key {key!r}", f"did you mean {near[0]!r}?" if near else "remove it"
            )
    return values


def seconds_until(text: str, now: datetime) -> float:
    """Seconds until it is this time of day where `now` is. Raises UsageError."""
    if not re.fullmatch("(?:[01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise UsageError(f"{text!r} is no time of day", "e.g. --until 05:30")
    # By the clock on the wall: its offset may be another one by then.
    wall = now.replace(tzinfo=None)
    end = wall.replace(hour=int(text[:2]), minute=int(text[3:]), second=0, microsecond=0)
    if end <= wall:
        end += timedelta(days=1)
    return end.astimezone().timestamp() - now.timestamp()
