"""bulkmig dashboard"""

from __future__ import annotations

import sys
from typing import Annotated

import anyio
import typer

from bulkmig._core.stop import Stop
from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.monitor import serve
from bulkmig.preflight import target_only


@verb(CONNECT)
def command(
    call: Call,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where to serve; port 0: any that is free.")
    ] = serve.DEFAULT,
) -> int:
    """Serves the dashboard and the metrics of what the ledger tells, until it is interrupted."""

    async def stay(stop: Stop) -> None:
        with stop.scope():
            await anyio.sleep_forever()

    async def reachable(stop: Stop) -> None:
        async with target_only(call.settings, needs_ledger=False):
            """An address that doesn't lead anywhere is said at once."""

    where = serve.place(listen)
    run(reachable)
    with serve.serving(where, call.settings) as url:
        if call.json:
            output.document({"command": "dashboard", "status": "serving", "url": url})
            sys.stdout.flush()
        else:
            sys.stderr.write(f"dashboard: {url}\n")
        run(stay)
    return 0


def register(app: typer.Typer) -> None:
    app.command("dashboard")(command)
