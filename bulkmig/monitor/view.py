"""The board as the page and the JSON interface have it: the same form that `history.run` gives a run of the
ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bulkmig.monitor.board import Board, Seen


def of_board(board: Board) -> dict[str, Any]:
    """A run at work."""
    with board.lock:
        now = board.timeline.now
        ended = {state: n for state, n in board.counts.items() if state not in ("waiting", "running")}
        return {
            "run": {
                "id": board.run_id,
                "command": board.command,
                "status": board.status,
                "phase": board.phase,
                "started_at": datetime.fromtimestamp(board.began, UTC).isoformat(),
                "finished_at": datetime.fromtimestamp(board.ended, UTC).isoformat() if board.ended else None,
                "seconds": board.seconds,
                "left": board.estimate.left,
                "share": board.estimate.share,
                "selected": len(board.vessels) + board.skipped,
                "done": sum(n for state, n in ended.items() if state not in ("skipped", "failed")),
                "skipped": ended.get("skipped", 0) + board.skipped,
                "failed": ended.get("failed", 0),
                "rows": board.rows,
                "rate": board.timeline.rate() if board.status == "running" else 0.0,
                "average_seconds": board.average_seconds,
                "warnings": board.warnings,
                "quarantined": board.quarantined,
                "verified": board.verified,
                "differences": board.differences,
                "retries": board.retries,
                "in_flight": now.in_flight,
                "resident": now.resident,
                "bound": board.bound,
            },
            "vessels": [_vessel(seen) for seen in board.vessels.values()],
            "timeline": [*board.timeline.document(), list(now)],
            "failures": [
                {"at": t.at, "kind": t.kind, "what": t.what, "cause": t.cause} for t in board.troubles
            ],
        }


def _vessel(seen: Seen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "name": seen.name,
        "imo_number": seen.imo_number,
        "state": seen.state,
        "phase": seen.phase,
        "active": seen.active,
        "since": seen.since,
        "rows": seen.rows,
        "seconds": seen.seconds,
        "error": seen.error,
        "differences": seen.differences,
        "spent": {phase: round(seconds, 3) for phase, seconds in seen.spent.items()},
    }
