"""Finds the verbs, runs one, and turns every end into the exit status that cli.md promises."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated

import asyncpg
import stamina
import typer

import bulkmig.cli
from bulkmig._core import discreet, early, streams
from bulkmig._version import __version__
from bulkmig.cli.options import spelled_out
from bulkmig.cli.output import fail
from bulkmig.errors import BulkmigError, PreflightError, Stopped, UsageError
from bulkmig.postgres.errors import describe

INTERNAL = 5
# What is to be done before a command can go on, by SQLSTATE.
_FIRST = {
    "53100": "make room on its disk, then ",
    "55P03": "end what holds it, or wait for that, then ",
    "XX001": "restore it from a backup (bulkmig doctor says what is damaged), then ",
}

app = typer.Typer(
    name="bulkmig",
    help="Moves a fleet from the Onboarding Portal to the Maintenance Portal, every cell verified.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"bulkmig {__version__}")
        raise typer.Exit


@app.callback(help=app.info.help)
def _program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """There: so that a verb has to be named, also where only one is registered."""


def _register(arguments: Sequence[str] = ()) -> None:
    """Adds the verbs; where the arguments name one that has a file of its own, that one alone: to load all
    of them takes a tenth of a second."""
    names = sorted(m.name for m in iter_modules(bulkmig.cli.__path__) if m.name.startswith("verb_"))
    asked = [f"verb_{word}" for word in arguments[:1] if f"verb_{word}" in names]
    for name in asked or names:
        import_module(f"bulkmig.cli.{name}").register(app)


def main() -> None:
    """The entry point of `bulkmig`."""
    arguments = spelled_out(sys.argv[1:])
    streams.install()
    discreet.install()
    stamina.instrumentation.set_on_retry_hooks([])  # retries are events, and lines of our own
    try:
        _register(arguments)
        early.imported()
        status = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except typer.Exit as end:
        status = end.exit_code
    except typer.TyperException as error:
        if not error.format_message():  # no verb: the help was printed
            sys.exit(UsageError.exit_status)
        wrong = UsageError(error.format_message(), "see `bulkmig --help`")
        fail(wrong, as_json="--json" in arguments)
        status = wrong.exit_status
    except asyncpg.InsufficientPrivilegeError as error:
        refused = PreflightError(
            f"a privilege is missing: {describe(error)}", "`bulkmig doctor` names what the role lacks"
        )
        fail(refused, as_json="--json" in arguments)
        status = refused.exit_status
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        hint = _FIRST.get(getattr(error, "sqlstate", None) or "", "")
        lost = BulkmigError(
            f"a database failed: {describe(error)}", f"{hint}run the same command again to go on"
        )
        fail(lost, as_json="--json" in arguments)
        status = lost.exit_status
    except (typer.Abort, KeyboardInterrupt):
        status = Stopped.exit_status
    except BulkmigError as error:
        fail(error, as_json="--json" in arguments)
        status = error.exit_status
    except Exception as error:
        status = _internal(error, as_json="--json" in arguments)
    sys.exit(status if isinstance(status, int) else 0)


def _internal(error: Exception, *, as_json: bool) -> int:
    """A bug: says so, and where the trace lies. Messages of errors can quote rows, so the trace has none."""
    trace = "".join(
        f"{''.join(traceback.format_tb(part.__traceback__))}{type(part).__module__}.{type(part).__qualname__}\n\n"
        for part in _chain(error)
    )
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="bulkmig-", suffix=".trace", delete=False, encoding="utf-8"
        ) as file:
            file.write(trace)
        where = f"the trace lies in {file.name}"
    except OSError:  # nothing can be written here, or the disk is full
        sys.stderr.write(trace)
        where = "the trace stands on standard error"
    reason = describe(error) if hasattr(error, "sqlstate") else type(error).__name__
    fail(BulkmigError(f"internal error: {reason}", f"a bug of bulkmig; {where}"), as_json=as_json)
    return INTERNAL


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = [error]
    while (before := found[-1].__cause__ or found[-1].__context__) is not None and before not in found:
        found.append(before)
    return found[::-1]
