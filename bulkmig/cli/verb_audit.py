"""bulkmig audit list, verify, export"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from msgspec.structs import asdict

from bulkmig import audit_log
from bulkmig._core import files
from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.errors import UsageError

group = typer.Typer(help="Who did what, when, and whether that is what was written.", no_args_is_help=True)


@verb(CONNECT)
def list_command(
    call: Call,
    run_id: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Of one run.")] = None,
    vessel: Annotated[str | None, typer.Option(metavar="ID", help="Of one vessel.")] = None,
    action: Annotated[str | None, typer.Option(help="Of one kind, as in denied.")] = None,
) -> int:
    """Lists the entries of the audit log, the oldest first."""
    found = run(lambda stop: audit_log.entries(call.settings, run=run_id, vessel=vessel, action=action))
    if call.json:
        output.document({"audit": found})
        return 0
    columns = ("at", "action", "operator", "host", "run", "vessel", "summary")
    rows = [
        (
            *(e["at"][:19], e["action"], e["operator"], e["host"], (e["run_id"] or "")[:8]),
            *(e["vessel_id"] or "", e["summary"]),
        )
        for e in found
    ]
    output.console().print(output.table(f"{len(found):,} entries", columns, rows))
    return 0


@verb(CONNECT)
def verify_command(
    call: Call,
    head: Annotated[
        str, typer.Option(metavar="COUNT:HASH", help="A head that was noted: nothing before it may be gone.")
    ] = "",
) -> int:
    """Finds whatever was changed, removed or inserted in the audit log, and says where."""
    proof = run(lambda stop: audit_log.verify(call.settings, head))
    if call.json:
        output.document(
            {
                "command": "audit verify",
                "status": "failed" if proof.problems else "completed",
                "head": str(proof.head),
                "entries": proof.entries,
                "unsealed": proof.unsealed,
                "signed": proof.signed,
                "foreign": proof.foreign,
                "problems": [asdict(problem) for problem in proof.problems],
            }
        )
        return bool(proof.problems)
    out = output.console()
    for problem in proof.problems:
        out.print(output.plain(f"{problem.kind}: {problem.detail}"))
    result = f"{len(proof.problems):,} problems" if proof.problems else "nothing was changed"
    signed = f"{proof.signed:,} of them signed"
    out.print(f"{proof.entries:,} sealed entries, {signed}, {proof.unsealed:,} not sealed yet: {result}")
    out.print("head:", str(proof.head))
    return bool(proof.problems)


@verb(CONNECT)
def export_command(
    call: Call,
    form: Annotated[
        Literal["csv", "json"], typer.Option("--format", help="CSV is safe to open in a spreadsheet.")
    ] = "json",
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Where to; default: standard output.")
    ] = None,
) -> int:
    """Writes the whole audit log, and notes in it that this was done."""
    if call.json and form == "csv" and file is None:
        raise UsageError("--json wants a document on standard output, and CSV is none", "say --file FILE")
    text, count = run(lambda stop: audit_log.export(call.settings, form))
    text = text if form == "csv" else output.harmless(text)
    if file is None:
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))  # as in a file, whatever the locale
        return 0
    size = files.write(file, text, "--file")
    if call.json:
        output.document({"command": "audit export", "entries": count, "file": str(file), "bytes": size})
    elif not call.quiet:
        output.console().print(f"{count:,} entries written:", output.plain(file))
    return 0


group.command("list")(list_command)
group.command("verify")(verify_command)
group.command("export")(export_command)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="audit")
