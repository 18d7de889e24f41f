"""What a command did, as the JSON document of cli.md and as the facts behind the summary."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any

import polars as pl
from msgspec import Struct, field
from msgspec.structs import asdict

from bulkmig._core.findings import FINDING
from bulkmig._core.memory import peak_resident
from bulkmig.checkpoint.stage import Drift
from bulkmig.entities import TABLES
from bulkmig.timeline import Timeline
from bulkmig.verified import Deviation, Verified

SLOWEST = 5
EXIT = {"completed": 0, "completed_with_failures": 1, "refused": 1, "stopped": 4, "failed": 1}


class Failure(Struct, frozen=True):
    """A vessel that failed, where and why."""

    vessel_id: str
    name: str
    imo_number: str | None
    phase: str
    error: str


class Report(Struct):
    """The figures of a run; `document` is their public form. Times in seconds, sizes in bytes.

    `elsewhere`: findings of rows that several vessels read along. `other_memory`: peak of other processes.
    `refused`: what others changed, where a rollback was refused. `notes`: what only one command has to tell,
    by its name in the document."""

    command: str
    run_id: str = ""
    status: str = "completed"
    error: str = ""
    hint: str = ""
    selected: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    inserted: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    conflicts: Counter[str] = field(default_factory=Counter)  # "open", or the strategy that decided
    held_back: int = 0  # deletions that the brake stopped
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    elsewhere: list[pl.DataFrame] = field(default_factory=list)
    pending: int = 0
    lossiness: Counter[str] = field(default_factory=Counter)
    stats: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    phases: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    verified: Verified = field(default_factory=Verified)
    differing: dict[str, Deviation] = field(default_factory=dict)  # vessel -> its first difference
    failures: list[Failure] = field(default_factory=list)
    findings_list: list[pl.DataFrame] | None = None
    slowest: list[tuple[str, float, int]] = field(default_factory=list)
    peak_in_flight: int = 0
    memory_bound: int = 0
    peak_memory: int = 0
    other_memory: int = 0
    was_refused: bool = False
    refused: list[Drift] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    estimate: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    @property
    def remaining(self) -> int:
        return self.selected - self.done - self.skipped - self.failed

    @property
    def errors(self) -> int:
        return sum(n for (severity, _), n in self.findings.items() if severity == "error")

    @property
    def warnings(self) -> int:
        return sum(n for (severity, _), n in self.findings.items() if severity == "warning")

    @property
    def exit_status(self) -> int:
        return EXIT[self.status]

    def count_findings(self, frame: pl.DataFrame) -> None:
        """Adds findings, and keeps them where the command lists them."""
        if not frame.height:
            return
        for severity, code, n in frame.group_by("severity", "code").len().iter_rows():
            self.findings[severity, code] += n
        if self.findings_list is not None:
            self.findings_list.append(frame)

    def count_elsewhere(self) -> pl.DataFrame:
        """Adds the findings that several vessels may have come across, each once, and returns them."""
        if not self.elsewhere:
            return pl.DataFrame(schema=FINDING)
        once = pl.concat(self.elsewhere).unique(["code", "entity", "source_id", "field"]).sort("source_id")
        self.elsewhere = []
        self.count_findings(once)
        self.lossiness.update(once["code"].to_list())
        return once

    def merge(self, other: Report) -> None:
        """Adds what another process did for the same run; totals of the selection stay this one's."""
        self.done += other.done
        self.skipped += other.skipped
        self.failed += other.failed
        for mine, theirs in (
            (self.inserted, other.inserted),
            (self.updated, other.updated),
            (self.deleted, other.deleted),
            (self.unchanged, other.unchanged),
            (self.conflicts, other.conflicts),
            (self.quarantined, other.quarantined),
            (self.lossiness, other.lossiness),
            (self.stats, other.stats),
            (self.read, other.read),
        ):
            mine.update(theirs)
        self.findings.update(other.findings)
        self.elsewhere += other.elsewhere
        self.pending += other.pending
        self.verified.add(other.verified)
        self.differing |= other.differing
        self.failures += other.failures
        self.slowest = sorted([*self.slowest, *other.slowest], key=lambda entry: -entry[1])[:SLOWEST]
        for phase, seconds in other.phases.items():
            self.phases[phase] += seconds
        if self.findings_list is not None:
            self.findings_list += other.findings_list or []
        self.peak_in_flight += other.peak_in_flight
        self.other_memory += other.peak_memory
        if other.status == "stopped":
            self.status = "stopped"

    def fail(self, error: str, hint: str = "") -> None:
        """What ended the run before its end; the first cause counts."""
        self.status = "failed"
        if not self.error:
            self.error, self.hint = error, hint

    def finish(self) -> None:
        """Settles status and duration."""
        self.seconds = time.perf_counter() - self.began
        self.peak_memory = peak_resident() + self.other_memory
        bad = self.failures or self.verified.difference_count or self.held_back
        if self.command in ("plan", "validate"):
            bad = bad or self.errors
        if self.status == "completed" and bad:
            self.status = "refused" if self.was_refused else "completed_with_failures"

    def document(self) -> dict[str, Any]:
        """The command's JSON document (cli.md)."""
        document: dict[str, Any] = {
            "command": self.command,
            "run_id": self.run_id,
            "status": self.status,
            "vessels": {
                "selected": self.selected,
                "done": self.done,
                "skipped": self.skipped,
                "failed": self.failed,
                "remaining": self.remaining,
            },
            "rows": self._rows(),
            "findings": self._findings(),
            "quarantined": {table: n for table, n in sorted(self.quarantined.items()) if n},
            "pending": {"cross_references": self.pending},
            "conflicts": {
                "open": self.conflicts["open"],
                "resolved": {"source_wins": 0, "target_wins": 0, "merge": 0, **self._decided},
            },
            "verification": self._verification(),
            "stats": {
                name: self.stats[name]
                for name in ("total_equipment", "equipment_without_location", "critical_equipment")
            },
            "drift": [asdict(row) for row in self.refused] if self.was_refused else self.verified.drift,
            "stale": self.verified.stale,
            "lossiness": {code: n for code, n in sorted(self.lossiness.items()) if n},
            "phases": {
                phase: round(self.phases[phase], 6)
                for phase in ("extract", "validate", "transform", "load", "verify")
            },
            "seconds": round(self.seconds, 6),
            "peak_memory_bytes": self.peak_memory or peak_resident(),
            "memory": {"bound": self.memory_bound, "peak_in_flight": self.peak_in_flight},
            "timeline": self.timeline.document(),
            "failures": [asdict(failure) for failure in self.failures],
        }
        document |= self.notes
        if self.error:
            document |= {"error": self.error, "hint": self.hint}
        if self.estimate:
            document["estimate"] = self.estimate
        if self.findings_list is not None:
            document["findings_list"] = [
                row for frame in self.findings_list for row in frame.iter_rows(named=True)
            ]
        return document

    def _rows(self) -> dict[str, dict[str, int]]:
        return {
            table: {
                "inserted": self.inserted[table],
                "updated": self.updated[table],
                "deleted": self.deleted[table],
                "unchanged": self.unchanged[table],
            }
            for table in dict.fromkeys([*TABLES, *self.inserted, *self.updated, *self.deleted])
        }

    def _findings(self) -> dict[str, Any]:
        by_code: Counter[str] = Counter()
        for (_, code), n in self.findings.items():
            by_code[code] += n
        return {
            "errors": self.errors,
            "warnings": self.warnings,
            "by_code": dict(sorted(by_code.items())),
        }

    @property
    def _decided(self) -> dict[str, int]:
        return {name: n for name, n in self.conflicts.items() if name != "open"}

    def _verification(self) -> dict[str, Any]:
        found = self.verified
        return {
            "checks": found.checks,
            "passed": found.checks - found.failed - found.warnings,
            "failed": found.failed,
            "warnings": found.warnings,
            "difference_count": found.difference_count,
            "differences": [asdict(deviation) for deviation in found.differences],
            "drifted": [asdict(deviation) for deviation in found.drifted],
        }
