"""Who listens to a run that the command line starts: a terminal or lines, and the dashboard."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bulkmig.cli import lines
from bulkmig.cli.call import Call
from bulkmig.events import Event, Listener, RunStarted, Unencrypted
from bulkmig.monitor import serve
from bulkmig.monitor.board import Board
from bulkmig.security import keys


@contextmanager
def watching(call: Call) -> Iterator[Listener]:
    """On a terminal the run is drawn; elsewhere, or as the options have it, each event is a line. The
    dashboard is served besides where it was asked for."""
    board = Board()
    with ExitStack() as stack:
        if call.dashboard is not None:
            where = serve.place(call.dashboard)
            url = stack.enter_context(serve.serving(where, call.settings, board))
            sys.stderr.write(f"dashboard: {url}\n")
        if _draws(call):
            from rich.console import Console

            from bulkmig.cli import progress

            console = Console(stderr=True, highlight=False)
            drawn = _cautioning(call, stack.enter_context(progress.shown(console, board)))
            yield all_of(board.hear, drawn)
        else:
            said = _cautioning(
                call, lines.listener(log_format=call.log_format, log_level=call.log_level, quiet=call.quiet)
            )
            yield all_of(board.hear, said) if call.dashboard is not None else said


def _cautioning(call: Call, listen: Listener) -> Listener:
    """Tells, once a run that writes has started, that nothing of it will be encrypted."""

    def hear(event: Event) -> None:
        listen(event)
        writes = isinstance(event, RunStarted) and event.command in ("migrate", "sync")
        if writes and not call.settings.dry_run and not keys.from_settings(call.settings):
            listen(Unencrypted())

    return hear


def all_of(*listeners: Listener) -> Listener:
    """One listener that is several."""

    def hear(event: Event) -> None:
        for listen in listeners:
            listen(event)

    return hear


def _draws(call: Call) -> bool:
    wants_lines = call.quiet or call.log_format == "json" or call.log_level in ("debug", "error")
    return sys.stderr.isatty() and not wants_lines
