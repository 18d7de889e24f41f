"""What the dashboard shows now: the board of this process's run, if it has one, and the ledger.

The ledger is asked at most every few seconds, however many look, and less often where its answer takes long:
watching must not cost the run anything."""

from __future__ import annotations

import re
import time
from typing import Any

import anyio
import asyncpg

from bulkmig.config import Settings
from bulkmig.errors import BulkmigError
from bulkmig.ledger import schema
from bulkmig.monitor import history, view
from bulkmig.monitor.board import Board
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import TARGET, Connection, close, connect
from bulkmig.preflight import address

FRESH = 2.0  # seconds that an answer of the ledger is good for
MOST_SHARE = 0.05  # of the time that its queries may take

_ID = re.compile("[0-9a-fA-F-]{1,36}")  # of a run, or how that begins
_FAILURES = (BulkmigError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
_LOOK = {**TARGET, "default_transaction_read_only": "on", "application_name": "bulkmig dashboard"}
_NOTHING: dict[str, Any] = {"quarantine": [], "conflicts": [], "checkpoints": [], "audit": [], "counts": {}}


class Feed:
    """Belongs to one event loop. `board`: the run of this process."""

    def __init__(self, settings: Settings, board: Board | None = None) -> None:
        self.settings, self.board = settings, board
        self._connection: Connection | None = None
        self._lock = anyio.Lock()
        self._ledger: dict[str, Any] = {"runs": [], **_NOTHING}
        self._latest: dict[str, Any] = {}  # where there is no board: the newest run
        self._findings: list[dict[str, Any]] = []  # of the board's run
        self._asked = float("-inf")
        self._took = 0.0
        self.error = ""

    async def now(self) -> dict[str, Any]:
        """Everything that the page shows: the run at work, or else the newest one, and the ledger."""
        await self._refresh()
        # Before the first event of this process's run there is nothing of it to show.
        live = view.of_board(self.board) if self.board is not None and self.board.run_id else None
        return {
            "live": live is not None,
            "error": self.error,
            "run": None,
            "vessels": [],
            "timeline": [],
            "failures": [],
            "findings": self._findings if live else [],
            **(live or self._latest),
            "ledger": self._ledger,
        }

    async def run(self, run_id: str) -> dict[str, Any] | None:
        """A run of the ledger; None where there is none, and where `error` says why it can't be looked up."""
        if _ID.fullmatch(run_id) is None:  # a text that a server refuses is no error of the ledger
            return None
        async with self._lock:
            try:
                connection = await self._open()
                found = await history.run(connection, run_id) if connection is not None else None
                self.error = ""
            except _FAILURES as error:
                self.error = f"the ledger can't be read: {describe(error)}"
                return None
            return found

    async def is_well(self) -> bool:
        """Whether the ledger can be read."""
        await self._refresh()
        return not self.error

    async def close(self) -> None:
        if self._connection is not None:
            await close(self._connection)

    async def _refresh(self) -> None:
        async with self._lock:
            if time.monotonic() - self._asked < max(FRESH, self._took / MOST_SHARE):
                return
            self._asked = time.monotonic()
            try:
                await self._read()
                self.error = ""
            except _FAILURES as error:
                self.error = f"the ledger can't be read: {describe(error)}"
            self._took = time.monotonic() - self._asked

    async def _read(self) -> None:
        connection = await self._open()
        if connection is None:
            return
        runs = await history.runs(connection)
        self._ledger = {"runs": runs, **await history.records(connection)}
        if self.board is not None and self.board.run_id:
            # The board knows everything else of it, and sooner.
            self._findings = await history.findings(connection, self.board.run_id)
        elif runs:
            self._latest = await history.run(connection, runs[0]["id"]) or {}

    async def _open(self) -> Connection | None:
        """A session on the target; None where there is no ledger yet, or one of another version."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(address(self.settings, "target"), _LOOK, role="target")
        newest = schema.migrations()[-1][0]
        return self._connection if await schema.version(self._connection) == newest else None
