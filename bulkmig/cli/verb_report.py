"""bulkmig report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bulkmig._core import files
from bulkmig._core.stop import Stop
from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.ledger import read
from bulkmig.monitor import history, page
from bulkmig.preflight import target_only

MOST = 5000  # entries of a run's audit log and of its checkpoints


@verb(CONNECT)
def command(
    call: Call,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or its beginning.")],
    html: Annotated[Path, typer.Option("--html", metavar="FILE", help="Where to write the page.")],
) -> int:
    """Writes one self-contained page of a run, to archive: plots, tables, audit log."""

    async def look(stop: Stop) -> dict[str, Any]:
        async with target_only(call.settings) as target:
            found = await history.run(target, await read.one_run(target, run_id))
            assert found is not None
            return {**found, "ledger": await history.records(target, found["run"]["id"], MOST)}

    found = run(look)
    text = page.alone(found)
    size = files.write(html, text, "--html")
    if call.json:
        output.document({"command": "report", "run_id": found["run"]["id"], "html": str(html), "bytes": size})
    elif not call.quiet:
        output.console().print("written:", output.plain(html))
    return 0


def register(app: typer.Typer) -> None:
    app.command("report")(command)
