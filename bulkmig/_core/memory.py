"""The run's memory bound, split between what flows and what a vessel must hold to its end; and what is really
taken."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
from pathlib import Path

from bulkmig._core.budget import ByteBudget

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
_STATM, _STATUS = Path("/proc/self/statm"), Path("/proc/self/status")


class Memory:
    """`flow`: rows on their way, given back as they are loaded. `held`: the equipment keys of vessels in
    flight, which wait for `flow` while they hold; two budgets, so that one can't starve the other."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._before = resident()
        self.held = ByteBudget(bound // 4)
        self.flow = ByteBudget(bound - bound // 4)

    @property
    def in_flight(self) -> int:
        return self.held.in_flight + self.flow.in_flight

    def is_exceeded_by(self, taken: int) -> bool:
        """Whether a process that takes so many bytes took its whole bound, and more, since this was made."""
        return taken > self._before + self.bound

    @property
    def peak(self) -> int:
        """The most that was ever in flight, in bytes; never more than the bound."""
        return self.held.peak + self.flow.peak


def resident() -> int:
    """What this process takes of the machine's memory now, in bytes; 0 where the system doesn't say."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def give_back() -> None:
    """Gives the system the memory that is free and that the allocator of C keeps; glibc's alone can."""
    # Pieces of COPY come and go in every size: half of its heap ends up as gaps, which it keeps.
    if _trim is not None:
        _trim(0)


def peak_resident() -> int:
    """The most that this process ever took of it, in bytes."""
    # Linux: not getrusage, whose figure a process inherits from the one that started it.
    if _STATUS.is_file():
        status = _STATUS.read_text(encoding="ascii", errors="replace")
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
