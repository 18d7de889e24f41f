"""Every personal or secret value is a marker; nothing that is written outside of the two databases holds one,
whatever is asked for, nor does the ledger in the clear where there is a key. `test_masking.py` does the same
for failures."""

from __future__ import annotations

import asyncio
import json
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from bulkmig import Selection, Settings, migrate
from bulkmig.embedded import Server
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.monitor import page, serve
from bulkmig.monitor.board import Board
from tests.checkpoint.support import fetchval
from tests.oracle.file import path_of
from tests.security.heard import Heard, execute, with_password
from tests.security.test_certificate import keys as make_keys
from tests.sqlite.test_lift import on_file
from tests.support.aftermath import until
from tests.support.canaries import CANARY, KEY, NEWER_KEY, SECRET, in_files, in_ledger, in_text, plant
from tests.support.files import portal
from tests.support.programs import LIMIT, program
from tests.support.servers import Databases
from tests.test_docs import COMMANDS

SPEC = FleetSpec(
    seed=34,
    vessels=2,
    companies=2,
    users_per_company=4,
    equipment=5,
    parts=1,
    documents=1,
    nasty=0.5,
    least=1,
)
ALWAYS = ("--all", "--on-error", "quarantine", "--continue-on-error")
# Two users more who have a colleague's e-mail address.
TWICE = """
INSERT INTO users (id, company_id, email, password_hash, first_name, last_name, role, is_active)
SELECT gen_random_uuid(), company_id, email, password_hash, first_name, last_name, role, is_active
  FROM users ORDER BY id LIMIT 2;
"""
# Both sides change the same people; the portal takes in somebody who has the address of one who leaves.
SOURCE_MOVES = """
UPDATE users SET last_name = 'Kanarie-new', phone = '+kanarie-new', email = 'kanarie-new-' || id,
  updated_at = '2031-01-01';
UPDATE companies SET contact_email = 'kanarie-new@example.org', updated_at = '2031-01-01';
UPDATE equipment SET name = left(name, 200) || ' II', updated_at = '2031-01-01';
"""
PORTAL_MOVES = (
    "UPDATE users SET email = 'kanarie-portal-' || id, first_name = 'kanarie-portal', updated_at = {now}",
    "UPDATE user_metadata SET phone = 'kanarie-portal'",
    "UPDATE company_settings SET contact_phone = 'kanarie-portal'",
    "UPDATE equipment SET name = 'of the portal', updated_at = {now}",
)
DRIFTS = "UPDATE users SET last_name = 'Kanarie-drift', avatar_url = 'kanarie-drift', updated_at = {now}"
NEW_NAMES = "UPDATE equipment SET name = 'by hand', updated_at = {now}"
# What other tests run, or has servers and fleets of its own.
ELSEWHERE = {"dashboard", "worker", "demo", "bench"}


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everything that is written comes to lie, temporary files too."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("BULKMIG_KEY", KEY)
    return tmp_path


@pytest.fixture(scope="module")
def planted(lasting: Databases) -> str:
    url = lasting("onboarding")
    asyncio.run(generate_fleet(url, SPEC))
    execute(url, TWICE)
    asyncio.run(plant(url))
    return url


@pytest.fixture
def source(planted: str, databases: Databases) -> str:
    return databases.copy(planted)


@pytest.fixture(params=["postgresql", pytest.param("sqlite", marks=pytest.mark.long)])
def heard(
    request: pytest.FixtureRequest,
    room: Path,
    source: str,
    maintenance_url: str,
    capfd: pytest.CaptureFixture[str],
) -> Heard:
    target = with_password(maintenance_url) if request.param == "postgresql" else portal(room / "portal.db")
    return Heard(capfd, with_password(source), target)


def portal_does(heard: Heard, *statements: str) -> None:
    if heard.target.startswith("sqlite:"):
        on_file(heard.target, *(s.format(now="'2030-01-01T00:00:00.000000Z'") for s in statements))
    else:
        execute(heard.target, *(s.format(now="'2030-01-01'") for s in statements))


