"""bulkmig plan, bulkmig validate"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import typer

from bulkmig.assess import plan, validate
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT, ERRORS, PARALLEL, SELECT
from bulkmig.cli.running import run
from bulkmig.cli.watching import watching
from bulkmig.report import Report


def _show(call: Call, look: Callable[..., Awaitable[Report]], following: str) -> int:
    with watching(call) as listen:
        report = run(lambda stop: look(call.settings, call.selected, listen=listen, stop=stop))
    call.tell(report, next_command=_next(call, report, following))
    return report.exit_status


def _next(call: Call, report: Report, following: str) -> str:
    if report.failed:
        return "correct these rows, or put them aside: --on-error quarantine"
    aside = " --on-error quarantine" if call.settings.on_error == "quarantine" else ""
    return f"bulkmig {following} {call.selected}{aside}" if report.status == "completed" else ""


@verb(SELECT, ERRORS, PARALLEL, CONNECT)
def plan_command(call: Call) -> int:
    """Says what a migration would do: vessels, rows, adoptions, findings, time and bytes. Writes nothing."""
    return _show(call, plan, "migrate")


@verb(SELECT, ERRORS, PARALLEL, CONNECT)
def validate_command(call: Call) -> int:
    """Validates the source's rows without migrating them. Writes nothing."""
    return _show(call, validate, "plan")


def register(app: typer.Typer) -> None:
    app.command("plan")(plan_command)
    app.command("validate")(validate_command)
