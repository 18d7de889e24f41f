"""What a terminal shows of a run at work: a few lines, drawn again and again, below what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bulkmig.cli.output import plain
from bulkmig.config import MEBIBYTE
from bulkmig.events import (
    Event,
    Listener,
    Retrying,
    RunStarted,
    Unencrypted,
    VesselFailed,
    VesselUndone,
    VesselVerified,
)
from bulkmig.monitor.board import Board, Seen

SHOWN = 6  # vessels under way; of more only the number
PER_SECOND = 4
PHASES = {"extract": "cyan", "load": "blue", "commit": "green", "verify": "magenta"}


@contextmanager
def shown(console: Console, board: Board) -> Iterator[Listener]:
    """Draws a board on a terminal until the block ends, and notes above it what goes wrong; that is all that
    is left in the end."""
    with Live(View(board), console=console, refresh_per_second=PER_SECOND, transient=True) as live:

        def hear(event: Event) -> None:
            note = _note(event)
            if note is not None:
                live.console.print(note)

        yield hear


def _note(event: Event) -> Text | None:
    """What stays on the screen."""
    match event:
        case RunStarted():
            skipped = f", {event.skipped:,} skipped" if event.skipped else ""
            what = f"run {event.run_id}" if event.run_id else event.command
            return Text(f"{what}: {event.vessels:,} vessels{skipped}", style="dim")
        case VesselFailed():
            return _line(
                "✗", "bold red", f"{event.name or event.vessel_id} failed ({event.phase})", event.error
            )
        case Unencrypted():
            return _line(
                "!", "yellow", "no key", "what the ledger keeps of rows lies in the clear: --key-file"
            )
        case VesselUndone():
            return _line("!", "yellow", event.name, "undone by a crash of the target; it is loaded again")
        case VesselVerified() if event.differences:
            return _line("✗", "bold red", event.name, f"{event.differences:,} differences")
        case Retrying():
            return _line("!", "yellow", f"{event.what}, attempt {event.attempt}", event.cause)
    return None


def _line(mark: str, style: str, what: str, why: str) -> Text:
    return Text.assemble((f"{mark} ", style), (plain(what).plain, "bold"), ": ", plain(why).plain)


class View:
    """The board as lines of text, as wide as the terminal but no wider than 100 columns."""

    def __init__(self, board: Board) -> None:
        self.board = board

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, 100)
        with self.board.lock:
            lines = [*_head(self.board, width), *_vessels(self.board, width), *_foot(self.board)]
        for line in lines:
            if isinstance(line, Text):
                line.truncate(width, overflow="ellipsis")
            yield line


def _head(board: Board, width: int) -> Iterator[Text | Table]:
    ended = sum(n for state, n in board.counts.items() if state not in ("waiting", "running"))
    of = len(board.vessels)
    number = (
        f"{board.verified:,} of {of:,} verified" if board.phase == "verification" else f"{ended:,} of {of:,}"
    )
    left = board.estimate.left
    yield _both_ends(
        Text.assemble((board.command, "bold"), " ", board.phase),
        f"{_clock(board.seconds)} + about {_clock(left)}" if left is not None else _clock(board.seconds),
        width,
    )
    share = board.estimate.share
    yield _both_ends(
        ProgressBar(total=1.0, completed=share, width=max(width - len(number) - 8, 10)),
        f"{share:4.0%}  {number}",
        width,
    )


def _vessels(board: Board, width: int) -> Iterator[Text]:
    active = board.active
    for seen in active[:SHOWN]:
        yield _vessel(board, seen, width)
    if len(active) > SHOWN:
        yield Text(f"  … and {len(active) - SHOWN:,} more under way", style="dim")


def _vessel(board: Board, seen: Seen, width: int) -> Text:
    seconds = max(board.began + board.seconds - seen.since, 0.0)
    name = plain(seen.name)
    name.truncate(width - 24, overflow="ellipsis", pad=True)
    return Text.assemble(
        "  ▸ ", name, " ", (f"{seen.phase:<8}", PHASES.get(seen.phase, "")), f"{seconds:8.1f} s"
    )


def _foot(board: Board) -> Iterator[Text]:
    now = board.timeline.now
    used, bound = now.in_flight // MEBIBYTE, board.bound // MEBIBYTE
    gauge = _gauge(now.in_flight / (board.bound or 1))
    yield Text(
        f"{board.rows:,} rows, {board.timeline.rate():,.0f}/s · memory {gauge} {used:,} of {bound:,} MB",
        style="dim",
    )
    troubles = (
        (board.counts["failed"], "failed", "bold red"),
        (board.differences, "differences", "bold red"),
        (board.quarantined, "rows quarantined", "yellow"),
        (board.retries, "retries", "yellow"),
    )
    if said := [Text(f"{number:,} {what}", style=style) for number, what, style in troubles if number]:
        yield Text(" · ").join(said)


def _both_ends(left: Text | ProgressBar, right: str, width: int) -> Table:
    grid = Table.grid(expand=False)
    grid.width = width
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(left, Text(right))
    return grid


def _gauge(share: float) -> str:
    full = round(min(max(share, 0.0), 1.0) * 8)
    return "▮" * full + "▯" * (8 - full)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
