"""bulkmig certificate make, check"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bulkmig import certificate
from bulkmig._core import files
from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run

group = typer.Typer(help="What a run left of each vessel, signed.", no_args_is_help=True)


@verb(CONNECT)
def make_command(
    call: Call,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or its beginning.")],
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="Where to write it.")],
    signing_key: Annotated[Path, typer.Option(metavar="FILE", help="A private Ed25519 key in PEM.")],
) -> int:
    """Certifies, vessel by vessel, what a run left: rows and digests of each table, by which rules."""
    made = run(lambda stop: certificate.make(call.settings, run_id, signing_key))
    size = files.write(file, made.decode(), "--file")
    if call.json:
        output.document({"command": "certificate make", "file": str(file), "bytes": size})
    elif not call.quiet:
        output.console().print("written:", output.plain(file))
    return 0


@verb(CONNECT)
def check_command(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    public_key: Annotated[Path, typer.Option(metavar="FILE", help="The public Ed25519 key in PEM.")],
) -> int:
    """Checks a certificate's signature, and whether bulkmig has changed the vessels since."""
    changed = run(lambda stop: certificate.check(call.settings, file, public_key))
    if call.json:
        status = "failed" if changed else "completed"
        output.document({"command": "certificate check", "status": status, "changed": changed})
    else:
        out = output.console()
        out.print("the signature is right;", f"{len(changed):,} vessels were written anew since")
        for vessel in changed:
            out.print(output.plain(vessel))
    return bool(changed)


group.command("make")(make_command)
group.command("check")(check_command)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="certificate")
