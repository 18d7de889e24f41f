"""What every rollback of a run shares."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bulkmig.checkpoint import parts
from bulkmig.checkpoint.changes import Change
from bulkmig.checkpoint.stage import Stage
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.ledger import audit
from bulkmig.postgres.session import Connection
from bulkmig.target.graph import Graph


class Way(Struct):
    """The session, its stages, and the run's own checkpoints."""

    connection: Connection
    checkpoints: Checkpoints
    vessels: Stage
    companies: Stage
    who: audit.Who
    graph: Graph

    @classmethod
    async def open(cls, connection: Connection, checkpoints: Checkpoints, who: audit.Who) -> Way:
        """Reads what hangs together in the target and creates the temporary tables."""
        graph = await checkpoints.read_graph(connection)
        way = cls(
            connection,
            checkpoints,
            Stage(connection, graph.vessels, "v"),
            Stage(connection, graph.companies, "c"),
            who,
            graph,
        )
        await way.vessels.open()
        await way.companies.open()
        return way

    async def read(self, some: Sequence[Change], role: parts.Role) -> parts.Parts:
        """What these changes' checkpoints hold in this role, one after the other."""
        for change in some:
            if change.parts:
                async for part in parts.read(self.connection, change, [role]):
                    yield part

    async def record(self, summary: str, *, forced: bool, vessel: str | None = None) -> None:
        """Tells the audit log of a way back, in its transaction. `forced`: rows of others were given up."""
        await audit.entry(
            self.connection,
            self.who,
            "forced" if forced else "rolled back",
            summary,
            run_id=self.checkpoints.run_id,
            vessel_id=vessel,
        )
