"""Only the right server is connected to, by the right client: real certificates, a real server."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from bulkmig import PreflightError, UsageError
from bulkmig.embedded import Server, installs, server
from bulkmig.postgres.dsn import parse
from bulkmig.postgres.session import TARGET, session
from tests.security.certificates import Authority, Pair
from tests.support.programs import run as run_program

PASSWORD = "pass-word-CANARY"


def own_address() -> str:
    """An address of this machine that is not loopback, though what is sent to it never leaves."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # sends nothing: it asks for the route
        found: str = probe.getsockname()[0]
        return found
    return ""


@dataclass
class Site:
    """A server with TLS that listens on loopback and on an address of this machine."""

    server: Server
    host: str
    authority: Authority
    other: Authority
    certificates: dict[str, Pair]

    def use(self, name: str) -> None:
        """Lets the server show another certificate; `off`: it has none."""
        if name == "off":
            self._alter("SET ssl = off")
        else:
            pair = self.certificates[name]
            self._alter(f"SET ssl_cert_file = '{pair.certificate}'")
            self._alter(f"SET ssl_key_file = '{pair.key}'")
            self._alter("SET ssl = on")
        shown = pair.certificate if name != "off" else ""
        self.server.execute("SELECT pg_reload_conf()")
        self._await("ssl_cert_file" if shown else "ssl", str(shown) if shown else "off")

    def _alter(self, what: str) -> None:
        self.server.execute(f"ALTER SYSTEM {what}")

    def _await(self, setting: str, value: str) -> None:
        # A session that begins after the reload has it; the postmaster takes a moment.
        self.server.execute(
            f"DO $$ BEGIN FOR i IN 1..2000 LOOP EXIT WHEN current_setting('{setting}') = '{value}';"
            f" PERFORM pg_sleep(0.005); END LOOP; END $$"
        )

    def url(self, user: str = "plain", **parameters: object) -> str:
        query = "&".join(f"{key}={value}" for key, value in parameters.items())
        return f"postgresql://{user}@{self.host}:{self.server.port}/postgres?{query}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    host = own_address()
    if not host:
        pytest.skip("this machine has no address besides loopback")
    able = [i for i in installs() if b"libssl" in (i.bindir / "postgres").read_bytes()]
    if not able:
        pytest.skip("no PostgreSQL here was built with TLS")
    settings = {"fsync": "off", "listen_addresses": f"127.0.0.1,{host}"}
    with server(install=able[0], settings=settings) as running:
        directory = running.directory / "certificates"
        directory.mkdir(mode=0o755)
        authority, other = Authority(directory, "right"), Authority(directory, "wrong")
        made = {
            "right": authority.sign("server", host),
            "wrong authority": other.sign("server", host),
            "wrong host": authority.sign("server", "other.example", file="host"),
            "expired": authority.sign("server", host, file="expired", days=-1),
            "self-signed": authority.sign("server", host, file="self", self_signed=True),
        }
        if os.getuid() == 0:
            for pair in made.values():
                pair.owned_by(running.data.owner())
        (running.data / "pg_hba.conf").write_text(
            "hostssl all with_certificate all cert\nhost all with_password all scram-sha-256\n"
            f"host all all 127.0.0.1/32 trust\nhost all plain {host}/32 trust\n"
        )
        for statement in (
            "CREATE ROLE plain LOGIN",
            "SET password_encryption = 'scram-sha-256';"
            f"CREATE ROLE with_password LOGIN PASSWORD '{PASSWORD}'",
            "CREATE ROLE with_certificate LOGIN",
            f"ALTER SYSTEM SET ssl_ca_file = '{authority.certificate}'",
        ):
            running.execute(statement)
        yield Site(running, host, authority, other, made)


async def encrypted(url: str, **options: object) -> bool:
    """Connects as a command does; says whether the session is encrypted."""
    async with session(parse(url, **options), TARGET, role="target") as connection:  # type: ignore[arg-type]
        return bool(await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))


