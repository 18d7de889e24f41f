"""The steps of a sync that companies and users take: before the vessels, and after them."""

from __future__ import annotations

import polars as pl

from bulkmig.decide import users
from bulkmig.entities import FLEET
from bulkmig.fleet.companies import write_late_users
from bulkmig.fleet.run import Run
from bulkmig.ledger import base, seen
from bulkmig.ledger.write import NIL
from bulkmig.sync import shared
from bulkmig.sync.detect import naming
from bulkmig.sync.record import BRAKE
from bulkmig.sync.rules import Rules
from bulkmig.target.state import TargetState

_STAYING = "SELECT source_id::text FROM bulkmig.retained WHERE entity = 'company' AND reason <> 'brake'"
# Companies of these users, and those of these companies that are there.
_COMPANIES = """
SELECT company_id::text AS id FROM users WHERE id = ANY ($1::text[]::uuid[])
 UNION SELECT id::text FROM companies WHERE id = ANY ($2::text[]::uuid[])
"""
# What was found of users who came after all.
_UNTRUE = """
DELETE FROM bulkmig.findings
 WHERE run_id = $1::text::uuid AND entity = 'user' AND code = $2 AND source_id = ANY ($3::text[]::uuid[])
"""


class Companies:
    """Companies and users of a sync. `gone`: entity -> source ids of those that the source has no more;
    `came`: users (source ids) who are in the target since others went."""

    def __init__(self, run: Run, rules: Rules) -> None:
        self.run, self.rules = run, rules
        self.gone: dict[str, set[str]] = {of.name: set() for of in FLEET}
        self.came: set[str] = set()
        self._before: dict[str, pl.DataFrame] | None = None  # as they were last written
        self._going: set[str] = set()  # users who will be deleted (target ids)
        self._went = False  # whether any were
        self._out: set[str] = set()  # whose e-mails others had until then (source ids)
        self._waiting: set[str] = set()  # those of them who are not in the target

    async def due(self, state: TargetState) -> set[str]:
        """Companies that are in the target, and those that users who were written have moved to."""
        known = set(state.identities.get("company", ()))
        staff = await self._written("user") if state.ledger else []
        rows = await self.run.ends.holder.fetch(_COMPANIES, staff, list(known))
        return {row["id"] for row in rows}

    async def emails(self, due: pl.DataFrame) -> dict[str, str]:
        """What users who are loaded will have for e-mails."""
        if not due.height:
            return {}
        return await shared.emails(self.run.ends.target, due, await self._read_written(), self.rules)

    async def look_for_gone(self) -> None:
        """Users and companies that the source has no more."""
        for of in FLEET:
            self.gone[of.name] = set(await self._written(of.name)) - self.run.fleet.there[of.name]
        self._before = None  # they change from now on

    async def change(self) -> None:
        """Companies and users that are in the target already, and users who could not come before that."""
        options = self.run.options()
        target = self.run.ends.target
        done = await shared.change(target, self.run.fleet, options, self.rules)
        done.count_into(self.run.report)
        await write_late_users(self.run)
        _, held = await self._held()
        self._going = await shared.going(target, self.gone["user"] - held, options, self.rules)
        await self._refer_to_none_but_present()

    async def _refer_to_none_but_present(self) -> None:
        """Nothing refers to users who are gone from the source, or whom the portal deleted, from now on."""
        decisions = self.run.fleet.decisions
        known = decisions.identity("user")
        there = await self.run.ends.target.fetch(
            "SELECT id::text FROM users WHERE id = ANY ($1::text[]::uuid[])", known["target_id"].to_list()
        )
        left = pl.col("target_id").is_in([row["id"] for row in there]) | pl.lit(self.run.settings.dry_run)
        decisions.identities["user"] = known.filter(left, ~pl.col("target_id").is_in(self._going))

    async def delete(self) -> None:
        """Deletes them, as far as nothing of the portal's refers to them; the brake holds where a company is
        gone whole."""
        target, gone = self.run.ends.target, self.gone
        whole, held = await self._held()
        if whole:
            self.run.report.held_back += len(held) + len(whole)
            self.run.report.findings["warning", BRAKE] += 1
            gone = {"company": gone["company"] - whole, "user": gone["user"] - held}
        if any(gone.values()):
            done = await shared.delete(target, gone, self.run.options(), self.rules)
            done.count_into(self.run.report)
            self._went = self._went or done.deleted["users"] > 0

    async def let_in(self) -> None:
        """Writes users who wait for e-mails of users who went just now. The vessels that name those who came
        are left to the next sync, unless this one gets to them."""
        run, target = self.run, self.run.ends.target
        if not self._went or run.settings.dry_run or run.ends_early or run.decide_again is None:
            return
        if not self._out:  # where this is done a second time, they may be decided about already
            out = {user for user, code in run.fleet.decisions.emails.items() if code == users.TAKEN}
            self._out, self._waiting = out, out - run.fleet.present.get("user", frozenset())
        if not self._out:
            return
        await seen.forget(target, {vessel for vessel, _ in await naming(run.ends.holder, self._waiting)})
        await run.decide_again()
        done = await shared.change(target, run.fleet, run.options(), self.rules)
        done.unchanged.clear()  # they were counted
        done.count_into(run.report)
        await write_late_users(run)
        await self._refer_to_none_but_present()
        self.came = self._waiting.intersection(run.fleet.decisions.identity("user")["source_id"])
        await target.execute(_UNTRUE, run.report.run_id, users.TAKEN, sorted(self.came))
        run.report.findings["warning", users.TAKEN] -= len(self.came)

    async def _held(self) -> tuple[set[str], set[str]]:
        """Companies that are gone whole, where the brake holds them, and their users (source ids)."""
        gone, target = self.gone, self.run.ends.target
        if not gone["company"] or self.run.settings.allow_deletions:
            return set(), set()
        # What stays on purpose was gone before, and let go of.
        whole = gone["company"] - {row[0] for row in await target.fetch(_STAYING)}
        return whole, await shared.of_companies(target, gone["user"], whole)

    async def _written(self, of: str) -> list[str]:
        """The companies or users that bulkmig had written before this run (source ids)."""
        before = await self._read_written()
        return before[of]["source_id"].to_list() if of in before else []

    async def _read_written(self) -> dict[str, pl.DataFrame]:
        if self._before is None:
            self._before = await base.read_each(self.run.ends.target, [NIL], [of.name for of in FLEET])
        return self._before
