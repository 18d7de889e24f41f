"""Small fleets that make a migration execute every statement that it has, with what an undisturbed run makes
of them: what every disturbed run has to end in as well. Personal values in them are canaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import asyncpg

from bulkmig import Selection, Settings, verify
from bulkmig.embedded import Server
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.security.keys import from_settings
from bulkmig.security.seal import Keyring
from tests.support import canaries
from tests.support.aftermath import Bystander, State, checkpoints, ledger, left_behind, look, marks
from tests.support.dumps import apart, dump
from tests.support.programs import Ended, run, sentences
from tests.support.proxy import Proxy
from tests.support.servers import EmbeddedServers
from tests.support.wire import Statement

# One vessel is large enough to stream in several batches of the smallest size, the others come together.
SPEC = FleetSpec(
    seed=31, vessels=5, equipment=(260, 4, 4, 4, 3), parts=1, documents=1, companies=2, users_per_company=3
)
SMALL = ("--memory", "1MB")
SYNC = ("sync", "--all", "--allow-deletions", "--on-error", "quarantine", *SMALL)

# References that end on another vessel, one of them on one that is not approved: it goes on waiting.
_ACROSS = """
INSERT INTO cross_references (id, vessel_id, source_equipment_id, target_equipment_id, reference_type)
SELECT md5(a.id::text || b.id::text)::uuid, a.vessel_id, a.id, b.id, 'FEEDS'
  FROM (SELECT *, row_number() OVER (PARTITION BY vessel_id ORDER BY id) AS n FROM equipment) a
  JOIN (SELECT *, row_number() OVER (PARTITION BY vessel_id ORDER BY id) AS n FROM equipment) b
    ON a.vessel_id <> b.vessel_id AND a.n = 1 AND b.n = 2;
"""
_LEFT_OUT = """
UPDATE vessels SET onboarding_status = 'SUBMITTED'
 WHERE id = (SELECT vessel_id FROM equipment GROUP BY 1 ORDER BY count(*), 1 LIMIT 1);
"""
# Rows for quarantine: equipment without a name, which has a document, parts of nothing, an e-mail twice, a
# reference to nowhere.
_BROKEN = """
UPDATE equipment SET name = ' ' WHERE id IN (
    SELECT DISTINCT ON (vessel_id) id FROM equipment e
     WHERE vessel_id IN (SELECT id FROM vessels WHERE onboarding_status = 'APPROVED' ORDER BY id LIMIT 2)
     ORDER BY vessel_id, id DESC);
UPDATE documents d SET equipment_id = e.id FROM equipment e
 WHERE e.name = ' ' AND d.id = (SELECT min(id::text)::uuid FROM documents WHERE vessel_id = e.vessel_id);
UPDATE users SET email = (SELECT min(email) FROM users) WHERE id = (SELECT max(id::text)::uuid FROM users);
INSERT INTO critical_parts (id, equipment_id, name)
VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002', 'of nothing');
INSERT INTO cross_references (id, vessel_id, source_equipment_id, target_equipment_id, reference_type)
SELECT '00000000-0000-4000-8000-000000000003', vessel_id, id, '00000000-0000-4000-8000-000000000002', 'FEEDS'
  FROM equipment WHERE name <> ' ' ORDER BY id LIMIT 1;
"""
# Two ids with the same first 24 bits of SHA-256: with one code they would share a QR code.
_TWINS = """
INSERT INTO equipment (id, vessel_id, name, code, status)
SELECT ('20000000-0000-4000-8000-00000000' || twin)::uuid, id, 'twin', 'TWIN', 'ACTIVE'
  FROM unnest(ARRAY['3155', '3181']) AS t (twin),
       (SELECT id FROM vessels WHERE onboarding_status = 'APPROVED' ORDER BY id LIMIT 1) AS v;
"""
# A vessel that is not adopted, so that the companies which are not go.
_OF_AN_ADOPTED_COMPANY = """
SELECT i.source_id::text AS id FROM vessels v
  JOIN bulkmig.identities i ON i.entity = 'vessel' AND i.target_id = v.id AND NOT i.adopted
  JOIN bulkmig.identities c ON c.entity = 'company' AND c.target_id = v.company_id AND c.adopted
 ORDER BY 1 LIMIT 1
