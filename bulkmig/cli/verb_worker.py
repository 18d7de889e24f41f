"""bulkmig worker"""

from __future__ import annotations

from typing import Annotated

import typer

from bulkmig.cli import lines
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT, WORKER
from bulkmig.cli.running import run
from bulkmig.report import Report


@verb(WORKER, CONNECT)
def command(
    call: Call,
    once: Annotated[bool, typer.Option("--once", help="End when the run that it works on is over.")] = False,
) -> int:
    """Takes vessels of a run with --queue; run it on as many machines as needed."""
    # The queue's library takes a quarter of a second to load, which no other command needs.
    from bulkmig.cluster.worker import work

    listen = lines.listener(log_format=call.log_format, log_level=call.log_level, quiet=call.quiet)
    report: Report = run(lambda stop: work(call.settings, once=once, listen=listen, stop=stop))
    call.tell(report)
    return report.exit_status


def register(app: typer.Typer) -> None:
    app.command("worker")(command)
