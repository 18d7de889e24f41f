"""Medians with their spread, and where results are kept."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import orjson

RESULTS = Path(__file__).with_name("results")


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, the least and the greatest."""
    return {"median": median(values), "least": min(values), "greatest": max(values)}


def shown(values: Sequence[float], form: str = ".2f") -> str:
    """`median (least to greatest)`."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def environment(postgres: str) -> dict[str, Any]:
    """What the figures depend on besides the program."""
    packages = ("bulkmig", "polars", "polars-hash", "asyncpg", "anyio", "uvloop")
    return {
        "python": platform.python_version(),
        "postgresql": postgres,
        "packages": {name: version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def write(name: str, date: str, document: dict[str, Any]) -> Path:
    """Keeps a result as JSON; returns where. `date`: as in 2025-01-31, or '' for today."""
    day = date or datetime.now(UTC).date().isoformat()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{day}.json"
    content = {"benchmark": name, "date": day, **document}
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path
