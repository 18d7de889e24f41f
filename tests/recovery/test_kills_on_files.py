"""The kill table of a portal on SQLite: SIGKILL before, amid and after its writes, which an undisturbed run
names. Nothing is ever half there, and the same command again ends as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import pytest

from bulkmig.generate import FleetSpec
from tests.support import canaries
from tests.support.files import stored, with_rows
from tests.support.fleets import Fleets, Origin
from tests.support.killer import WHEN
from tests.support.programs import said
from tests.support.servers import EmbeddedServers

SPEC = FleetSpec(vessels=4, equipment=12, nasty=0.2, least=1, unknown_enums=True, seed=9)
# What the short form is about: not each trap, of all kinds of writes that the other has all but one.
FEW = FleetSpec(
    vessels=6, equipment=12, nasty=0.5, least=0, unknown_enums=True, seed=9, companies=3, cross_references=12
)  # fmt: skip
JOURNALS = ("WAL", "DELETE")
MIGRATE = ("migrate", "--all", "--on-error", "quarantine", "--continue-on-error", "--memory", "1MB")
SYNC = ("sync", "--all", "--on-error", "quarantine", "--continue-on-error", "--allow-deletions")
SHORT = 6  # points of a test of the short form
# What belongs to a vessel, by its number.
OF_VESSEL = (
    "SELECT * FROM vessels WHERE id = ?",
    "SELECT * FROM vessel_details WHERE vessel_id = ?",
    "SELECT * FROM equipment WHERE vessel_id = ? ORDER BY id",
    *(
        f"SELECT t.* FROM {table} t JOIN equipment e ON e.id = equipment_id WHERE vessel_id = ? ORDER BY 1"
        for table in ("equipment_metadata", "critical_parts", "equipment_documents")
    ),
    "SELECT * FROM vessel_documents WHERE vessel_id = ? ORDER BY 2",
    "SELECT * FROM quality_scores WHERE vessel_id = ? ORDER BY id",
)
# What any sequence of runs must agree on.
LEDGER = (
    "SELECT tbl, id, uuid, source_id FROM bulkmig_ids ORDER BY 1, 2",
    "SELECT entity, source_id, target_id, adopted FROM bulkmig_identities ORDER BY 1, 2",
    "SELECT vessel_id, state FROM bulkmig_vessels ORDER BY 1",
    "SELECT entity, source_id, vessel_id, code FROM bulkmig_quarantine ORDER BY 1, 2",
    "SELECT entity, source_id, vessel_id FROM bulkmig_pending ORDER BY 1, 2",
    "SELECT * FROM bulkmig_slugs ORDER BY 1",
    "SELECT * FROM bulkmig_qr_codes ORDER BY 1",
)
CHANGES = """
UPDATE equipment SET name = name || ' II', updated_at = now()
 WHERE id IN (SELECT id FROM equipment ORDER BY id LIMIT 5);
