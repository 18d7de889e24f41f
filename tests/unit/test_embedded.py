"""Embedded servers: start, stop, recover, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from bulkmig.embedded import Install, Server, best, find, installs, process, server
from bulkmig.errors import BulkmigError, PreflightError
from tests.support.servers import by_major

SETTINGS = {"fsync": "off"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about running as root")


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with server(settings=SETTINGS) as pg:
        yield pg


@pytest.fixture
def own(shared: Server) -> Server:
    """A running server of this module's own: its tests may stop it."""
    shared.start()
    return shared


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty directory that everyone may enter; pytest's own one is for its user alone."""
    with tempfile.TemporaryDirectory(prefix="bulkmig-test-", dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


async def fetch(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until_gone(directory: Path) -> bool:
    deadline = time.monotonic() + 20
    while directory.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not directory.exists()


@pytest.mark.parametrize("install", installs(), ids=lambda install: f"{install.release} {install.origin}")
async def test_every_install_found_serves_utf8_in_locale_c_on_loopback(install: Install) -> None:
    with server(install=install, settings=SETTINGS) as pg:
        assert pg.install.version == install.version
        assert (
            await fetch(pg.url(), "SELECT current_setting('server_version_num')::int / 10000")
            == install.version
        )
        assert await fetch(pg.url(), "SELECT current_setting('server_encoding')") == "UTF8"
        assert await fetch(pg.url(), "SELECT datcollate || datctype FROM pg_database LIMIT 1") == "CC"
        assert await fetch(pg.url(), "SELECT current_setting('listen_addresses')") == "127.0.0.1"
        assert await fetch(pg.url(), "SELECT current_setting('unix_socket_directories')") == ""
        assert await fetch(pg.url(), "SELECT current_setting('fsync')") == "off"
        directory = pg.directory
    assert not directory.exists()


def test_installs_come_newest_first_and_best_is_the_first() -> None:
    found = installs()
    assert [install.version for install in found] == sorted((i.version for i in found), reverse=True)
    assert best() == found[0]
    assert len({install.bindir for install in found}) == len(found)


def test_without_any_install_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(find, "_WHEELS", ())
    monkeypatch.setattr(find, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installs() == []
    with pytest.raises(PreflightError) as caught:
        best()
    assert "pip install 'bulkmig[demo]'" in caught.value.hint


def test_a_directory_without_programs_is_no_install(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="initdb and postgres"):
        Install.at(tmp_path)


def test_programs_that_do_not_run_are_no_install(tmp_path: Path) -> None:
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 127\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(PreflightError, match="initdb and postgres"):
        Install.at(tmp_path)


def test_any_bindir_can_be_named() -> None:
    named = Install.at(best().bindir, "mine")
    assert (named.version, named.release, named.origin) == (best().version, best().release, "mine")


async def test_a_stopped_server_starts_again_with_port_and_data(own: Server) -> None:
    own.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    port, first = own.port, own.pid
    own.stop()
    assert own.pid is None
    assert not listens(port)
    own.start()
    assert own.port == port
    assert own.pid != first
    assert await fetch(own.url(), "SELECT answer FROM kept") == 42


async def test_an_immediate_stop_is_a_crash_that_the_next_start_recovers(own: Server) -> None:
    own.execute("CREATE TABLE committed AS SELECT 42 AS answer")
    logged = len(own.log.read_bytes())
    own.stop("immediate")
    own.start()
    assert b"automatic recovery in progress" in own.log.read_bytes()[logged:]
    assert await fetch(own.url(), "SELECT answer FROM committed") == 42


def test_a_server_that_was_killed_starts_again(own: Server) -> None:
    assert own.pid is not None
    own.execute("CREATE TABLE survivor AS SELECT 42 AS answer")
    os.kill(own.pid, signal.SIGKILL)
    while own.pid is not None:
        time.sleep(0.01)
    own.start()
    own.execute("DROP TABLE survivor")


def test_starting_twice_and_stopping_twice_change_nothing(own: Server) -> None:
    pid = own.pid
    own.start()
    assert own.pid == pid
    own.stop()
    own.stop()
    assert own.pid is None


async def test_two_servers_run_side_by_side(own: Server) -> None:
    with server(install=list(by_major().values())[-1], settings=SETTINGS) as other:
        assert other.port != own.port
        own.create_database("only here")
        query = "SELECT count(*) FROM pg_database WHERE datname = 'only here'"
        assert await fetch(own.url(), query) == 1
        assert await fetch(other.url(), query) == 0


async def test_databases_are_made_and_dropped_from_inside_an_event_loop(pg: Server) -> None:
    pg.create_database("made first")
    pg.execute("CREATE TABLE copied AS SELECT 42 AS answer", "made first")
    pg.create_database('made "second"', template="made first")
    connection = await asyncpg.connect(pg.url('made "second"'))
    assert await connection.fetchval("SELECT answer FROM copied") == 42
    pg.drop_database("made first")
    pg.drop_database('made "second"')  # connected or not
    pg.drop_database('made "second"')
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(pg.url("made first"))


def test_a_refused_statement_is_an_error_of_ours(pg: Server) -> None:
    with pytest.raises(BulkmigError, match='database "postgres" already exists'):
        pg.create_database("postgres")


def test_a_url_quotes_names_and_carries_parameters(pg: Server) -> None:
    url = pg.url("a/b?c", "me@here", sslmode="disable", application_name="a b")
    assert url.startswith("postgresql://me%40here@127.0.0.1:")
    assert urlsplit(url).path == "/a%2Fb%3Fc"
    assert urlsplit(url).query == "sslmode=disable&application_name=a%20b"


def test_settings_of_the_environment_are_about_other_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PGDATA": "/nowhere",
        "PGPORT": "1",
        "PGSSLMODE": "require",
        "LC_ALL": "xx_YY",
    }.items():
        monkeypatch.setenv(name, value)
    with server(settings=SETTINGS) as pg:
        pg.create_database("made")


async def test_a_named_directory_stays_and_is_taken_up_again(place: Path) -> None:
    with server(place / "a" / "b", settings=SETTINGS) as pg:
        pg.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with server(place / "a" / "b", settings=SETTINGS) as pg:
        assert await fetch(pg.url(), "SELECT answer FROM kept") == 42


def test_a_directory_with_other_files_is_refused_and_left_alone(place: Path) -> None:
    (place / "thesis.txt").write_text("years of work")
    with pytest.raises(PreflightError, match=r"thesis\.txt"), server(place):
        pass
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]


def test_data_of_another_major_version_are_refused(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PreflightError, match="of PostgreSQL 9, the server is"), server(place):
        pass


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o777)
        monkeypatch.setattr(tempfile, "tempdir", name)
        with pytest.raises(PreflightError) as caught, server(settings={"max_connections": "many"}):
            pass
        assert "max_connections" in caught.value.hint
        assert list(Path(name).iterdir()) == []


