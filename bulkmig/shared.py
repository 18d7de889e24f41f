"""Companies and their users: written once, before any vessel, so that vessels may run in any order."""

from __future__ import annotations

from collections import Counter

import asyncpg
import polars as pl
from msgspec import Struct, field

from bulkmig._core.frames import from_csv
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.decide.fleet import Fleet
from bulkmig.encode import base, table_loads
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import runs, write
from bulkmig.ledger.locks import LOCK
from bulkmig.orphans import Orphans
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import Connection, transaction
from bulkmig.postgres.transient import transient
from bulkmig.target.postgres import copy_in, upsert
from bulkmig.transform import GOES_WITH, Outcome, quarantine

_LISTED = "SELECT entity, source_id::text FROM bulkmig.quarantine WHERE vessel_id IS NULL"
USER_REFUSED = "user.refused"
REFUSED = "company.refused"  # the target's own refusal of a company, as its code


class Shared(Struct):
    """The fleet-wide rows of a run that are not in the target yet.

    `failures`: company source id -> why the target refused it. `before`: what the run has written of them
    under an earlier snapshot; what was found then is not told again."""

    fleet: Fleet
    before: Shared | None = None
    inserted: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    def new(self, outcome: Outcome) -> pl.DataFrame:
        """The image rows that are to be written."""
        present = list(self.fleet.present.get(outcome.entity.name, ()))
        image = outcome.image.filter(~pl.col("source_id").is_in(present))
        return image.filter(~pl.col("source_id").is_in(list(self.fleet.late)))

    def _late(self, outcome: Outcome) -> pl.DataFrame:
        return outcome.image.filter(pl.col("source_id").is_in(list(self.fleet.late)))

    async def load_late(self, connection: Connection, checkpoints: Checkpoints) -> None:
        """Writes users who could not be written before others had changed their e-mails."""
        async with transaction(connection):
            await self._load(connection, checkpoints, [self._late(outcome) for outcome in self.fleet.shared])

    async def bring(self, connection: Connection, wanted: set[str], brought: set[str]) -> None:
        """Writes the companies with these target ids, or of users with these, and all users of each, in the
        caller's transaction. `brought`: target ids of companies that are in it already."""
        companies, users = (self.new(outcome) for outcome in self.fleet.shared)
        employers = users.filter(pl.col("@id").is_in(list(wanted)))["users.company_id"]
        missing = list(wanted.union(employers) - brought)
        brought.update(missing)
        parts = (
            companies.filter(pl.col("@id").is_in(missing)),
            users.filter(pl.col("users.company_id").is_in(missing)),
        )
        for outcome, image in zip(self.fleet.shared, parts, strict=True):
            await self._write(connection, outcome, image)

    async def _write(self, connection: Connection, outcome: Outcome, image: pl.DataFrame) -> None:
        decisions, entity = self.fleet.decisions, outcome.entity
        taken_over = [i for of, i in decisions.adopted if of == entity.name]
        adopted = pl.col("source_id").is_in(taken_over)
        for load in table_loads(entity, image.filter(~adopted)):
            if load.rows:
                await copy_in(connection, load.table, load.columns, load.data)
                self.inserted[load.table] += load.rows
        for load in table_loads(entity, image.filter(adopted)):
            if load.rows:
                frame = from_csv(load.data, load.columns)
                await upsert(connection, load.table, load.key, frame, decisions.catalogue)
                self.updated[load.table] += load.rows

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Rows per table that are to be inserted, and those that are to be taken over."""
        inserted: Counter[str] = Counter()
        updated: Counter[str] = Counter()
        for outcome in self.fleet.shared:
            image = pl.concat([self.new(outcome), self._late(outcome)])
            adopted = {i for of, i in self.fleet.decisions.adopted if of == outcome.entity.name}
            taken_over = sum(source_id in adopted for source_id in image["source_id"])
            for table in outcome.entity.tables:
                inserted[table.name] += image.height - taken_over
                updated[table.name] += taken_over
        return inserted, updated

    async def load(
        self,
        connection: Connection,
        checkpoints: Checkpoints,
        nowhere: list[Orphans] | None,
        seen: str,
    ) -> None:
        """Writes and records everything in one transaction; where the target refuses a company, each one in
        its own, so that only that company's vessels fail. `nowhere`: None where no one looked for it.
        `seen`: the source's snapshot, by which the run finds out whether a commit has happened."""
        before = self.inserted.copy(), self.updated.copy()
        try:
            async with transaction(connection):
                await self._load(
                    connection, checkpoints, [self.new(outcome) for outcome in self.fleet.shared]
                )
                await self._record(connection, checkpoints, nowhere)
                await runs.set_snapshot(connection, checkpoints.run_id, seen)
        except asyncpg.PostgresError as error:
            self.inserted, self.updated = before
            if transient(error):
                raise
            await self._load_one_by_one(connection, checkpoints)
            async with transaction(connection):
                await self._record(connection, checkpoints, nowhere)
                await runs.set_snapshot(connection, checkpoints.run_id, seen)

    async def _record(
        self, connection: Connection, checkpoints: Checkpoints, nowhere: list[Orphans] | None
    ) -> None:
        run_id = checkpoints.run_id
        kept_out = any(self.quarantined(outcome).height for outcome in self.fleet.shared)
        listed = {tuple(row) for row in await connection.fetch(_LISTED)}
        if kept_out or nowhere or listed:
            # What is quarantined of no vessel goes back with the companies, though none may be new.
            await checkpoints.of_companies(connection, self._companies())
        for outcome in self.fleet.shared:
            await write.findings(connection, run_id, [self._not_present(outcome, outcome.findings)])
            await write.quarantine(connection, run_id, [self.quarantined(outcome)])
            await self._release(connection, outcome, listed)
        for rows in nowhere or ():
            await write.findings(connection, run_id, [rows.findings])
            await write.quarantine(connection, run_id, [rows.quarantined])
        for entity in PER_VESSEL if nowhere is not None and listed else ():
            if entity.through is not None:
                await write.left_quarantine(connection, run_id, [], entity.name)

    async def _release(self, connection: Connection, outcome: Outcome, listed: set[tuple[str, ...]]) -> None:
        """Loaded rows that are sound again are no longer listed."""
        name = outcome.entity.name
        loaded = {source_id for of, source_id in listed if of == name}
        loaded &= self.fleet.present.get(name, set())
        sound = outcome.image.filter(pl.col("source_id").is_in(list(loaded)))["source_id"].to_list()
        if sound:
            await write.release(connection, name, sound)

    def _not_present(self, outcome: Outcome, frame: pl.DataFrame) -> pl.DataFrame:
        present = list(self.fleet.present.get(outcome.entity.name, ()))
        frame = frame.filter(~pl.col("source_id").is_in(present)) if present else frame
        if self.before is None:
            return frame
        said = next(o.findings for o in self.before.fleet.shared if o.entity is outcome.entity)
        return frame.join(said, on=["code", "source_id", "field"], how="anti", maintain_order="left")

    def quarantined(self, outcome: Outcome) -> pl.DataFrame:
        """Rows to be quarantined. With `--on-error fail` a company with an error just fails its vessels, and
        its users share its fate; a user's own error or e-mail quarantines that user in both modes."""
        rows = outcome.quarantined
        decisions = self.fleet.decisions
        if decisions.on_error == "quarantine" or not decisions.companies_out:
            return rows
        if outcome.entity.name == "company":
            return rows.clear()
        return rows.filter(pl.col("message") != GOES_WITH)

    def findings(self) -> list[pl.DataFrame]:
        """Findings of the rows that this run looks at: those that are not in the target yet."""
        return [self._not_present(outcome, outcome.findings) for outcome in self.fleet.shared]

    async def _load(
        self, connection: Connection, checkpoints: Checkpoints, images: list[pl.DataFrame]
    ) -> None:
        """Writes these rows in the caller's transaction."""
        decisions, run_id = self.fleet.decisions, checkpoints.run_id
        # Another run may be at it: after its commit, what it wrote is not written again.
        await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
        await self._record_assignments(connection, run_id)
        for outcome, all_new in zip(self.fleet.shared, images, strict=True):
            image = await self._not_written_since(connection, outcome, all_new)
            if not image.height:
                continue
            checkpoint = await checkpoints.of_companies(connection, self._companies())
            await self._write(connection, outcome, image)
            name = outcome.entity.name
            rows = [
                (source, target, (name, source) in decisions.adopted)
                for source, target in image.select("source_id", "@id").iter_rows()
            ]
            await write.identities(connection, run_id, name, rows)
            await write.release(connection, name, image["source_id"].to_list())
            await write.base(
                connection,
                run_id,
                write.NIL,
                [(name, image.height, base(outcome.entity, image))],
                checkpoint=checkpoint,
            )

    def _companies(self) -> list[str]:
        """Target ids of the companies that rows are written of."""
        companies, users = (
            pl.concat([self.new(outcome), self._late(outcome)]) for outcome in self.fleet.shared
        )
        return sorted({*companies["@id"], *users["users.company_id"].drop_nulls()})

    async def _not_written_since(
        self, connection: Connection, outcome: Outcome, image: pl.DataFrame
    ) -> pl.DataFrame:
        if not image.height:
            return image
        rows = await connection.fetch(
            "SELECT source_id::text FROM bulkmig.identities"
            " WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[])",
            outcome.entity.name,
            image["source_id"].to_list(),
        )
        written = {row[0] for row in rows} - self.fleet.present.get(outcome.entity.name, frozenset())
        written -= self.fleet.former.get(outcome.entity.name, frozenset())  # these are written anew
        return image.filter(~pl.col("source_id").is_in(list(written))) if written else image

    async def _record_assignments(self, connection: Connection, run_id: str) -> None:
        for name, found in self.fleet.ids.items():
            rows = [(source_id, target_id, False) for source_id, target_id in found.items()]
            await write.identities(connection, run_id, name, rows)
        await connection.executemany(
            "INSERT INTO bulkmig.slugs (company_id, slug) VALUES ($1::text::uuid, $2) ON CONFLICT DO NOTHING",
            list(self.fleet.slugs.items()),
        )
        await connection.executemany(
            "INSERT INTO bulkmig.qr_codes (equipment_id, qr_code) VALUES ($1::text::uuid, $2)"
            " ON CONFLICT DO NOTHING",
            list(self.fleet.qr_codes.items()),
        )

    async def _load_one_by_one(self, connection: Connection, checkpoints: Checkpoints) -> None:
        companies, users = (self.new(outcome) for outcome in self.fleet.shared)
        owner = dict(self.fleet.decisions.identity("company").iter_rows())
        for company in sorted(set(owner)):
            own = companies.filter(pl.col("source_id") == company)
            staff = users.filter(pl.col("users.company_id") == owner[company])
            if not own.height and not staff.height:
                continue
            try:
                await self._load_alone(connection, checkpoints, [own, staff])
            except asyncpg.PostgresError as error:
                if transient(error):
                    raise
                await self._load_member_by_member(connection, checkpoints, company, own, staff)

    async def _load_member_by_member(
        self,
        connection: Connection,
        checkpoints: Checkpoints,
        company: str,
        own: pl.DataFrame,
        staff: pl.DataFrame,
    ) -> None:
        """The company without its users, then each of them; who is refused is quarantined."""
        try:
            await self._load_alone(connection, checkpoints, [own, staff.clear()])
        except asyncpg.PostgresError as error:
            if transient(error):
                raise
            self._give_up(company, describe(error), staff)
            return
        for member in staff.iter_slices(1):
            try:
                await self._load_alone(connection, checkpoints, [own.clear(), member])
            except asyncpg.PostgresError as error:
                if transient(error):
                    raise
                self._refuse(member["source_id"][0], describe(error))

    async def _load_alone(
        self, connection: Connection, checkpoints: Checkpoints, images: list[pl.DataFrame]
    ) -> None:
        before = self.inserted.copy(), self.updated.copy()
        try:
            async with transaction(connection):
                await self._load(connection, checkpoints, images)
        except asyncpg.PostgresError:
            self.inserted, self.updated = before
            raise

    def _refuse(self, user: str, reason: str) -> None:
        decisions = self.fleet.decisions
        decisions.identities["user"] = decisions.identity("user").filter(pl.col("source_id") != user)
        outcome = next(o for o in self.fleet.shared if o.entity.name == "user")
        why = pl.DataFrame({"code": [USER_REFUSED], "message": [f"the target refuses it: {reason}"]})
        entry = quarantine(outcome.entity, outcome.raw.filter(pl.col("id") == user), why)
        outcome.quarantined = pl.concat([outcome.quarantined, entry])
        outcome.image = outcome.image.filter(pl.col("source_id") != user)

    def _give_up(self, company: str, reason: str, staff: pl.DataFrame) -> None:
        decisions = self.fleet.decisions
        self.failures[company] = reason
        users = decisions.identity("user")
        lost = staff["source_id"].to_list()
        decisions.identities["user"] = users.filter(~pl.col("source_id").is_in(lost))
        decisions.companies_out[company] = REFUSED
        for outcome in self.fleet.shared:
            outcome.image = outcome.image.filter(~pl.col("source_id").is_in([company, *lost]))