async def test_the_right_certificate_connects_without_being_asked_for(site: Site) -> None:
    site.use("right")
    assert await encrypted(site.url(sslrootcert=site.authority.certificate))


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ("wrong authority", "not trusted"),
        ("wrong host", "for another host"),
        ("expired", "expired"),
        ("self-signed", "self.signed"),
        ("off", "offers no TLS"),
    ],
)
async def test_a_wrong_server_is_refused_with_the_reason(site: Site, shown: str, why: str) -> None:
    site.use(shown)
    with pytest.raises(PreflightError) as refused:
        await encrypted(site.url(sslrootcert=site.authority.certificate))
    assert re.search(why, refused.value.message), refused.value.message
    assert refused.value.hint
    assert refused.value.exit_status == 3


async def test_the_right_server_is_refused_where_another_authority_is_trusted(site: Site) -> None:
    site.use("right")
    with pytest.raises(PreflightError, match="not trusted"):
        await encrypted(site.url(sslrootcert=site.other.certificate))
    with pytest.raises(PreflightError, match="not trusted"):
        await encrypted(site.url(sslrootcert="system"))


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
async def test_less_than_verify_full_is_refused_before_anything_is_sent(
    site: Site, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(asyncpg, "connect", never)
    with pytest.raises(PreflightError, match=f"sslmode={mode} is too weak"):
        await encrypted(site.url(sslmode=mode))
    monkeypatch.setenv("PGSSLMODE", mode)
    with pytest.raises(PreflightError, match=f"sslmode={mode} is too weak"):
        await encrypted(site.url())
    monkeypatch.setenv("PGHOST", site.host)
    with pytest.raises(PreflightError, match=f"sslmode={mode} is too weak"):
        await encrypted("postgresql:///postgres")


async def test_weaker_is_had_by_saying_so(site: Site) -> None:
    site.use("off")
    assert not await encrypted(site.url(sslmode="disable"), allow_insecure=True)
    site.use("self-signed")
    assert await encrypted(site.url(sslmode="require"), allow_insecure=True)
    with pytest.raises(PreflightError):  # insecure is allowed, and nothing insecure was asked for
        await encrypted(site.url(sslrootcert=site.authority.certificate), allow_insecure=True)


@asynccontextmanager
async def man_in_the_middle(
    site: Site, answer: bytes, *, forwards: bool = True
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answers a client's request for TLS himself, and passes on what the client says then."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(8)
            writer.write(answer)
            await writer.drain()
            while data := await reader.read(4096):
                heard.append(data)
                if not forwards:
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, site.host, 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1], heard


@pytest.mark.parametrize(
    "answer", [b"N", b"E\x00\x00\x00\x20SFATAL\x00C28000\x00", b"SR\x00\x00\x00\x08\x00\x00\x00\x00", b"?"]
)
async def test_a_proxy_that_tries_a_downgrade_learns_nothing(site: Site, answer: bytes) -> None:
    async with man_in_the_middle(site, answer) as (port, heard):
        url = f"postgresql://with_password:{PASSWORD}@{site.host}:{port}/postgres?sslrootcert={site.authority.certificate}"
        with pytest.raises(PreflightError, match=r"TLS") as refused:
            await encrypted(url)
    assert b"with_password" not in b"".join(heard)
    assert PASSWORD not in str(refused.value)


async def test_a_client_certificate_is_shown_and_a_wrong_one_refused(site: Site) -> None:
    site.use("right")
    mine, foreign = site.authority.sign("with_certificate"), site.other.sign("with_certificate")
    roots = {"sslrootcert": site.authority.certificate}
    good = site.url("with_certificate", sslcert=mine.certificate, sslkey=mine.key, **roots)
    assert await encrypted(good)
    for bad in (
        site.url("with_certificate", **roots),
        site.url("with_certificate", sslcert=foreign.certificate, sslkey=foreign.key, **roots),
        site.url("with_certificate", sslcert=mine.certificate, sslkey=foreign.key, **roots),
        site.url("with_certificate", sslcert="/nowhere/client.crt", sslkey=mine.key, **roots),
    ):
        with pytest.raises(PreflightError):
            await encrypted(bad)
    with pytest.raises(PreflightError, match="sslcert can't be read"):
        await encrypted(bad)


@pytest.fixture
def command(tmp_path: Path) -> Callable[[str], str]:
    """Makes a program that prints a password."""

    def make(source: str) -> str:
        path = tmp_path / "password of.py"
        path.write_text(source)
        return f"{sys.executable} '{path}'"

    return make


async def test_passwords_come_from_url_environment_passfile_and_command(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[str], str]
) -> None:
    site.use("right")
    roots = {"sslrootcert": site.authority.certificate}
    url = site.url("with_password", **roots)
    with pytest.raises(PreflightError):
        await encrypted(url)
    assert await encrypted(url.replace("with_password@", f"with_password:{PASSWORD}@"))
    passfile = tmp_path / "passfile"
    passfile.write_text(f"{site.host}:*:*:with_password:{PASSWORD}\n")
    passfile.chmod(0o600)
    assert await encrypted(site.url("with_password", passfile=passfile, **roots))
    says = command(f"import os; print({PASSWORD!r} if os.environ['BULKMIG_END'] == 'target' else 'no')")
    assert await encrypted(url, password_command=says, end="target")
    with pytest.raises(PreflightError):
        await encrypted(url, password_command=says, end="source")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert await encrypted(url)
    assert await encrypted(url, password_command=command("print()"), end="target")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise SystemExit(f'{__name__} pass-word-CANARY')", "ended with status 1"),
        ("import sys; sys.stdout.buffer.write(bytes([255, 254]))", "no text"),
    ],
)
async def test_a_command_that_fails_is_told_without_what_it_said(
    site: Site, command: Callable[[str], str], source: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    url = site.url("with_password", sslrootcert=site.authority.certificate)
    with pytest.raises(PreflightError, match=why):
        await encrypted(url, password_command=command(source))
    with pytest.raises(PreflightError, match="can't be started"):
        await encrypted(url, password_command="/nowhere/password-of")
    assert "CANARY" not in "".join(capfd.readouterr())


def test_a_command_that_can_not_be_read_is_wrong_usage() -> None:
    with pytest.raises(UsageError):
        parse("postgresql://localhost/x", password_command="say 'it")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@db.example,@127.0.0.1/x",
        "postgresql://me:a@b@db.example/x",
        "postgresql://me@@127.0.0.1/x",
    ],
)
def test_an_address_that_two_readers_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        parse(url)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("postgresql://127.0.0.1/x", True),
        ("postgresql://127.8.9.10/x", True),
        ("postgresql://[::1]/x", True),
        ("postgresql://localhost/x", True),
        ("postgresql:///x?host=/run/postgresql", True),
        ("postgresql://%2Frun%2Fpostgresql/x", True),
        ("postgresql://localhost,db.example/x", False),
        ("postgresql:///x?host=127.0.0.1,db.example", False),
        ("postgresql://127.0.0.1.example/x", False),
        ("postgresql://localhost.example/x", False),
        ("postgresql://0.0.0.0/x", False),
        ("postgresql://%40db.example/x", False),
    ],
)
def test_what_leaves_the_machine_is_verified(url: str, local: bool) -> None:
    address = parse(url)
    assert (address.local, address.sslmode) == (local, "prefer" if local else "verify-full")


@pytest.mark.parametrize(("shown", "status"), [("right", 3), ("expired", 3)])
async def test_the_command_line_says_why_and_not_the_password(site: Site, shown: str, status: int) -> None:
    site.use(shown)
    url = f"postgresql://with_password:{PASSWORD}@{site.host}:{site.server.port}/postgres?sslrootcert={site.authority.certificate}"
    ended = await run_program(site.server.url(), url, "status", "--log-level", "debug")
    assert ended.status == status
    assert ("no ledger" if shown == "right" else "expired") in ended.document["error"]
    assert PASSWORD not in f"{ended.said}{ended.document}"
