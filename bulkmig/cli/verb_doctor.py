"""bulkmig doctor"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT, LOAD, PARALLEL
from bulkmig.cli.running import run
from bulkmig.doctor import Check, examine, grants
from bulkmig.errors import PreflightError

# What changes what a run needs of the ends.
_NEEDS = {name: {**PARALLEL, **LOAD}[name] for name in ("processes", "parallel_vessels", "fk_check")}


@verb(_NEEDS, CONNECT)
def command(
    call: Call,
    print_grants: Annotated[
        bool, typer.Option("--grants", help="Print the SQL of the least-privilege roles.")
    ] = False,
) -> int:
    """Looks at both ends: connection, TLS, privileges, schema, indexes, room, clocks, encryption, ledger."""
    if print_grants:
        _print_grants(as_json=call.json)
        return 0
    checks = run(lambda stop: examine(call.settings))
    bad = [check for check in checks if check.needed and not check.ok]
    if call.json:
        status = "failed" if bad else "completed"
        output.document(
            {"command": "doctor", "status": status, "checks": [check.document() for check in checks]}
        )
    else:
        _show(checks, quiet=call.quiet)
    return PreflightError.exit_status if bad else 0


def _print_grants(*, as_json: bool) -> None:
    if as_json:
        output.document({"command": "doctor", "status": "completed", "checks": [], "grants": grants()})
    else:
        sys.stdout.write("\n".join(grants().values()))


def _show(checks: list[Check], *, quiet: bool) -> None:
    out = output.console()
    for check in checks:
        if quiet and check.ok:
            continue
        mark = "[green]✓[/]" if check.ok else "[bold red]✗[/]" if check.needed else "[yellow]![/]"
        out.print(mark, f"[bold]{check.name}[/]", output.plain(check.detail), sep=" ")
        if not check.ok and check.remedy:
            out.print("    [dim]→[/]", output.plain(check.remedy))
    bad = sum(check.needed and not check.ok for check in checks)
    advice = sum(not check.needed and not check.ok for check in checks)
    out.print(
        f"\n{len(checks)} checks: {bad} must be put right before a run, {advice} are advice"
        if bad or advice
        else f"\n{len(checks)} checks, all well"
    )


def register(app: typer.Typer) -> None:
    app.command("doctor")(command)
