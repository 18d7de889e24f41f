"""The contender: what an expert writes by hand, one `psql | psql` for each target table, one after the other.

    python -m benchmarks.pipe SOURCE_URL TARGET_URL [--psql PATH]

`sql/NN_<table>.sql` holds each table's COPY (SELECT …) TO STDOUT, in the order of the foreign keys. It writes
the very rows that bulkmig writes of a fleet without traps; it validates and records nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

SQL = Path(__file__).with_name("sql")

# What a value looks like as text must be the same on both sides, and in every place.
_SESSION = "-c TimeZone=UTC -c DateStyle=ISO,YMD -c client_encoding=UTF8"


def scripts() -> list[tuple[str, Path]]:
    """(target table, script that reads its rows from the source), in the order of the foreign keys."""
    return [(path.stem.partition("_")[2], path) for path in sorted(SQL.glob("*.sql"))]


def run(source: str, target: str, psql: str) -> dict[str, float]:
    """Copies every table; returns table -> seconds. Raises CalledProcessError where either side fails."""
    seconds = {}
    for table, script in scripts():
        started = time.perf_counter()
        _copy(source, target, psql, table, script)
        seconds[table] = time.perf_counter() - started
    return seconds


def _copy(source: str, target: str, psql: str, table: str, script: Path) -> None:
    common = [psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    read = [*common, f"--file={script}", source]
    write = [*common, f"--command=COPY {table} FROM STDIN", target]
    environment = {**os.environ, "PGOPTIONS": _SESSION}
    with subprocess.Popen(read, stdout=subprocess.PIPE, env=environment) as reader:
        writer = subprocess.run(write, stdin=reader.stdout, env=environment, check=False)
        if reader.stdout is not None:
            reader.stdout.close()  # a writer that failed must not leave the reader waiting
    for command, status in ((read, reader.returncode), (write, writer.returncode)):
        if status:
            raise subprocess.CalledProcessError(status, command)


def main() -> int:
    parser = argparse.ArgumentParser(description="psql COPY (SELECT …) | psql COPY, table by table")
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--psql", default="psql", help="the psql to use (default: the one in PATH)")
    arguments = parser.parse_args()
    for table, seconds in run(arguments.source, arguments.target, arguments.psql).items():
        print(f"{table:24} {seconds:8.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