def nothing_out(heard: Heard, room: Path) -> None:
    """No canary in the ledger in the clear, nor in any file but the portal's."""
    assert asyncio.run(in_ledger(heard.target)) == set()
    apart = (Path(path_of(heard.target)),) if heard.target.startswith("sqlite:") else ()
    assert in_files(room, *apart) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_command_shows_a_personal_value(
    heard: Heard, room: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = make_keys(room, "signing")
    touching_nothing: list[tuple[str, ...]] = [
        ("doctor",), ("doctor", "--grants"), ("config", "--show"), ("config", "--example"), ("init",),
        ("plan", *ALWAYS), ("validate", *ALWAYS), ("validate", "--all"), ("migrate", "--all", "--dry-run"),
    ]  # fmt: skip
    for words in touching_nothing:
        heard.in_each_form(*words)
    heard("migrate", "--all", "--dry-run", "--continue-on-error", "--processes", "2")
    first = heard.document("migrate", *ALWAYS, "--log-format", "json", "--operator", "boss@example.org")
    assert first["status"] == "completed"
    reads(heard, room, first["run_id"], heard)
    heard("certificate", "make", first["run_id"], "--file", str(room / "made"), "--signing-key", str(private))
    heard("certificate", "check", str(room / "made"), "--public-key", str(public))
    nothing_out(heard, room)

    execute(heard.source, SOURCE_MOVES)
    portal_does(heard, *PORTAL_MOVES)
    conflicting(heard)
    heard("quarantine", "retry")
    monkeypatch.setenv("BULKMIG_KEY", f"{NEWER_KEY},{KEY}")
    heard("keys", "rotate")
    monkeypatch.setenv("BULKMIG_KEY", KEY)
    assert heard("verify", "--all")[0] == 3  # it isn't the newer one
    monkeypatch.setenv("BULKMIG_KEY", NEWER_KEY)
    nothing_out(heard, room)

    portal_does(heard, DRIFTS, NEW_NAMES)
    denied(heard)
    going_back(heard, first["run_id"])
    for writing in (("migrate", "--remigrate"), ("sync",)):
        heard(*writing, *ALWAYS, "--conflict", "merge")
    heard("verify", "--all", "--reveal", clean=False)  # what it shows is not what it keeps
    heard("checkpoints", "prune", "--keep", "1", "--days", "0")
    reads(heard, room, heard.document("status")["runs"][0]["id"], heard.in_each_form)
    if heard.target.startswith("sqlite:"):
        server = with_password(databases("maintenance"))
        assert heard("lift", heard.target, server)[0] == 0
        assert heard("lift", heard.target, server)[0] == 3  # it isn't empty any more
        assert asyncio.run(in_ledger(server)) == set()
    nothing_out(heard, room)
    assert COMMANDS.keys() - heard.commands == ELSEWHERE | (
        set() if heard.target.startswith("sqlite:") else {"lift"}
    )


def reads(heard: Heard, room: Path, run_id: str, ask: Callable[..., object]) -> None:
    """Everything that only tells."""
    lists = {name: heard.document(name, "list")[name] for name in ("quarantine", "conflicts", "checkpoints")}
    assert lists["quarantine"]
    for words in (
        ("verify", "--all"), ("status",), ("status", run_id), ("audit", "list"), ("audit", "verify"),
        ("doctor",), ("audit", "export", "--format", "csv"), ("audit", "export", "--format", "json"),
        ("audit", "export", "--format", "csv", "--file", str(room / "audit.csv")), ("operators", "list"),
        ("report", run_id, "--html", str(room / "page.html")),
        *((name, "list") for name in lists),
        *((name, "show", one["id"]) for name, found in lists.items() for one in (*found[:1], *found[-1:])),
    ):  # fmt: skip
        ask(*words)


def conflicting(heard: Heard) -> None:
    """Conflicts, and each way to decide them."""
    assert heard("sync", *ALWAYS, "--conflict", "manual", "--json")[0] == 0
    found = heard.document("conflicts", "list", "--status", "open")["conflicts"]
    people = [one for one in found if one["entity"] == "user"]
    assert {"email", "first_name"} <= people[0]["fields"].keys()
    revealed = heard("conflicts", "show", people[0]["id"], "--reveal", clean=False)[1]
    assert CANARY.search(revealed)  # the canaries are where this test looks
    heard("conflicts", "resolve", people[0]["id"], "--take", "source")
    heard("conflicts", "resolve", people[1]["id"], "--take", "target", "--json")
    heard("conflicts", "resolve", people[2]["id"], "--take", "merge", "--field", "email=target")
    heard("conflicts", "resolve", people[0]["id"], "--take", "merge")  # it is decided
    heard("conflicts", "resolve", people[3]["id"], "--field", "no-such=target")
    rest = [one["id"] for one in found if one["entity"] != "user"]
    heard("conflicts", "resolve", *rest, "--take", "source")


def denied(heard: Heard) -> None:
    """Operators, and what one may not do."""
    boss = ("--operator", "boss@example.org")
    rights = ("migrate_vessel", "sync", "rollback", "resolve_conflicts", "administer")
    heard("operators", "grant", "boss@example.org", *rights, *boss)
    heard("operators", "grant", "hand@example.org", "sync", *boss)
    heard("operators", "on", *boss)
    for words in (("rollback", "--run", "0"), ("conflicts", "list", "--reveal"), ("migrate", "--all")):
        assert heard(*words, "--operator", "hand@example.org")[0] == 3, words
    heard("operators", "revoke", "hand@example.org", "sync", *boss)
    heard("operators", "off", *boss)


def going_back(heard: Heard, run_id: str) -> None:
    """Rollbacks: refused, forced, and back again; of a vessel, a checkpoint, a run."""
    shown = heard.document("status")["vessels"]
    vessel = next(one["vessel_id"] for one in shown if one["state"] == "migrated")
    refused = heard.document("rollback", "--vessel", vessel)
    assert (refused["status"], bool(refused["drift"])) == ("refused", True)
    assert heard("rollback", "--run", run_id)[0] == 1
    forced = heard.document("rollback", "--run", run_id, "--force", "--yes")
    assert forced["status"] in ("completed", "refused"), forced
    made = heard.document("checkpoints", "list")["checkpoints"]
    heard("rollback", made[-1]["id"], "--force", "--log-format", "json")
    heard("rollback", made[0]["id"])


def test_what_a_role_may_not_do_is_told_without_values(
    pg: Server, source: str, maintenance_url: str, room: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Roles that may only connect, and one that may read some of the columns."""
    pg.execute("CREATE ROLE less LOGIN")
    try:
        ends = [url.replace("postgres@", f"less:{SECRET}@") for url in (source, maintenance_url)]
        heard = Heard(capfd, *ends)
        for _ in range(2):
            for words in (
                ("doctor",),
                ("plan", *ALWAYS),
                ("migrate", *ALWAYS),
                ("sync", *ALWAYS),
                ("worker",),
            ):
                assert heard.in_each_form(*words) == {3}, words
            execute(source, "GRANT SELECT (id, email, password_hash) ON users TO less")
        assert in_files(room) == []
    finally:
        execute(source, "DROP OWNED BY less")
        pg.execute("DROP ROLE less")


def test_the_dashboard_shows_no_personal_value(source: str, maintenance_url: str, room: Path) -> None:
    """The page, its events, JSON and metrics, of a run in which much fails."""
    execute(
        maintenance_url,
        "CREATE FUNCTION quotes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'row %', (SELECT array_agg(u::text) FROM users u); END $$;"
        "CREATE TRIGGER quotes BEFORE INSERT ON critical_parts FOR EACH ROW EXECUTE FUNCTION quotes()",
    )
    settings = Settings(
        source=with_password(source), target=with_password(maintenance_url), on_error="quarantine",
        continue_on_error=True, attempts=1,
    )  # fmt: skip
    board = Board()
    report = asyncio.run(migrate(settings, Selection(all=True), listen=board.hear))
    assert report.failed > 0
    for shown in (board, None):
        with serve.serving(serve.place("127.0.0.1:0"), settings, shown) as url:
            paths = (
                "",
                "api/state",
                "api/runs",
                f"api/runs/{report.run_id}",
                "metrics",
                "healthz",
                *page.TYPES,
            )
            for path in paths:
                with urllib.request.urlopen(url + path.removeprefix("index.html")) as answer:
                    assert not in_text(answer.read().decode()), path
            with urllib.request.urlopen(f"{url}events") as answer:
                lines = [answer.readline().decode() for _ in range(5)]
            assert [json.loads(line[6:])["live"] for line in lines[1:2]] == [shown is not None]
            assert not in_text("".join(lines))
    assert in_files(room) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sync", pytest.param("migrate", marks=pytest.mark.long)])
async def test_queue_and_workers_show_no_personal_value(
    source: str, maintenance_url: str, room: Path, command: str
) -> None:
    """Neither does what lies in the queue meanwhile. Programs of these tests are looked at when they end."""
    ends = (with_password(source), with_password(maintenance_url))
    async with program(*ends, command, *ALWAYS, "--queue") as submitter:

        async def opened() -> bool:
            try:
                return bool(await fetchval(maintenance_url, "SELECT count(*) FROM bulkmig.queue_plans"))
            except asyncpg.UndefinedTableError:
                return False

        assert await until(opened, LIMIT)
        assert await in_ledger(maintenance_url) == set()
        async with program(*ends, "worker", "--once") as one, program(*ends, "worker", "--once") as other:
            ended = await submitter.ended()
            assert {(await one.ended()).status, (await other.ended()).status} == {0}
    assert ended.document["status"] == "completed"
    assert await in_ledger(maintenance_url) == set()
    assert in_files(room) == []
