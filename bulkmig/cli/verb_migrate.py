"""bulkmig migrate"""

from __future__ import annotations

from typing import Annotated

import typer

from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT, DASHBOARD, ERRORS, LOAD, PARALLEL, QUEUE, SELECT
from bulkmig.cli.running import run
from bulkmig.cli.watching import watching
from bulkmig.fleet.migrate import migrate
from bulkmig.report import Report
from bulkmig.sync.run import remigrate


@verb(SELECT, ERRORS, PARALLEL, LOAD, QUEUE, DASHBOARD, CONNECT)
def command(
    call: Call,
    anew: Annotated[
        bool, typer.Option("--remigrate", help="Write vessels anew that were migrated before (--conflict).")
    ] = False,
) -> int:
    """Migrates vessels with their companies and users; vessels migrated before are skipped."""
    go = remigrate if anew else migrate
    with watching(call) as listen:
        report = run(lambda stop: go(call.settings, call.selected, listen=listen, stop=stop))
    call.tell(report, next_command=_next(report, str(call.selected)))
    return report.exit_status


def _next(report: Report, selection: str) -> str:
    if report.failed:
        return "correct these rows and run the same command again, or put them aside: --on-error quarantine"
    if report.status == "stopped":
        return "run the same command again to go on"
    if report.verified.difference_count:
        return f"bulkmig verify {selection}"
    if report.quarantined.total():
        return "bulkmig quarantine list"
    return ""


def register(app: typer.Typer) -> None:
    app.command("migrate")(command)
