"""Runs the targets: `scripts/fuzz` for an hour, `test_fuzz.py` for a moment."""

from __future__ import annotations

import faulthandler
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from tests.security.fuzz import addresses, csvs, files, jsontexts, ledger  # noqa: F401 - their targets
from tests.security.fuzz.target import (
    PATIENCE,
    TARGETS,
)


@dataclass
class Tally:
    inputs: int = 0
    failures: list[str] = field(default_factory=list)


def fuzz(name: str, examples: int, tally: Tally | None = None) -> None:
    """Runs a target with fresh inputs; raises what the smallest one of them does that fails."""
    one = TARGETS[name]

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(one.given)
    def run(given: Any) -> None:
        if tally is not None:
            tally.inputs += 1
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
        one.does(given)

    run()


def main(seconds: float) -> int:
    """Takes the targets in turns until the time is over. A target that failed is not run again."""
    end, tallies = time.monotonic() + seconds, {name: Tally() for name in TARGETS}
    while time.monotonic() < end:
        for name, tally in tallies.items():
            if tally.failures or time.monotonic() >= end:
                continue
            try:
                fuzz(name, 300, tally)
            except BaseException as error:
                if isinstance(error, (KeyboardInterrupt, SystemExit)):
                    raise
                tally.failures.append("".join(traceback.format_exception(error)))
                sys.stdout.write(f"{name}: FAILED\n{tally.failures[-1]}\n")
                sys.stdout.flush()
    faulthandler.cancel_dump_traceback_later()
    for name, tally in tallies.items():
        sys.stdout.write(
            f"{name:20} {tally.inputs:>10,} inputs  {'FAILED' if tally.failures else 'nothing'}\n"
        )
    return int(any(tally.failures for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0))
