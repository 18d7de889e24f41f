"""bulkmig config"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bulkmig.cli import configuration, output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT, ERRORS, LOAD, PARALLEL
from bulkmig.errors import UsageError


@verb(ERRORS, PARALLEL, LOAD, CONNECT)
def command(
    call: Call,
    example: Annotated[
        bool, typer.Option("--example", help="Print a configuration file with every key explained.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Show what is in force and from where, secrets masked.")
    ] = False,
) -> int:
    """The documented configuration file; what is in force with these flags, this environment, this file."""
    if example == show:
        raise UsageError("say what of the configuration", "--example or --show")
    if example:
        text = configuration.example()
        if call.json:
            output.document({"command": "config", "example": text})
        else:
            sys.stdout.write(text)
        return 0
    found = list(configuration.in_force(call.settings, call.origins))
    if call.json:
        settings = {key: {"value": value, "from": origin} for key, value, origin in found}
        output.document({"command": "config", "settings": settings})
    else:
        rows = [(key, configuration.shown(key, value), origin) for key, value, origin in found]
        output.console().print(output.table("In force", ("setting", "value", "from"), rows))
    return 0


def register(app: typer.Typer) -> None:
    app.command("config")(command)
