"""A report for people: what happened, what was lost, what failed, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bulkmig.cli.output import console, plain, table
from bulkmig.config import MEBIBYTE
from bulkmig.report import Report

_WORDS = {
    "completed": "[bold green]completed[/]",
    "completed_with_failures": "[bold red]completed with failures[/]",
    "stopped": "[bold yellow]stopped in good order[/]",
    "failed": "[bold red]failed[/]",
    "refused": "[bold red]refused: nothing was changed[/]",
}
_IN_PART = "[bold red]refused in part: the rest went back[/]"
_SHOWN = 20


def show(report: Report, *, next_command: str = "") -> None:
    """Prints the summary of any command that ends in a report."""
    out = console()
    went_back = report.status == "refused" and report.notes.get("checkpoints")
    word = _IN_PART if went_back else _WORDS[report.status]
    out.print(f"\n[bold]bulkmig {report.command}[/] {word} in {report.seconds:.1f} s")
    facts = Table.grid(padding=(0, 1))
    facts.add_column(style="dim", min_width=12)
    for name, text in _facts(report):
        facts.add_row(name, text)
    out.print(Padding(facts, (0, 0, 0, 2)))
    for made in _tables(report):
        out.print()
        out.print(made)
    if next_command:
        out.print()
        out.print("[bold]Next:[/]", plain(next_command))


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    rows = (report.inserted + report.updated + report.deleted).total()
    done, failed = ("would be done", "would fail") if report.command == "plan" else ("done", "failed")
    yield (
        "vessels",
        f"{report.done:,} {done}, {report.skipped:,} skipped, {report.failed:,} {failed},"
        f" {report.remaining:,} remaining of {report.selected:,}",
    )
    if rows:
        rate = f", {rows / report.seconds:,.0f} rows/s" if report.seconds and not report.estimate else ""
        yield "target rows", f"{rows:,}{rate}"
    yield "findings", f"{report.errors:,} errors, {report.warnings:,} warnings"
    yield "quarantined", f"{sum(report.quarantined.values()):,} rows"
    if report.pending:
        yield "pending", f"{report.pending:,} cross references wait for other vessels"
    if conflicts := report.conflicts.total():
        still = report.conflicts["open"]
        yield "conflicts", f"{conflicts - still:,} decided, {still:,} open"
    found = report.verified
    if found.checks:
        verdict = (
            f"{found.difference_count:,} differences" if found.difference_count else "every cell as expected"
        )
        yield "verified", f"{verdict}; {sum(found.rows.values()):,} rows in {found.checks:,} checks"
        if found.drift or found.stale:
            yield "", f"{found.drift:,} cells changed by the portal, {found.stale:,} not synced yet"
    if report.estimate:
        seconds, megabytes = report.estimate["seconds"], report.estimate["bytes"] / 1e6
        yield "estimate", f"about {seconds:,.1f} s and {megabytes:,.0f} MB in the target"
    peak, bound = report.peak_in_flight / MEBIBYTE, report.memory_bound / MEBIBYTE
    yield "memory", f"at most {peak:,.1f} MB of rows in flight (bound {bound:,.0f} MB)"


def _tables(report: Report) -> Iterator[Group]:
    changes = [
        (name, report.inserted[name], report.updated[name], report.deleted[name])
        for name in report.document()["rows"]
    ]
    if rows := [change for change in changes if any(change[1:])]:
        yield table("Rows by target table", ("table", "inserted", "updated", "deleted"), rows, (1, 2, 3))
    if report.findings:
        codes = sorted(report.findings.items(), key=lambda item: (item[0][0], -item[1]))
        lines = [(severity, code, n) for (severity, code), n in codes[:_SHOWN]]
        yield table("Findings", ("severity", "code", "rows"), lines, (2,))
    if report.lossiness:
        title = "Lossiness ledger: defaults, cuts, collapses, repairs"
        yield table(title, ("rule", "rows"), report.lossiness.most_common(_SHOWN), (1,))
    if report.slowest:
        slow = [(name, f"{seconds:.2f}", n) for name, seconds, n in report.slowest]
        yield table("Slowest vessels", ("vessel", "seconds", "rows"), slow, (1, 2))
    if report.verified.differences:
        yield table(
            "First differences",
            ("table", "id", "field", "expected", "actual"),
            [
                (d.table, d.id, d.field or "(row)", _short(d.expected), _short(d.actual))
                for d in report.verified.differences[:_SHOWN]
            ],
        )
    if report.failures:
        yield _failures(report)


def _failures(report: Report) -> Group:
    """A cause is a sentence: it gets the terminal's whole width."""
    parts: list[Text | Padding] = [Text("Failures", style="bold")]
    for failure in report.failures[:_SHOWN]:
        number = f", IMO {failure.imo_number}" if failure.imo_number else ""
        parts.append(Text.assemble(("✗ ", "bold red"), plain(f"{failure.name}{number} ({failure.phase})")))
        parts.append(Padding(plain(failure.error), (0, 0, 0, 4)))
    if (more := len(report.failures) - _SHOWN) > 0:
        parts.append(Text(f"… and {more:,} more: --json has all", style="dim"))
    return Group(*parts)


def _short(text: str | None) -> str:
    return "NULL" if text is None else text if len(text) <= 60 else text[:57] + "…"
