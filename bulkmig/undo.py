"""`--rollback-on-error`: vessels that fail their verification go back to what they were before the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import uuid4

import asyncpg
from msgspec import Struct

from bulkmig import shown
from bulkmig._version import __version__
from bulkmig.checkpoint import back, changes
from bulkmig.checkpoint.back import Back, Refused
from bulkmig.checkpoint.restore import Restored
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.checkpoint.way import Way
from bulkmig.ends import Ends
from bulkmig.errors import BulkmigError, CheckpointError
from bulkmig.ledger import audit, runs, write
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import DURABLE, Connection, close, reach, transaction
from bulkmig.postgres.transient import transient
from bulkmig.selection import Vessel
from bulkmig.verified import Deviation

_COMMAND = "rollback"
# Rows of this entity can wait for other vessels, so more or fewer of them are in the target afterwards.
_WAITING = "SELECT count(*) FROM bulkmig.pending"


class Undone(Struct, frozen=True):
    """A vessel that went back, or could not: then `back` is None. `error`: what is to be said of it."""

    vessel: Vessel
    error: str
    back: Back | None


def cause(first: Deviation) -> str:
    """The first difference of a vessel in words, without its values."""
    where = f"{first.table} {first.id}" + (f", {first.field}" if first.field else "")
    return f"the verification found that {where} is not as expected"


class Undo(Struct):
    """Takes a run's changes to single vessels back. What was done by an earlier call that broke off is found
    done, so `vessels` may be called again."""

    ends: Ends
    run_id: str
    operator: str
    snapshot: str

    async def vessels(
        self, wrong: Sequence[tuple[Vessel, Deviation]], known: Mapping[str, Vessel]
    ) -> tuple[list[Undone], int]:
        """Rolls these vessels back, each because of its first difference, and with it those of the run
        (`known`) that changed in the same commit; and how many rows wait for others now, in the whole
        target."""
        # A session of its own: a rollback is a run of its own, with checkpoints of its own.
        connection = await reach(
            self.ends.target_address, DURABLE, role="target", patience=self.ends.patience
        )
        try:
            own = Checkpoints(str(uuid4()))
            way = await Way.open(connection, own, audit.who(self.operator))
            await runs.begin(
                connection,
                own.run_id,
                _COMMAND,
                operator=self.operator,
                selection=f"--rollback-on-error of run {self.run_id}",
                version=__version__,
            )
            undone: list[Undone] = []
            for vessel, first in wrong:
                if all(one.vessel.id != vessel.id for one in undone):
                    undone += await self._one(way, vessel, first, known)
            status = "completed" if all(one.back is not None for one in undone) else "completed_with_failures"
            await runs.end(connection, own.run_id, status, {"command": _COMMAND, "undoes": self.run_id})
            return undone, await connection.fetchval(_WAITING)
        finally:
            await close(connection)

    async def _one(
        self, way: Way, vessel: Vessel, first: Deviation, known: Mapping[str, Vessel]
    ) -> list[Undone]:
        why = await shown.in_text(way.connection, cause(first))
        try:
            done, group = await self._go_back(way, vessel)
            undone = [Undone(vessel, why, done)]
            also = f"vessel {vessel.id}, which changed in the same commit, was rolled back"
            undone += [Undone(known[id_], also, Back(Restored())) for id_ in sorted(group & known.keys())]
            for one in undone:
                await self._mark(way.connection, way.who, one.vessel, one.error)
            return undone
        except Refused as refused:
            held = f"others changed {len(refused.drift)} of its rows since: see `bulkmig checkpoints list`"
        except (asyncpg.PostgresError, BulkmigError) as error:
            if transient(error):
                raise
            said = describe(error) if not isinstance(error, CheckpointError) else str(error)
            held = await shown.in_text(way.connection, said)
        return [Undone(vessel, f"{why}; it could not be rolled back: {held}", None)]

    async def _go_back(self, way: Way, vessel: Vessel) -> tuple[Back, set[str]]:
        """What was done, and the other vessels that it was done with. Raises Refused, CheckpointError."""
        chain = await changes.find(way.connection, "c.vessel_id = $1::text::uuid", vessel.id)
        change = next((one for one in chain if one.run_id == self.run_id), None)
        if change is None:
            raise CheckpointError(
                "this run has changed nothing of it", "see `bulkmig checkpoints list` for earlier runs"
            )
        if chain[-1].restored == change.id:  # it was committed, and the answer was lost
            group = await changes.joined(way.connection, change)
            done = Back(Restored(), group, [chain[-1].id])
        else:
            done = await back.go_back(way, change, force=False, as_written=True)
        return done, {str(one.vessel_id) for one in done.targets} - {vessel.id}

    async def _mark(self, connection: Connection, who: audit.Who, vessel: Vessel, why: str) -> None:
        async with transaction(connection):
            await write.mark(
                connection,
                who,
                self.run_id,
                vessel.id,
                vessel.name,
                state="failed",
                phase="verify",
                rows=0,
                seconds=0.0,
                error=why,
                snapshot=self.snapshot,
            )
