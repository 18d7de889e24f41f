"""bulkmig lift"""

from __future__ import annotations

from typing import Annotated

import typer

from bulkmig.cli import output
from bulkmig.cli.call import Call, caution, verb
from bulkmig.cli.options import CONNECT, LOAD
from bulkmig.cli.running import run
from bulkmig.lift.run import lift


@verb(CONNECT, {"fk_check": LOAD["fk_check"]})
def command(
    call: Call,
    sqlite_url: Annotated[str, typer.Argument(metavar="SQLITE_URL", help="sqlite:///path/to/portal.db")],
    postgres_url: Annotated[str, typer.Argument(metavar="POSTGRES_URL", help="An empty portal.")],
) -> int:
    """Moves a whole Maintenance Portal from SQLite to PostgreSQL, its own rows and the ledger included."""
    caution(call, "POSTGRES_URL", postgres_url)
    report = run(lambda stop: lift(call.settings, sqlite_url, postgres_url, stop=stop))
    for name, rows in report.notes.get("left_behind", {}).items() if not call.json else ():
        left = f"not moved, because the contract doesn't know it: {name} ({rows:,} rows)"
        output.console().print(output.plain(left))
    following = "point the portal and bulkmig to PostgreSQL: bulkmig sync --all goes on there"
    call.tell(report, next_command=following if report.exit_status == 0 else "")
    return report.exit_status


def register(app: typer.Typer) -> None:
    app.command("lift")(command)
