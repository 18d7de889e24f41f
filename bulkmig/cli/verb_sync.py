"""bulkmig sync"""

from __future__ import annotations

import typer

from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT, DASHBOARD, ERRORS, LOAD, PARALLEL, QUEUE, SELECT, SYNC
from bulkmig.cli.running import run
from bulkmig.cli.watching import watching
from bulkmig.report import Report
from bulkmig.sync.run import sync


@verb(SELECT, SYNC, ERRORS, PARALLEL, LOAD, QUEUE, DASHBOARD, CONNECT)
def command(call: Call) -> int:
    """Brings vessels that were migrated before up to date, and migrates newly approved ones."""
    with watching(call) as listen:
        report = run(lambda stop: sync(call.settings, call.selected, listen=listen, stop=stop))
    call.tell(report, next_command=_next(report))
    return report.exit_status


def _next(report: Report) -> str:
    if report.held_back:
        return "the deletion brake held: look at what is gone from the source, then --allow-deletions"
    if report.failed:
        return "correct these rows and run the same command again, or put them aside: --on-error quarantine"
    if report.status == "stopped":
        return "run the same command again to go on"
    if report.conflicts["open"]:
        return "bulkmig conflicts list"
    return ""


def register(app: typer.Typer) -> None:
    app.command("sync")(command)
