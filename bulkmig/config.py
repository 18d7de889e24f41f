"""Every default of bulkmig with its unit, frozen once a command starts."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from bulkmig.errors import UsageError

OnError = Literal["fail", "quarantine"]
FkCheck = Literal["row", "set"]

MEBIBYTE = 1024 * 1024
MAX_BATCH = 4 * MEBIBYTE
MIN_BATCH = 128 * 1024
# What a batch's rows become at once, as a multiple of their CSV text: frame, image, CSV again, base.
EXPANSION = 6


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a command runs. Sizes are bytes, times seconds."""

    source: str = ""
    target: str = ""
    allow_insecure: bool = False
    connect_timeout: float = 2.0
    on_error: OnError = "fail"
    continue_on_error: bool = False
    parallel_vessels: int = 4
    processes: int = 1
    memory: int = 256 * MEBIBYTE
    dry_run: bool = False
    verify: bool = True
    fk_check: FkCheck = "row"
    max_rows_per_second: int | None = None
    window: float | None = None
    operator: str = ""
    reveal: bool = False

    def __repr__(self) -> str:
        return f"Settings(on_error={self.on_error!r}, parallel_vessels={self.parallel_vessels}, …)"

    @property
    def batch_bytes(self) -> int:
        """CSV bytes per batch: large enough to amortise a statement, small enough that every vessel in
        flight can have one in the memory bound."""
        share = self.memory // (2 * EXPANSION * max(self.parallel_vessels, 1))
        return max(min(MAX_BATCH, share), min(MIN_BATCH, self.memory // (2 * EXPANSION)))


def check(settings: Settings) -> Settings:
    """Raises UsageError for values that can't be meant."""
    if settings.parallel_vessels < 1 or settings.processes < 1:
        raise UsageError("--parallel-vessels and --processes are at least 1")
    if settings.memory < MEBIBYTE:
        raise UsageError("--memory is at least 1MB", "e.g. --memory 256MB")
    return settings


_UNITS = {"": 1, "B": 1, "K": 1024, "KB": 1024, "M": 1024**2, "MB": 1024**2, "G": 1024**3, "GB": 1024**3}


def size(text: str) -> int:
    """Bytes of `64MB`, `1.5GB`, `1048576`; raises UsageError."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*?)(?:i?b)?\s*", text, re.IGNORECASE)
    unit = (match[2].upper() if match else "?") or "B"
    if match is None or unit not in _UNITS:
        raise UsageError(f"{text!r} is no size", "e.g. 256MB")
    return int(float(match[1]) * _UNITS[unit])


_SECONDS = {"s": 1, "m": 60, "h": 3600}


def duration(text: str) -> float:
    """Seconds of `90s`, `45m`, `2h`, `1h30m`; raises UsageError."""
    if not re.fullmatch(r"(?:[0-9]+[smh])+", text):
        raise UsageError(f"{text!r} is no duration", "e.g. 90m or 1h30m")
    return float(sum(int(n) * _SECONDS[u] for n, u in re.findall(r"([0-9]+)([smh])", text)))
