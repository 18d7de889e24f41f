"""A copy of the package with one more file in it, run by its command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bulkmig


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

    def call(self, *words: str, target: str, status: int = 0) -> dict[str, Any]:
        """Runs a command to its end; returns its document."""
        ended = subprocess.run(
            self.command(*words),
            cwd=self.where,
            env=self.environment(target),
            capture_output=True,
            text=True,
        )
        assert ended.returncode == status, (words, ended.stdout, ended.stderr)
        return dict(json.loads(ended.stdout))


def with_file(where: Path, file: Path, directory: str, source: str) -> Package:
    """The package, and in one of its directories this file."""
    shutil.copytree(
        Path(bulkmig.__file__).parent, where / "bulkmig", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(file, where / "bulkmig" / directory)
    return Package(where, source)
