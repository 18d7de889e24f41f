"""The figures of a run for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

STATES = {
    "waiting": "waiting",
    "running": "in_progress",
    "migrated": "completed",
    "quarantined": "quarantined",
    "unchanged": "unchanged",
    "skipped": "skipped",
    "failed": "failed",
}
# Name of a gauge of the run -> (key of the view's run, what it is).
_GAUGES = {
    "bulkmig_run_seconds": ("seconds", "How long the run has taken so far, or took."),
    "bulkmig_run_left_seconds": ("left", "Estimate of how long it still takes."),
    "bulkmig_run_share": ("share", "How much of the run is behind it, 0 to 1."),
    "bulkmig_rows_per_second": ("rate", "Target rows a second, of late."),
    "bulkmig_vessel_average_seconds": ("average_seconds", "How long a completed vessel took on average."),
    "bulkmig_memory_in_flight_bytes": ("in_flight", "Rows in flight."),
    "bulkmig_memory_bound_bytes": ("bound", "The bound on rows in flight."),
    "bulkmig_memory_resident_bytes": ("resident", "Resident memory of the run's processes."),
    "bulkmig_vessels_verified": ("verified", "Vessels that were compared with the source."),
    "bulkmig_differences": ("differences", "Cells and rows that differ from what is expected."),
}
_LEDGER = {
    "bulkmig_checkpoints": ("checkpoints", "Checkpoints in the ledger."),
    "bulkmig_conflicts_open": ("conflicts_open", "Conflicts that wait for a decision."),
}


def exposition(view: dict[str, Any]) -> bytes:
    """The metrics of what the dashboard shows now, as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(view))
    return generate_latest(registry)


class _Figures(Collector):
    def __init__(self, view: dict[str, Any]) -> None:
        self.view = view

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        ledger, run = self.view["ledger"], self.view["run"]
        for name, (key, about) in _LEDGER.items():
            yield GaugeMetricFamily(name, about, value=ledger["counts"].get(key, 0))
        yield _labelled(
            "bulkmig_quarantined_rows", "Rows in quarantine.", "code",
            [(entry["code"], entry["rows"]) for entry in ledger["quarantine"]],
        )  # fmt: skip
        yield _labelled(
            "bulkmig_runs", "The newest runs of the ledger.", "status",
            Counter(entry["status"] for entry in ledger["runs"]).items(),
        )  # fmt: skip
        if run is not None:
            yield from self._of_run(run)

    def _of_run(self, run: dict[str, Any]) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "bulkmig_run_info", "The run that is shown.", labels=["run_id", "command", "status"]
        )
        info.add_metric([run["id"], run["command"], run["status"]], 1)
        yield info
        states = Counter(vessel["state"] for vessel in self.view["vessels"])
        yield _labelled(
            "bulkmig_vessels", "Vessels of the run.", "state",
            [(label, states[state]) for state, label in STATES.items()],
        )  # fmt: skip
        yield CounterMetricFamily("bulkmig_rows", "Target rows committed by the run.", value=run["rows"])
        yield CounterMetricFamily("bulkmig_retries", "What was tried again.", value=run.get("retries", 0))
        done = [v["seconds"] for v in self.view["vessels"] if v["state"] == "migrated"]
        yield SummaryMetricFamily(
            "bulkmig_vessel_duration_seconds", "From a vessel's first row to its commit.",
            count_value=len(done), sum_value=sum(done),
        )  # fmt: skip
        yield _labelled(
            "bulkmig_recent_errors", "The last errors and retries.", "kind",
            Counter(entry["kind"] for entry in self.view["failures"][-10:]).items(),
        )  # fmt: skip
        findings = GaugeMetricFamily("bulkmig_findings", "Findings of the run.", labels=["severity", "code"])
        total: Counter[tuple[str, str]] = Counter()
        for entry in self.view["findings"]:
            total[entry["severity"], entry["code"]] += entry["rows"]
        for labels, rows in sorted(total.items()):
            findings.add_metric(list(labels), rows)
        yield findings
        for name, (key, about) in _GAUGES.items():
            if run.get(key) is not None:
                yield GaugeMetricFamily(name, about, value=run[key])


def _labelled(name: str, about: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    metric = GaugeMetricFamily(name, about, labels=[label])
    for key, value in values:
        metric.add_metric([key], value)
    return metric