def test_an_exception_inside_stops_the_server_and_removes_its_files() -> None:
    seen: list[Server] = []

    def fail() -> None:
        with server(settings=SETTINGS) as pg:
            seen.append(pg)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not seen[0].directory.exists()
    assert not listens(seen[0].port)


def test_a_port_taken_meanwhile_costs_a_first_start_only_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = process._free_port
        ports = iter([taken.getsockname()[1], free()])
        monkeypatch.setattr(process, "_free_port", lambda: next(ports))
        with server(settings=SETTINGS) as pg:
            assert pg.port != taken.getsockname()[1]


def test_a_later_start_never_changes_the_port(own: Server) -> None:
    own.stop()
    with (
        socket.create_server(("127.0.0.1", own.port)),
        pytest.raises(PreflightError, match=f"port {own.port} is taken"),
    ):
        own.start()
    own.start()
    assert listens(own.port)


START = """
import sys, time
from bulkmig.embedded import server
with server(settings={"fsync": "off"}) as pg:
    print(pg.directory, pg.port, flush=True)
    sys.stdin.readline()
    print(pg.leave_running(), flush=True)
"""


@pytest.fixture
def starter() -> Iterator[subprocess.Popen[str]]:
    """A process that starts a server, prints where, and leaves it running when it gets a line."""
    with subprocess.Popen(
        [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        yield child


def test_no_server_outlives_a_process_that_was_killed(starter: subprocess.Popen[str]) -> None:
    assert starter.stdout is not None
    directory, port = starter.stdout.readline().split()
    assert listens(int(port))
    starter.kill()
    starter.wait()
    assert wait_until_gone(Path(directory))
    assert not listens(int(port))


def test_a_server_left_running_outlives_its_process_until_the_command_given_ends_it(
    starter: subprocess.Popen[str],
) -> None:
    assert starter.stdout is not None
    directory, port = starter.stdout.readline().split()
    command, _ = starter.communicate("go on\n")
    assert starter.returncode == 0
    assert listens(int(port))
    subprocess.run(["/bin/sh", "-c", command], check=True)
    assert wait_until_gone(Path(directory))
    assert not listens(int(port))


def test_a_stopped_server_cannot_be_left_running(own: Server) -> None:
    own.stop()
    with pytest.raises(BulkmigError, match="stopped"):
        own.leave_running()


@as_root
def test_root_runs_servers_as_nobody(own: Server) -> None:
    import pwd

    assert own.data.stat().st_uid == pwd.getpwnam("nobody").pw_uid


@as_root
async def test_root_runs_programs_that_nobody_cannot_reach(place: Path) -> None:
    wheels = [install for install in installs() if install.origin.startswith("wheel")]
    if not wheels:
        pytest.skip("needs PostgreSQL from a wheel")
    package = wheels[0].bindir.parent.parent
    private = place / "private"
    private.mkdir(mode=0o700)
    for path in (package, package.with_name(f"{package.name}.libs")):
        if path.is_dir():
            shutil.copytree(path, private / path.name, symlinks=True)
    hidden = Install.at(private / wheels[0].bindir.relative_to(package.parent))
    with server(install=hidden, settings=SETTINGS) as pg:
        assert await fetch(pg.url(), "SELECT 42") == 42
    assert private.stat().st_mode & 0o777 == 0o700


@as_root
def test_root_is_told_of_a_directory_that_nobody_cannot_enter(place: Path) -> None:
    private = place / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(PreflightError, match=r"nobody.* can't enter"), server(private / "server"):
        pass
    assert private.stat().st_mode & 0o777 == 0o700


@as_root
def test_root_with_a_private_temporary_directory_uses_the_common_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with server(settings=SETTINGS) as pg:
        assert not pg.directory.is_relative_to(tmp_path)
