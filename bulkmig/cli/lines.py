"""One line on standard error per event, as text or JSON."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from threading import Thread
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
_NO_LINES = (FleetListed, Sampled)  # figures for those who draw


def listener(*, log_format: str, log_level: str, quiet: bool) -> Listener:
    """A listener that writes lines; with `quiet` only errors."""
    least = logging.getLevelNamesMapping()["ERROR" if quiet else log_level.upper()]
    if least <= logging.INFO:
        # It takes a twelfth of a command's start, and both ends are asked meanwhile.
        Thread(target=import_module, args=("structlog",), daemon=True).start()
    log: Any = None
    run: dict[str, Any] = {}  # what all lines of a run have

    def write(event: Event) -> None:
        nonlocal log
        if isinstance(event, RunStarted):
            run["run_id"] = event.run_id
        level = _LEVELS.get(type(event), logging.INFO)
        if level < least or isinstance(event, _NO_LINES):
            return
        log = log or _logger(log_format)
        fields = msgspec.structs.asdict(event)
        if isinstance(event, VesselsUnchanged):
            fields["vessels"] = len(event.vessels)
        if isinstance(event, VesselDone):
            fields["seconds"] = round(event.seconds, 3)
        log.log(level, _sentence(event), **{**run, **fields})

    return write


def _logger(log_format: str) -> Any:
    import structlog  # not at the start: many commands have nothing to say

    renderer: Any
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer(
            serializer=lambda value, **_: orjson.dumps(value).decode()
        )
    else:
        colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        renderer = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0)
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _printable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=True,
    )


def _sentence(event: Event) -> str:
    name = type(event).__name__
    return "".join(" " + c.lower() if c.isupper() else c for c in name).strip()


def _printable(_: object, __: str, fields: Any) -> Any:
    """Values come from databases: no line breaks, no terminal escape sequences."""
    for key, value in fields.items():
        if isinstance(value, str) and not value.isprintable():
            fields[key] = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
    return fields
