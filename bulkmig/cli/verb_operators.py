"""bulkmig operators list, grant, revoke, on, off"""

from __future__ import annotations

from typing import Annotated

import typer

from bulkmig import operators
from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.ledger.access import PERMISSIONS

group = typer.Typer(help="Who may do what, and whether that is asked at all.", no_args_is_help=True)

_Who = Annotated[str, typer.Argument(metavar="OPERATOR", help="As --operator names them.")]
_What = Annotated[list[str], typer.Argument(metavar="PERMISSION…", help=f"Of {', '.join(PERMISSIONS)}.")]
_Vessel = Annotated[str | None, typer.Option(metavar="ID", help="For one vessel of the source.")]
_Company = Annotated[str | None, typer.Option(metavar="ID", help="For the vessels of one company.")]


@verb(CONNECT)
def list_command(call: Call) -> int:
    """Lists permissions, and says whether access control is on."""
    found = run(lambda stop: operators.listed(call.settings))
    if call.json:
        output.document(found)
        return 0
    out = output.console()
    rows = [
        (
            p["operator"],
            p["permission"],
            p["scope"],
            p["scope_id"] or "",
            p["granted_by"],
            p["granted_at"][:19],
        )
        for p in found["permissions"]
    ]
    out.print(f"access control is {'on' if found['enabled'] else 'off'}")
    columns = ("operator", "permission", "for", "id", "granted by", "at")
    out.print(output.table(f"{len(rows):,} permissions", columns, rows))
    return 0


@verb(CONNECT)
def grant_command(
    call: Call, whom: _Who, permission: _What, vessel: _Vessel = None, company: _Company = None
) -> int:
    """Grants permissions: for everything, a company or a vessel."""
    where = operators.scope(vessel, company)
    done = run(lambda stop: operators.grant(call.settings, whom, permission, where))
    return _say(call, "granted", done)


@verb(CONNECT)
def revoke_command(
    call: Call, whom: _Who, permission: _What, vessel: _Vessel = None, company: _Company = None
) -> int:
    """Takes permissions away, as they were granted."""
    where = operators.scope(vessel, company)
    done = run(lambda stop: operators.revoke(call.settings, whom, permission, where))
    return _say(call, "revoked", done)


@verb(CONNECT)
def on_command(call: Call) -> int:
    """Turns access control on: from then on commands ask for permissions."""
    run(lambda stop: operators.turn(call.settings, on=True))
    return _say(call, "on", 1)


@verb(CONNECT)
def off_command(call: Call) -> int:
    """Turns access control off."""
    run(lambda stop: operators.turn(call.settings, on=False))
    return _say(call, "off", 1)


def _say(call: Call, what: str, count: int) -> int:
    if call.json:
        output.document({"command": "operators", "status": "completed", "action": what, "count": count})
    elif not call.quiet:
        text = f"access control is {what}" if what in ("on", "off") else f"{count} permissions {what}"
        output.console().print(text)
    return 0


group.command("list")(list_command)
group.command("grant")(grant_command)
group.command("revoke")(revoke_command)
group.command("on")(on_command)
group.command("off")(off_command)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="operators")
