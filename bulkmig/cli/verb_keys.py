"""bulkmig keys rotate"""

from __future__ import annotations

import typer

from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.rotation import rotate

group = typer.Typer(help="The keys that the ledger's values are encrypted with.", no_args_is_help=True)


@verb(CONNECT)
def rotate_command(call: Call) -> int:
    """Encrypts anew, with the first of the keys, what older keys encrypted, or none."""
    done = run(lambda stop: rotate(call.settings, stop))
    if call.json:
        output.document({"command": "keys rotate", "status": "completed", "rotated": dict(done)})
    elif not call.quiet:
        output.console().print(
            output.table("Encrypted anew", ("table", "values"), sorted(done.items()), (1,))
            if done
            else "everything is encrypted with this key already"
        )
    return 0


group.command("rotate")(rotate_command)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="keys")
