"""bulkmig drift"""

from __future__ import annotations

from typing import Annotated

import typer

from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT, PARALLEL, SELECT
from bulkmig.cli.running import run
from bulkmig.verification import verify


@verb(SELECT, PARALLEL, CONNECT)
def command(
    call: Call,
    most: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="How many don't matter.")] = 0,
) -> int:
    """Says no more than how many rows the portal has changed."""
    report = run(lambda stop: verify(call.settings, call.selected, stop=stop))
    if call.json:
        output.document({"command": "drift", "drift": report.verified.drift})
    else:
        output.console().print(report.verified.drift)
    return 0 if report.verified.drift <= most else 1


def register(app: typer.Typer) -> None:
    app.command("drift")(command)