"""
_THAT_OTHERS_REFER_TO = """
SELECT DISTINCT i.source_id::text AS id FROM cross_references r
  JOIN equipment e ON e.id IN (r.source_equipment_id, r.target_equipment_id)
  JOIN bulkmig.identities i ON i.entity = 'vessel' AND i.target_id = e.vessel_id
 WHERE e.vessel_id <> r.vessel_id ORDER BY 1
"""
# What people did to that fleet since: to a large vessel and three small ones, {v[0]} to {v[3]}, to the large
# one's equipment {e[...]}, and to users {u[...]}.
_CHANGED = """
SET session_replication_role = replica;
UPDATE equipment SET name = name || ' II', updated_at = '2031-01-01'
 WHERE id IN ('{e[10]}', '{e[11]}', '{e[30]}');
DELETE FROM cross_references
 WHERE ARRAY[source_equipment_id, target_equipment_id] && ARRAY(SELECT id FROM equipment WHERE {gone})
   AND vessel_id <> '{v[2]}';
DELETE FROM critical_parts WHERE equipment_id IN (SELECT id FROM equipment WHERE {gone});
DELETE FROM quality_scores WHERE equipment_id IN (SELECT id FROM equipment WHERE {gone});
DELETE FROM quality_scores WHERE vessel_id = '{v[3]}';
DELETE FROM quality_scores WHERE equipment_id = '{e[50]}';
DELETE FROM documents WHERE vessel_id = '{v[3]}';
UPDATE documents SET equipment_id = NULL, updated_at = '2031-01-01'
 WHERE equipment_id IN (SELECT id FROM equipment WHERE {gone}) OR equipment_id = '{e[51]}';
DELETE FROM equipment WHERE {gone};
DELETE FROM locations WHERE vessel_id = '{v[3]}';
DELETE FROM vessels WHERE id = '{v[3]}';
DELETE FROM critical_parts WHERE equipment_id = '{e[52]}';
UPDATE equipment SET vessel_id = '{v[1]}', location_id = NULL, updated_at = '2031-01-01' WHERE id = '{e[40]}';
UPDATE documents SET vessel_id = '{v[1]}' WHERE equipment_id = '{e[40]}';
UPDATE quality_scores SET vessel_id = '{v[1]}' WHERE equipment_id = '{e[40]}';
UPDATE cross_references SET vessel_id = '{v[1]}' WHERE source_equipment_id = '{e[40]}';
CREATE TEMPORARY TABLE two AS SELECT id, imo_number FROM vessels WHERE id IN ('{v[1]}', '{v[2]}');
UPDATE vessels SET imo_number = NULL WHERE id IN (SELECT id FROM two);
UPDATE vessels v SET imo_number = o.imo_number, updated_at = '2031-01-01'
  FROM two m JOIN two o ON o.id <> m.id WHERE v.id = m.id;
UPDATE users SET first_name = 'Kanarie changed', updated_at = '2031-01-01' WHERE id = '{u[0]}';
INSERT INTO users (id, company_id, email, role, created_at, updated_at)
SELECT md5(id::text)::uuid, company_id, email, role, '2031-01-01', '2031-01-01'
  FROM users WHERE id IN ('{u[1]}', '{u[2]}');
DELETE FROM users WHERE id IN ('{u[1]}', '{u[2]}');
UPDATE companies SET name = name || ' II', updated_at = '2031-01-01';
"""
# And what the portal's people did: work on equipment that is gone, names of their own.
_AT_SEA = """
INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)
SELECT '10000000-0000-4000-8000-000000000009', equipment_id, '2030-01-01', 'oil changed'
  FROM equipment_metadata WHERE original_id = '{e[21]}';
UPDATE equipment SET name = 'of the portal', updated_at = '2030-01-01'
 WHERE id IN (SELECT equipment_id FROM equipment_metadata WHERE original_id IN ('{e[22]}', '{e[30]}'));
"""
# A part of each of two vessels, whose equipment is to move to a third one.
_THAT_MOVE = """
SELECT DISTINCT ON (f.id)
       p.id::text AS part, e.id::text AS equipment, f.id::text AS vessel, v.id::text AS other
  FROM critical_parts p JOIN equipment e ON e.id = p.equipment_id AND e.name <> ' '
  JOIN vessels f ON f.id = e.vessel_id AND f.onboarding_status = 'APPROVED'
  JOIN vessels v ON v.id > f.id
   AND v.id = (SELECT id FROM vessels WHERE onboarding_status = 'APPROVED' ORDER BY id DESC LIMIT 1)
 ORDER BY f.id, p.id LIMIT 2
