"""What a command loads before it does anything, seen in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
NOT_NEEDED = ["cryptography", "numpy", "pgqueuer", "pydantic", "rich", "starlette", "structlog"]


def loaded(*words: str, status: int) -> set[str]:
    """The modules that a command has loaded by its end."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BULKMIG")}
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bulkmig", *words],
        env=environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == status, ended.stderr[-2000:]
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_who_asks_for_a_document_waits_for_nothing_that_draws_encrypts_or_queues() -> None:
    found = loaded(
        "migrate", "--all", "--json", "--quiet", "--attempts", "1",
        "--source", NOWHERE, "--target", NOWHERE, status=3,
    )  # fmt: skip
    assert {"asyncpg", "bulkmig.fleet.migrate", "bulkmig.preflight", "polars", "typer"} <= found
    assert [name for name in NOT_NEEDED if name in found] == []
