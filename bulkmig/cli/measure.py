"""What a command costs: wall time, its own CPU and peak memory, and the CPU of the servers meanwhile.

POSIX only. What the benchmarks of the checkout and `bulkmig bench` measure with."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """Seconds of wall time and CPU (user and system, all processes of the command), bytes of peak memory of
    its largest process (Linux counts the runner's own 75 MB where that is more); `servers`: CPU seconds of
    each server; `document`: the JSON it printed."""

    wall: float
    cpu: float
    peak: int
    servers: dict[str, float] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)


def run(
    command: Sequence[str],
    servers: Mapping[str, int],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Cost:
    """Runs a command to its end. `servers`: name -> process id of the postmaster. Python keeps what it has
    compiled, as it does where a program is installed. Raises RuntimeError with the command's last words if it
    fails."""
    variables = {**(os.environ if environment is None else environment)}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    before = {name: server_cpu(pid) for name, pid in servers.items()}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=error, env=variables, cwd=directory)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        error.seek(0)
        printed, said = out.read(), error.read().decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"status {process.returncode} of {' '.join(command)}\n{said[-4000:]}")
    return Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=usage.ru_maxrss * 1024,
        servers={name: server_cpu(pid) - before[name] for name, pid in servers.items()},
        document=orjson.loads(printed) if printed.startswith(b"{") else {},
    )


def server_cpu(postmaster: int) -> float:
    """CPU seconds of a server's processes, ended ones included; 0 where there is no /proc."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile, and counts with the postmaster
        if int(path.parent.name) == postmaster:
            ticks += sum(map(int, fields[11:15]))  # its own and those of its ended children
        elif int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks / _TICKS