"""
_IN_THE_SOURCE = """
UPDATE critical_parts SET current_stock = 9009, updated_at = '2031-01-01' WHERE id = '{part}';
"""
_IN_THE_PORTAL = """
UPDATE critical_parts SET current_stock = 7007, updated_at = '2030-01-01'
 WHERE equipment_id = (SELECT equipment_id FROM equipment_metadata WHERE original_id = '{equipment}');
"""
_MOVED = """
UPDATE equipment SET vessel_id = '{other}', location_id = NULL, updated_at = '2031-01-01'
 WHERE id = '{equipment}';
UPDATE documents SET vessel_id = '{other}' WHERE equipment_id = '{equipment}';
UPDATE quality_scores SET vessel_id = '{other}' WHERE equipment_id = '{equipment}';
UPDATE cross_references SET vessel_id = '{other}' WHERE source_equipment_id = '{equipment}';
"""
_MENDED = "UPDATE equipment SET name = 'found again' WHERE name = ' '"


async def _row(connection: asyncpg.Connection, query: str, *arguments: object) -> asyncpg.Record:
    row = await connection.fetchrow(query, *arguments)
    assert row is not None
    return row


async def _portal(source: str, target: str) -> None:
    """Rows of the portal that will be adopted: a company, a user, a vessel; and one that has a QR code."""
    here, there = await asyncpg.connect(source), await asyncpg.connect(target)
    try:
        company = await _row(here, "SELECT id, code FROM companies ORDER BY id LIMIT 1")
        user = await _row(
            here, "SELECT * FROM users WHERE company_id = $1 ORDER BY id LIMIT 1", company["id"]
        )
        vessel = await _row(
            here,
            "SELECT * FROM vessels WHERE company_id = $1 AND onboarding_status = 'APPROVED'"
            " ORDER BY id LIMIT 1",
            company["id"],
        )
        equipment = await _row(
            here,
            "SELECT id::text, code FROM equipment WHERE vessel_id = $1 ORDER BY id LIMIT 1",
            vessel["id"],
        )
        own = "10000000-0000-4000-8000-00000000000"
        slug = "".join(c if c.isascii() and c.isalnum() else "-" for c in company["code"].lower())
        await there.execute(
            "INSERT INTO companies (id, name, slug) VALUES ($1, 'here first', $2)", own + "1", slug
        )
        await there.execute(
            "INSERT INTO users (id, company_id, email, role) VALUES ($1, $2, $3, 'admin')",
            *(own + "2", own + "1", user["email"]),
        )
        await there.execute(
            "INSERT INTO vessels (id, company_id, name, imo_number) VALUES ($1, $2, 'here first', $3)",
            *(own + "3", own + "1", vessel["imo_number"]),
        )
        digest = sha256(equipment["id"].encode()).hexdigest()[:6]
        await there.execute(
            "INSERT INTO equipment (id, vessel_id, qr_code, name, status)"
            " VALUES ($1, $2, $3, 'x', 'operational')",
            *(own + "4", own + "3", f"{equipment['code'] or 'EQ'}-{digest}"),
        )
    finally:
        await here.close()
        await there.close()


async def _change(source: str, target: str) -> None:
    """Changes both sides of a migrated fleet so that a sync has to do everything that it can."""
    connection = await asyncpg.connect(source)
    try:
        vessels = await connection.fetch(
            "SELECT id::text FROM vessels v WHERE onboarding_status = 'APPROVED'"
            " ORDER BY (SELECT count(*) FROM equipment e WHERE e.vessel_id = v.id) DESC, id"
        )
        equipment = await connection.fetch(
            "SELECT id::text FROM equipment WHERE vessel_id = $1::text::uuid AND name <> ' ' ORDER BY id",
            vessels[0]["id"],
        )
        users = await connection.fetch(
            "SELECT id::text FROM users u"
            " WHERE NOT EXISTS (SELECT FROM users o WHERE o.email = u.email AND o.id <> u.id) ORDER BY id"
        )
    finally:
        await connection.close()
    v, e, u = ([row["id"] for row in rows] for rows in (vessels, equipment, users))
    gone = f"(vessel_id = '{v[3]}' OR id IN ('{e[20]}', '{e[21]}', '{e[22]}'))"
    await execute(source, _CHANGED.format(v=v, e=e, u=u, gone=gone))
    await execute(target, _AT_SEA.format(e=e))


async def execute(url: str, statement: str) -> str:
    """Runs a script in a database."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.execute(statement)
    finally:
        await connection.close()


