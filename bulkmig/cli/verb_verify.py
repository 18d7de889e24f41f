"""bulkmig verify"""

from __future__ import annotations

import typer

from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT, DASHBOARD, PARALLEL, SELECT
from bulkmig.cli.running import run
from bulkmig.cli.watching import watching
from bulkmig.verification import verify


@verb(SELECT, PARALLEL, DASHBOARD, CONNECT)
def command(call: Call) -> int:
    """Compares every cell of the target with the transform of the source; resumes where it was cut off."""
    with watching(call) as listen:
        report = run(lambda stop: verify(call.settings, call.selected, listen=listen, stop=stop))
    call.tell(report)
    return report.exit_status


def register(app: typer.Typer) -> None:
    app.command("verify")(command)