INSERT INTO critical_parts (id, equipment_id, name) SELECT md5(id::text)::uuid, id, 'New part' FROM equipment;
DELETE FROM quality_scores;
UPDATE vessels SET name = name || ' II', updated_at = now();
UPDATE users SET first_name = 'Kanarie changed', updated_at = now();
"""


@dataclass
class Job:
    """A command, the file that it begins with, and what it ends in where nothing disturbs it."""

    source: str
    template: Path
    command: tuple[str, ...]
    writes: Counter[str]
    status: int
    before: dict[int, str]
    after: dict[int, str]
    end: object

    async def run(self, file: Path, when: str = "never", occurrence: int = 0, key: str = "-") -> int:
        """Runs the command, to its end or to the write at which it is killed; returns its status."""
        return (await _run(self.source, file, self.command, when, occurrence, key))[0]

    async def kill(self, file: Path, when: str, occurrence: int, key: str) -> None:
        """Kills the command at this write; at one before, where a run has fewer of the kind: batches are cut
        as their rows arrive. Such a run is one more that nothing disturbs."""
        for n in range(occurrence, 0, -1):
            shutil.copy(self.template, file)
            status = await self.run(file, when, n, key)
            if status == -signal.SIGKILL:
                return
            assert (status, end(file)) == (self.status, self.end), (key, n, when)
        raise AssertionError(f"{key} is never written")

    async def again(self, file: Path) -> None:
        """The same command, undisturbed; ends as it must."""
        assert await self.run(file) == self.status
        assert end(file) == self.end

    def check(self, file: Path) -> None:
        """The file is sound, and of every vessel there is what was or what will be."""
        connection = sqlite3.connect(file)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
        for vessel, found in vessels(file).items():
            assert found in (self.before.get(vessel), self.after.get(vessel)), (
                f"vessel {vessel} is half there"
            )


async def _run(
    source: str, file: Path, command: tuple[str, ...], when: str, occurrence: int, key: str
) -> tuple[int, Counter[str], dict[str, object]]:
    written = file.with_suffix(".writes")
    written.write_text("")
    ended = await said(
        *(str(written), when, str(occurrence), key, *command),
        *("--json", "--log-level", "debug", "--source", source, "--target", f"sqlite:///{file}"),
        main="tests.support.killer",
    )
    assert not canaries.in_text(ended.stdout + ended.stderr)
    document = json.loads(ended.stdout) if ended.stdout.strip() else {}
    return ended.returncode, Counter(written.read_text().splitlines()), document


def vessels(file: Path) -> dict[int, str]:
    """Each vessel by its number, with all that belongs to it."""
    connection = sqlite3.connect(file)
    connection.text_factory = bytes
    found = {
        number: repr([connection.execute(query, (number,)).fetchall() for query in OF_VESSEL])
        for (number,) in connection.execute("SELECT id FROM vessels").fetchall()
    }
    connection.close()
    return found


def end(file: Path) -> object:
    """The whole file, without what differs from run to run."""
    connection = sqlite3.connect(file)
    ledger = [connection.execute(query).fetchall() for query in LEDGER]
    connection.close()
    return stored(f"sqlite:///{file}"), ledger


class Jobs:
    """Makes each job when first asked for: `await jobs("sync", "WAL", SPEC)`."""

    def __init__(self, servers: EmbeddedServers, fleets: Fleets, folder: Path) -> None:
        self._servers, self._fleets, self._folder = servers, fleets, folder
        self._made: dict[tuple[str, str, FleetSpec], Job] = {}

    async def __call__(self, name: str, journal: str, spec: FleetSpec) -> Job:
        key = (name, journal, spec)
        if key not in self._made:
            self._made[key] = await self._make(name, self._folder / f"{len(self._made)}.db", journal, spec)
        return self._made[key]

    async def _make(self, name: str, file: Path, journal: str, spec: FleetSpec) -> Job:
        origin: Origin = await self._fleets(spec, fresh=True)
        await canaries.plant(origin.url)
        server = self._servers.get(self._servers.newest)
        empty = server.url(self._servers.create(self._servers.newest, "maintenance"))
        await with_rows(file, empty, origin, replace(spec, least=1))
        connection = sqlite3.connect(file)
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.close()
        command: tuple[str, ...] = MIGRATE
        if name != "migrate":
            status, _, document = await _run(origin.url, file, MIGRATE, "never", 0, "-")
            assert status == 0
            command = SYNC if name == "sync" else ("rollback", "--run", str(document["run_id"]), "--yes")
        if name == "sync":
            source = await asyncpg.connect(origin.url)
            await source.execute(CHANGES)
            await source.close()
        undisturbed = file.with_suffix(".end.db")
        shutil.copy(file, undisturbed)
        status, writes, document = await _run(origin.url, undisturbed, command, "never", 0, "-")
        assert document["status"] == "completed", document
        return Job(
            origin.url, file, command, writes, status, vessels(file), vessels(undisturbed), end(undisturbed)
        )  # fmt: skip


@pytest.fixture(scope="session")
def jobs(embedded_servers: EmbeddedServers, fleets: Fleets, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """`await jobs("migrate", "WAL", SPEC)`."""
    return Jobs(embedded_servers, fleets, tmp_path_factory.mktemp("jobs"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "journal"), [("migrate", "WAL"), ("rollback", "DELETE")])
async def test_killed_at_writes_all_over_a_run_the_same_command_again_ends_undisturbed(
    jobs: Jobs, tmp_path: Path, name: str, journal: str
) -> None:
    """One point after the other, each in the run that goes on after the one before."""
    job, file = await jobs(name, journal, FEW), tmp_path / "portal.db"
    shutil.copy(job.template, file)
    keys = list(job.writes)
    chosen = [keys[n * (len(keys) - 1) // (SHORT - 1)] for n in range(SHORT)]
    for n, key in enumerate(chosen):
        await job.run(file, WHEN[n % 3], 1, key)
        job.check(file)
    await job.again(file)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("journal", JOURNALS)
@pytest.mark.parametrize("name", ["migrate", "sync", "rollback"])
async def test_killed_before_amid_and_after_each_write_the_same_command_again_ends_undisturbed(
    jobs: Jobs, tmp_path: Path, name: str, journal: str
) -> None:
    """Every kind of write, at its first execution, one in the midst and the last."""
    job = await jobs(name, journal, SPEC)
    for key, count in job.writes.items():
        for occurrence in sorted({1, max(1, 2 * count // 3), count}):
            for when in WHEN:
                file = tmp_path / f"{key}-{occurrence}-{when}.db"
                await job.kill(file, when, occurrence, key)
                job.check(file)
                await job.again(file)
