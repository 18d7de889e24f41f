"""How a verb is called: with the settings in force, its selection, and how to print."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

import typer
from msgspec import Struct

from bulkmig.cli import output
from bulkmig.cli.settings import in_force
from bulkmig.config import Settings
from bulkmig.errors import BulkmigError
from bulkmig.postgres.dsn import masked
from bulkmig.report import Report
from bulkmig.selection import Selection


class Call(Struct, frozen=True):
    """What a verb gets: settings in force and where each is from (flag, environment, file; nothing: the
    default), the selection if the verb takes one, and how to print."""

    settings: Settings
    selection: Selection | None
    json: bool
    quiet: bool
    reveal: bool
    log_format: str
    log_level: str
    origins: dict[str, str]
    dashboard: str | None = None
    yes: bool = False

    @property
    def selected(self) -> Selection:
        assert self.selection is not None
        return self.selection

    def tell(self, report: Report, *, next_command: str = "") -> None:
        """How a run went: its document, or a summary for people; and what ended it before its end."""
        if self.json:
            output.document(report.document())
        else:
            from bulkmig.cli import summary  # draws, see `output`

            summary.show(report, next_command=next_command)
        if report.error:
            output.say(BulkmigError(report.error, report.hint))


def verb(*groups: dict[str, tuple[Any, Any]]) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Gives a function the options of some groups: it is called with a `Call` and its own parameters, and
    returns the exit status."""

    def decorate(function: Callable[..., int]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = {name: spec for group in groups for name, spec in group.items()}

        def command(context: typer.Context, **given: Any) -> None:
            mine = {parameter.name: given.pop(parameter.name) for parameter in own}
            set_by = {name: context.get_parameter_source(name) for name in given}
            from_environment = {name for name, by in set_by.items() if by and by.name == "ENVIRONMENT"}
            call = _call(given, from_environment)
            _caution(call)
            raise typer.Exit(function(call, **mine))

        parameters = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in shared.items()
        ]
        own_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        signature = inspect.Signature([context, *own_only, *parameters])
        command.__signature__ = signature  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        return command

    return decorate


def _call(given: dict[str, Any], from_environment: Collection[str]) -> Call:
    selection = None
    if "imo" in given:
        selection = Selection(
            vessels=tuple(given["vessels"] or ()),
            imo=tuple(given["imo"] or ()),
            company=tuple(given["company"] or ()),
            all=given["all"],
            allow_unapproved=given["allow_unapproved"],
        )
    found, origins = in_force(given, from_environment)
    return Call(
        found, selection, given["json"], given["quiet"], given.get("reveal", False),
        given["log_format"], given["log_level"], origins, given.get("dashboard"),
        given.get("yes", False),
    )  # fmt: skip


def _caution(call: Call) -> None:
    """Says what is legal and ought to be known."""
    for end in ("source", "target"):
        if call.origins.get(end) == "flag":
            caution(call, f"--{end}", getattr(call.settings, end))


def caution(call: Call, given: str, url: str) -> None:
    """Warns of a password in an address of the command line."""
    if not call.quiet and masked(url) != url:
        output.warn(
            f"everyone on this machine can read the password in {given} while the command runs:"
            " use the passfile, the environment, or password_command",
            as_json=call.log_format == "json",
        )
