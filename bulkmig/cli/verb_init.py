"""bulkmig init"""

from __future__ import annotations

import typer

from bulkmig._core.stop import Stop
from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.ledger import schema
from bulkmig.preflight import target_only


@verb(CONNECT)
def command(call: Call) -> int:
    """Creates bulkmig's own tables in the target, or brings them up to date."""

    async def init(stop: Stop) -> tuple[int, int]:
        async with target_only(call.settings, needs_ledger=False, writing=True) as target:
            applied = await schema.upgrade(target)
            return applied, await schema.version(target)

    applied, version = run(init)
    if call.json:
        output.document({"command": "init", "status": "completed", "applied": applied, "version": version})
    else:
        output.console().print(f"ledger version {version}: {applied} migrations applied")
    return 0


def register(app: typer.Typer) -> None:
    app.command("init")(command)
