"""bulkmig rollback"""

from __future__ import annotations

from typing import Annotated

import typer

from bulkmig.cli import lines, output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.report import Report
from bulkmig.rollback import rollback

_SHOWN = 20


@verb(CONNECT)
def command(
    call: Call,
    checkpoint: Annotated[
        str | None, typer.Argument(metavar="[CHECKPOINT]", help="Its id, or the beginning of it.")
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="All that a run changed.")
    ] = None,
    vessel: Annotated[
        str | None, typer.Option(metavar="VESSEL", help="The last change of a vessel (source id).")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Give up what others changed since; it can be brought back.")
    ] = False,
) -> int:
    """Restores what a vessel, or all vessels of a run, were before a change."""
    listen = lines.listener(log_format=call.log_format, log_level=call.log_level, quiet=call.quiet)
    report = run(
        lambda stop: rollback(
            call.settings,
            checkpoint=checkpoint or "",
            run=run_id or "",
            vessel=vessel or "",
            force=force,
            listen=listen,
            stop=stop,
        )
    )
    if not call.json:
        _show(report)
    own = report.notes.get("checkpoints") or []
    undo = f"bulkmig rollback {own[0]}" if len(own) == 1 else f"bulkmig rollback --run {report.run_id}"
    call.tell(report, next_command=f"to take this back: {undo}" if own else "")
    return report.exit_status


def _show(report: Report) -> None:
    out = output.console()
    if report.refused:
        out.print(
            output.table(
                f"{len(report.refused):,} rows that others changed since",
                ("table", "id", "change"),
                [(row.table, row.id, row.change) for row in report.refused[:_SHOWN]],
            )
        )
    if report.notes.get("stayed"):
        stayed = report.notes["stayed"]
        out.print(
            output.table(
                f"{len(stayed):,} rows stay, because others use them",
                ("table", "id"),
                [(row["table"], row["id"]) for row in stayed[:_SHOWN]],
            )
        )


def register(app: typer.Typer) -> None:
    app.command("rollback")(command)
