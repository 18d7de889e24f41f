"""Every default of bulkmig with its unit, frozen once a command starts."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bulkmig.errors import UsageError

OnError = Literal["fail", "quarantine"]
FkCheck = Literal["row", "set"]

MEBIBYTE = 1024 * 1024
MAX_BATCH = 8 * MEBIBYTE
MIN_BATCH = 128 * 1024
# What a batch's rows become at once, as a multiple of their CSV text: frame, image, CSV again, base.
EXPANSION = 6

MOST = 2**31 - 1  # of anything that is counted: what every database holds
Count = Annotated[int, Meta(ge=1, le=MOST)]
Number = Annotated[int, Meta(ge=0, le=MOST)]
Size = Annotated[int, Meta(le=2**60)]  # bytes, as JSON and databases hold them; `check` has the least
Share = Annotated[float, Meta(ge=0, le=1)]
# Bounds also keep out what is no number, with which no comparison is true, and what has no end.
Span = Annotated[float, Meta(ge=0, le=1e9)]
Timeout = Annotated[float, Meta(gt=0, le=1e9)]
MOST_DAYS = 1_000_000  # before that no server's calendar begins


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a command runs. Sizes are bytes, times seconds.

    The contract of the strategy's BatchProcessor is here: parallelism is `parallel_vessels` and `processes`,
    batch size follows from `memory`, and attempts are `attempts`. `network_timeout`: how long a server may be
    silent before it is asked whether it works at all; `outage`: how long one may be away in mid-run."""

    source: str = ""
    target: str = ""
    allow_insecure: bool = False
    password_command: str = ""
    connect_timeout: Timeout = 2.0
    network_timeout: Timeout = 10.0
    attempts: Count = 5
    outage: Span = 60.0
    on_error: OnError = "fail"
    continue_on_error: bool = False
    parallel_vessels: Count = 4
    processes: Count = 1
    memory: Size = 256 * MEBIBYTE
    dry_run: bool = False
    verify: bool = True
    fk_check: FkCheck = "row"
    max_rows_per_second: Count | None = None
    window: Span | None = None
    operator: str = ""
    key_file: str = ""
    key_command: str = ""
    require_encryption: bool = False
    rollback_on_error: bool = False
    conflict: str = "source_wins"
    full: bool = False
    new: bool = True
    allow_deletions: bool = False
    brake_share: Share = 0.2
    brake_least: Number = 10
    keep_checkpoints: Number = 3
    keep_days: Annotated[float, Meta(ge=0, le=MOST_DAYS)] = 30.0
    reveal: bool = False
    queue: bool = False
    max_source_connections: Count | None = None
    max_target_connections: Count | None = None
    heartbeat: Annotated[float, Meta(ge=1, le=1e9)] = 30.0

    def __repr__(self) -> str:
        return f"Settings(on_error={self.on_error!r}, parallel_vessels={self.parallel_vessels}, …)"

    @property
    def loaders(self) -> int:
        """Units that are written at once. A SQLite file has one writer, and its ids come in order."""
        return 1 if self.target.startswith("sqlite:") else self.parallel_vessels

    @property
    def ahead(self) -> int:
        """Units that are read while one is written into a file. None where memory holds but one, since the
        one that is written may have to be read once more."""
        apart = self.loaders < self.parallel_vessels and not self.dry_run
        return 1 if apart and 2 * EXPANSION * self.batch_bytes <= self._flow else 0

    @property
    def _flow(self) -> int:
        return self.memory - self.memory // 4  # bulkmig/_core/memory.py

    @property
    def batch_bytes(self) -> int:
        """CSV bytes per batch: large enough to amortise a statement, small enough that every vessel in
        flight can have one in the memory bound, and a single one two."""
        share = self._flow // (EXPANSION * max(self.parallel_vessels, 2))
        return max(min(MAX_BATCH, share), min(MIN_BATCH, self.memory // (2 * EXPANSION)))


def made(values: dict[str, Any]) -> Settings:
    """Settings of these values; raises UsageError for what is none."""
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        wrong = str(error).replace(" >= ", " of at least ").replace(" <= ", " of at most ")
        raise UsageError(f"the configuration is wrong: {wrong}", "see `bulkmig config --example`") from None


def check(settings: Settings) -> Settings:
    """Raises UsageError for values that can't be meant."""
    settings = made(msgspec.structs.asdict(settings))
    if settings.rollback_on_error and not (settings.verify or settings.dry_run):
        raise UsageError("--rollback-on-error needs the verification", "leave out --no-verify")
    if settings.queue and settings.dry_run:
        raise UsageError("--queue writes, and --dry-run writes nothing", "leave out one of them")
    if settings.queue and settings.target.startswith("sqlite:"):
        raise UsageError("--queue needs a target in PostgreSQL, where its queue lies", "leave out --queue")
    if settings.memory < MEBIBYTE:
        raise UsageError("--memory is at least 1MB", "e.g. --memory 256MB")
    if settings.target.startswith("sqlite:"):
        settings = msgspec.structs.replace(settings, processes=1)  # the file has one writer at a time
    return settings


_UNITS = {"": 1, "B": 1, "K": 1024, "KB": 1024, "M": 1024**2, "MB": 1024**2, "G": 1024**3, "GB": 1024**3}


def size(text: str) -> int:
    """Bytes of `64MB`, `1.5GB`, `1048576`; raises UsageError."""
    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([A-Za-z]*?)(?:i?b)?\s*", text, re.IGNORECASE)
    unit = (match[2].upper() if match else "?") or "B"
    if match is None or unit not in _UNITS:
        raise UsageError(f"{text!r} is no size", "e.g. 256MB")
    return int(float(match[1]) * _UNITS[unit])


_SECONDS = {"s": 1, "m": 60, "h": 3600}


def duration(text: str) -> float:
    """Seconds of `90s`, `45m`, `2h`, `1h30m`, and of `0`, which needs no unit; raises UsageError."""
    if not re.fullmatch(r"0|(?:[0-9]{1,9}[smh]){1,9}", text):
        raise UsageError(f"{text!r} is no duration", "e.g. 90m or 1h30m")
    return float(sum(int(n) * _SECONDS[u] for n, u in re.findall(r"([0-9]+)([smh])", text)))