@dataclass(frozen=True)
class Keys:
    """Files of keys: what a command begins with is encrypted with those in `file`, what it ends in with
    those in `last_file` alone. Empty: with none."""

    file: str = ""
    last_file: str = ""

    @property
    def all(self) -> Keyring:
        return from_settings(Settings(key_file=self.file))

    @property
    def last(self) -> Keyring:
        return from_settings(Settings(key_file=self.last_file))


NO_KEYS = Keys()


@dataclass
class Workload:
    """A command, the databases that it begins with, and what it ends in where nothing disturbs it."""

    servers: EmbeddedServers
    source: str
    template: str
    command: tuple[str, ...]
    before: State
    after: State
    rows: dict[str, bytes]
    ledger: dict[str, bytes]
    statements: list[Statement]
    ended: Ended
    checkpoints: dict[str, bytes]  # what those that it begins with hold
    keys: Keys
    at_once: bool = True  # companies and users change in one transaction

    @property
    def server(self) -> Server:
        """The server that both databases are on; started again where a test has stopped it."""
        return self.servers.get(self.servers.newest)

    def target(self) -> str:
        """A fresh target in the state that the command begins with."""
        return _copy(self.servers, self.template)

    def drop(self, url: str) -> None:
        """Drops a target that `target` made."""
        self.servers.drop(self.servers.newest, url.rpartition("/")[2])

    def bystander(self, url: str) -> Bystander:
        """A reader who notices what is half there."""
        return Bystander(url, self.before, self.after, fleet=self.at_once)

    def points(self, key: str) -> dict[str, int]:
        """The texts of the writing statements with this key, and how often each was executed undisturbed."""
        return Counter(statement.text for statement in self.statements if statement.key == key)

    async def again(self, target: str, *more: str) -> Ended:
        """The same command, undisturbed; ends as it must."""
        ended = await run(self.source, target, *self.command, *more)
        assert ended.status == self.ended.status, sentences([ended])
        await self.check(target)
        return ended

    async def is_whole(self, target: str) -> None:
        """Every checkpoint can be restored, and holds what it held."""
        now, old = await checkpoints(target, self.keys.all), self.checkpoints
        both = now.keys() & old.keys()
        differences = apart({id_: old[id_] for id_ in both}, {id_: now[id_] for id_ in both})
        assert not differences, "\n".join(differences)

    async def check(self, target: str) -> None:
        """The target is as the undisturbed run left its own, `verify` agrees, and nothing is left behind."""
        differences = apart(self.rows, await dump(target, schema="public"))
        differences += apart(self.ledger, await ledger(target, self.keys.last))
        assert not differences, "\n".join(differences)
        if "migrated" in {state for state, _ in (await marks(target)).of.values()}:
            settings = Settings(source=self.source, target=target, key_file=self.keys.last_file)
            verified = await verify(settings, Selection(all=True))
            assert verified.status == "completed"
            assert verified.verified.difference_count == 0
            assert verified.done > 0
        left = await left_behind(self.source, target)
        assert not left, "\n".join(left)


def _copy(servers: EmbeddedServers, template: str) -> str:
    return servers.get(servers.newest).url(servers.copy(servers.newest, template))


async def _undisturbed(
    servers: EmbeddedServers, source: str, template: str, *command: str, keys: Keys = NO_KEYS
) -> Workload:
    target = _copy(servers, template)
    before, held = await _state(target), await checkpoints(target, keys.all)
    async with Proxy(target) as proxy:
        ended = await run(source, proxy.url, *command)
    assert ended.document, sentences([ended])
    workload = Workload(
        servers, source, template, command,
        before, await _state(target), await dump(target, schema="public"), await ledger(target, keys.last),
        proxy.statements, ended, held, keys,
    )  # fmt: skip
    workload.drop(target)
    return workload


async def _state(url: str) -> State:
    connection = await asyncpg.connect(url)
    try:
        return await look(connection)
    finally:
        await connection.close()


