"""A copy of the package with one more file in it, run by its command line."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bulkmig
from tests.support import warm
from tests.support.programs import said


@dataclass(frozen=True)
class Package:
    """`where`: the directory that has it; `source`: the Onboarding Portal that its commands read."""

    where: Path
    source: str

    def environment(self, target: str) -> dict[str, str]:
        """The two ends, as its commands find them."""
        return os.environ | {"ONBOARDING_DB_URL": self.source, "MAINTENANCE_DB_URL": target}

    def command(self, *words: str) -> list[str]:
        """A command line of it, to be run in `where`."""
        return [sys.executable, "-m", "bulkmig", *words, "--json"]

    async def call(self, *words: str, target: str, status: int = 0) -> dict[str, Any]:
        """Runs a command to its end; returns its document."""
        ended = await said(
            *words,
            "--json",
            environment=self.environment(target),
            where=self.where,
            directory=self.where,
        )
        assert ended.returncode == status, (words, ended.stdout, ended.stderr)
        return dict(json.loads(ended.stdout))


@contextmanager
def with_file(where: Path, file: Path, directory: str, source: str) -> Iterator[Package]:
    """The package, and in one of its directories this file."""
    # With the byte code that there is of it: a copy of a file has the time that tells whose that is.
    shutil.copytree(Path(bulkmig.__file__).parent, where / "bulkmig")
    shutil.copy(file, where / "bulkmig" / directory)
    try:
        yield Package(where, source)
    finally:
        warm.close(where)
