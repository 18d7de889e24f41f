"""bulkmig verify"""

from __future__ import annotations

import typer

from bulkmig.cli import lines, output, summary
from bulkmig.cli.options import CONNECT, PARALLEL, SELECT, Call, verb
from bulkmig.cli.running import run
from bulkmig.verification import verify


@verb(SELECT, PARALLEL, CONNECT)
def command(call: Call) -> int:
    """Compares every cell of the target with the transform of the source; resumes where it was cut off."""
    listen = lines.listener(log_format=call.log_format, log_level=call.log_level, quiet=call.quiet)
    report = run(lambda stop: verify(call.settings, call.selected, listen=listen, stop=stop))
    if call.json:
        output.document(report.document())
    else:
        summary.show(report)
    return report.exit_status


def register(app: typer.Typer) -> None:
    app.command("verify")(command)