class Workloads:
    """Makes each workload when first asked for: `await workloads("plain")`. Files go into `folder`."""

    def __init__(self, servers: EmbeddedServers, folder: Path) -> None:
        self._servers, self._folder = servers, folder
        self._made: dict[str, Workload] = {}
        self._makers: dict[str, Callable[[], Awaitable[Workload]]] = {
            "plain": self._plain,
            "quarantine": self._quarantine,
            "retry": self._retry,
            "verify": self._verify,
            "set": self._set,
            "rollback": self._rollback,
            "sync": self._sync,
            "undo": self._undo,
            "return": self._return,
            "resolve": self._resolve,
            "prune": self._prune,
            "move": self._move,
            "rotate": self._rotate,
        }

    async def __call__(self, name: str) -> Workload:
        if name not in self._made:
            self._made[name] = await self._makers[name]()
        return self._made[name]

    def _database(self, content: str) -> str:
        server = self._servers.get(self._servers.newest)
        name = self._servers.create(
            self._servers.newest, "onboarding" if content == "source" else "maintenance"
        )
        return server.url(name)

    async def _plain(self) -> Workload:
        """A fleet without errors, into an empty portal."""
        source, target = self._database("source"), self._database("target")
        await generate_fleet(source, SPEC)
        await execute(source, _LEFT_OUT + _ACROSS)
        await canaries.plant(source)
        return await _undisturbed(
            self._servers, source, target.rpartition("/")[2], "migrate", "--all", *SMALL
        )

    async def _set(self) -> Workload:
        """The same with foreign keys proved by set queries."""
        plain = await self("plain")
        command = (*plain.command, "--fk-check", "set")
        return await _undisturbed(self._servers, plain.source, plain.template, *command)

    async def _quarantine(self) -> Workload:
        """A fleet with errors, put aside, into a portal with rows to adopt: all statements of a migration."""
        source, target = self._database("source"), self._database("target")
        await generate_fleet(source, SPEC)
        await execute(source, _LEFT_OUT + _ACROSS + _BROKEN + _TWINS)
        await canaries.plant(source)
        await _portal(source, target)
        command = ("migrate", "--all", "--on-error", "quarantine", *SMALL)
        return await _undisturbed(self._servers, source, target.rpartition("/")[2], *command)

    async def _fleet(self, *more: str, change: bool = False, mend: bool = False) -> tuple[str, str, str]:
        """What the migration with quarantine has left, and its run; the source, and where `change` says so
        the portal too, has moved on since."""
        source, target = self._database("source"), self._database("target")
        await generate_fleet(source, SPEC)
        await execute(source, _LEFT_OUT + _ACROSS + _BROKEN + _TWINS)
        await canaries.plant(source)
        await _portal(source, target)
        run_id = await _done(source, target, "migrate", "--all", "--on-error", "quarantine", *SMALL, *more)
        if mend:
            await execute(source, _MENDED)
        if change:
            await _change(source, target)
        return source, target, run_id

    async def _on(self, source: str, target: str, *command: str) -> Workload:
        return await _undisturbed(self._servers, source, target.rpartition("/")[2], *command)

    async def _retry(self) -> Workload:
        source, target, _ = await self._fleet(mend=True)
        return await self._on(source, target, "quarantine", "retry")

    async def _verify(self) -> Workload:
        source, target, _ = await self._fleet()
        return await self._on(source, target, "verify", "--all")

    async def _rollback(self) -> Workload:
        """Of a run, while a vessel stays that came again since: its references to those that go will wait."""
        source, target, run_id = await self._fleet()
        stays = (await _vessels(target, _OF_AN_ADOPTED_COMPANY))[0]
        await _done(source, target, "rollback", "--vessel", stays, "--yes")
        await _done(source, target, "migrate", stays, "--on-error", "quarantine", *SMALL)
        return await self._on(source, target, "rollback", "--run", run_id, "--yes")

    async def _sync(self) -> Workload:
        """Users go, and others come for their e-mails."""
        source, target, _ = await self._fleet(mend=True, change=True)
        work = await self._on(source, target, *SYNC)
        work.at_once = False
        return work

    async def _undo(self) -> Workload:
        """The way back from a sync: rows that it deleted, values that it exchanged. A vessel brings users
        along whom its rows name, before the others come back."""
        source, target, _ = await self._fleet(mend=True, change=True)
        run_id = await _done(source, target, *SYNC)
        work = await self._on(source, target, "rollback", "--run", run_id, "--yes")
        work.at_once = False
        return work

    async def _return(self) -> Workload:
        """The way back from a rollback, of a vessel that others' rows end on."""
        source, target, _ = await self._fleet()
        ends = await _vessels(target, _THAT_OTHERS_REFER_TO)
        run_id = await _done(source, target, "rollback", "--vessel", ends[0], "--yes")
        return await self._on(source, target, "rollback", "--run", run_id, "--yes")

    async def _resolve(self) -> Workload:
        """Conflicts that were left open, of a vessel, and of companies and users."""
        source, target, _ = await self._fleet(mend=True, change=True)
        await execute(target, "UPDATE users SET last_name = 'Kanarie', updated_at = '2030-01-01'")
        await _done(source, target, *SYNC, "--conflict", "manual")
        found = await run(source, target, "conflicts", "list")
        ids = [one["id"] for one in found.document["conflicts"]]
        assert len({one["vessel_id"] for one in found.document["conflicts"]}) > 1
        return await self._on(source, target, "conflicts", "resolve", *ids, "--take", "source")

    async def _prune(self) -> Workload:
        source, target, _ = await self._fleet(mend=True, change=True)
        await _done(source, target, *SYNC)
        return await self._on(source, target, "checkpoints", "prune", "--keep", "1", "--days", "0")

    async def _move(self) -> Workload:
        """Equipment leaves two vessels: a conflict about a part of one is open, the other was rolled back."""
        source, target, _ = await self._fleet()
        connection = await asyncpg.connect(source)
        try:
            moves = [dict(row) for row in await connection.fetch(_THAT_MOVE)]
        finally:
            await connection.close()
        await execute(source, "".join(_IN_THE_SOURCE.format_map(move) for move in moves))
        await execute(target, _IN_THE_PORTAL.format_map(moves[0]))
        await _done(source, target, *SYNC, "--conflict", "manual")
        await _done(source, target, "rollback", "--vessel", moves[1]["vessel"], "--yes")
        await execute(source, "".join(_MOVED.format_map(move) for move in moves))
        return await self._on(source, target, *SYNC, "--conflict", "manual")

    async def _rotate(self) -> Workload:
        """A new key for all that there is to encrypt: base, quarantine, conflicts, checkpoints."""
        old, new = "01" * 32, "02" * 32
        alone, keys = self._file("old", old), Keys(self._file("both", new, old), self._file("new", new))
        source, target, _ = await self._fleet("--key-file", alone, change=True)
        await _done(source, target, *SYNC, "--conflict", "manual", "--key-file", alone)
        name = target.rpartition("/")[2]
        return await _undisturbed(
            self._servers, source, name, "keys", "rotate", "--key-file", keys.file, keys=keys
        )

    def _file(self, name: str, *lines: str) -> str:
        file = self._folder / name
        file.write_text("\n".join(lines))
        return str(file)


