"""One line on standard error per event, as text or JSON."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson

from bulkmig.events import (
    Event,
    FleetListed,
    Listener,
    Retrying,
    RunStarted,
    Sampled,
    Unencrypted,
    VesselDone,
    VesselFailed,
    VesselReached,
    VesselStarted,
    VesselsUnchanged,
    VesselUndone,
    VesselVerified,
)

_LEVELS = {
    VesselFailed: logging.ERROR,
    VesselUndone: logging.WARNING,
    Retrying: logging.WARNING,
    Unencrypted: logging.WARNING,
    VesselStarted: logging.DEBUG,
    VesselReached: logging.DEBUG,
    VesselVerified: logging.DEBUG,
}
_PLAIN = re.compile(r"[^\s=\"']+")  # a value that needs no quotes
_NO_LINES = (FleetListed, Sampled)  # figures for those who draw


def listener(*, log_format: str, log_level: str, quiet: bool) -> Listener:
    """A listener that writes lines; with `quiet` only errors."""
    least = logging.getLevelNamesMapping()["ERROR" if quiet else log_level.upper()]
    line = _json if log_format == "json" else _text
    run: dict[str, Any] = {}  # what all lines of a run have

    def write(event: Event) -> None:
        if isinstance(event, RunStarted):
            run["run_id"] = event.run_id
        level = _LEVELS.get(type(event), logging.INFO)
        if level < least or isinstance(event, _NO_LINES):
            return
        fields = msgspec.structs.asdict(event)
        if isinstance(event, VesselsUnchanged):
            fields["vessels"] = len(event.vessels)
        if isinstance(event, VesselDone):
            fields["seconds"] = round(event.seconds, 3)
        told = {key: _printable(value) for key, value in {**run, **fields}.items()}
        time = f"{datetime.now(UTC).replace(tzinfo=None).isoformat('T', 'microseconds')}Z"
        sys.stderr.write(f"{line(time, logging.getLevelName(level).lower(), _sentence(event), told)}\n")
        sys.stderr.flush()

    return write


def _text(time: str, level: str, event: str, fields: Mapping[str, Any]) -> str:
    told = "".join(f" {key}={_value(fields[key])}" for key in sorted(fields))
    return f"{time} [{level:<9}] {event}{told}"


def _value(value: object) -> str:
    text = str(value)
    return text if isinstance(value, str) and _PLAIN.fullmatch(text) else repr(value)


def _json(time: str, level: str, event: str, fields: Mapping[str, Any]) -> str:
    return orjson.dumps({**fields, "event": event, "level": level, "timestamp": time}).decode()


def _sentence(event: Event) -> str:
    name = type(event).__name__
    return "".join(" " + c.lower() if c.isupper() else c for c in name).strip()


def _printable(value: object) -> object:
    """Values come from databases: no line breaks, no terminal escape sequences."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