async def _done(source: str, target: str, *command: str) -> str:
    """Runs a command that has to succeed; returns its run."""
    ended = await run(source, target, *command)
    assert ended.status == 0, sentences([ended])
    run_id: str = ended.document["run_id"]
    return run_id


async def _vessels(target: str, query: str) -> list[str]:
    connection = await asyncpg.connect(target)
    try:
        rows = await connection.fetch(query)
    finally:
        await connection.close()
    return [row["id"] for row in rows]


async def told(ended: Ended, target: str) -> list[str]:
    """What a report claims that the target's marks don't bear out: a vessel that it calls done and that isn't
    committed, or failed and is. Only a run whose end the target did not get may know less than there is."""
    if not ended.document or not ended.document["run_id"]:
        return []
    found, run_id = await marks(target), ended.document["run_id"]
    lines = []
    committed, done = found.of_run(run_id, "migrated", "quarantined"), ended.vessels["done"]
    if done > len(committed) or (done < len(committed) and await has_ended(target, run_id)):
        lines.append(f"{done} vessels are reported done, {len(committed)} are committed")
    for failure in ended.document["failures"]:
        state, by = found.of.get(failure["vessel_id"], ("", ""))
        if by == run_id and state == "migrated" and failure["name"]:
            lines.append(f"reported failed, committed: {failure}")
    return lines


async def has_ended(target: str, run_id: str) -> bool:
    """Whether the ledger has recorded how a run ended."""
    connection = await asyncpg.connect(target)
    try:
        query = "SELECT finished_at IS NOT NULL FROM bulkmig.runs WHERE id = $1::text::uuid"
        return bool(await connection.fetchval(query, run_id))
    finally:
        await connection.close()
