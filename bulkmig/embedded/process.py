"""One server process: made, started, stopped, and not left behind."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode

import asyncpg

from bulkmig.embedded.account import Account, own_directory, reachable, temporary_directory
from bulkmig.embedded.find import Install, best
from bulkmig.errors import BulkmigError, PreflightError

HOST = "127.0.0.1"
SUPERUSER = "postgres"

# Below the ports that Linux (32768) and macOS (49152) give to outgoing connections: none of those
# can take the port of a server that is stopped for a moment.
_PORTS = range(20_000, 32_000)

_ATTEMPTS = 10  # of a start, where another process is in the way
_REMAINS_SECONDS = 0.2
_START_SECONDS = 60.0  # recovery after an immediate stop included
_STOP_SECONDS = 60.0  # a fast stop writes a checkpoint
_QUIT_SECONDS = 10.0
_POLL_SECONDS = 0.01

# Reads one line. "done": nothing to do. "wait": the server stays until someone else stops it. End of
# file: the process that held the other end is gone, and the server goes too.
# $1: data directory; $2: the directory to remove once the server has ended, or nothing to remove.
_GUARD = """
read -r word
[ "$word" = done ] && exit
if pid=$(head -n 1 "$1/postmaster.pid"); then
    limit=300 pause=0.1
    case "$word,$2" in
        wait,*) limit= pause=1 ;;
        *,) kill -INT "$pid" ;;
        *) kill -QUIT "$pid" ;;
    esac
    n=0
    while [ -e "$1/postmaster.pid" ] && kill -0 "$pid" && [ "$n" -lt "${limit:-$((n + 1))}" ]; do
        sleep $pause
        n=$((n + 1))
    done
fi
[ -z "$2" ] || rm -rf -- "$2"
"""


class _PortTakenError(PreflightError):
    """Another process listens on the port."""


class _RemainsError(PreflightError):
    """Processes of a killed server haven't noticed yet that it is gone."""


class Server:
    """One server: `host`, `port`, `install`, `directory` (all its files), `data` (its data directory).

    Made by `server()`. May be used from any thread, and where an event loop runs, though it blocks that:
    about a second for the first start, half of that for a later one.
    """

    host = HOST

    def __init__(
        self,
        directory: Path,
        *,
        install: Install,
        settings: Mapping[str, str],
        account: Account,
        temporary: bool,
    ) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.install = install
        self.port = 0  # none before the first start; the same from then on
        self._settings = dict(settings)
        self._account = account
        self._temporary = temporary
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the running server; None while it is stopped."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def log(self) -> Path:
        """The file the server logs to."""
        return self.directory / "server.log"

    def url(self, database: str = "postgres", user: str = SUPERUSER, **parameters: str) -> str:
        """A `postgresql://` URL; `parameters` become its query, as in `sslmode="disable"`."""
        query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        return f"postgresql://{quote(user, safe='')}@{HOST}:{self.port}/{quote(database, safe='')}{query}"

    def start(self) -> None:
        """Start, ready for connections on return; nothing happens if it runs already.

        The first start makes the data directory. Raises PreflightError, with the server's own words.
        """
        if self.pid is not None:
            return
        if self._guard is None:
            self._guard = self._post_guard()
        if not self.data.exists():
            self._initialise()
        for attempt in range(1, _ATTEMPTS + 1):
            port = self.port or _free_port()
            try:
                self._launch(port)
            except _PortTakenError:
                # Another process took the port after it was found free. A first start takes the next.
                if self.port or attempt == _ATTEMPTS:
                    raise
            except _RemainsError:
                if attempt == _ATTEMPTS:
                    raise
                time.sleep(_REMAINS_SECONDS)
            else:
                self.port = port
                return

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop; nothing happens if it is stopped already.

        `fast` ends sessions and writes a checkpoint; `immediate` is a crash: the next start recovers.
        """
        process = self._process
        if process is None:
            return
        patience = {signal.SIGQUIT: _QUIT_SECONDS, signal.SIGKILL: _QUIT_SECONDS}
        if mode == "fast":
            patience = {signal.SIGINT: _STOP_SECONDS, **patience}
        for number, seconds in patience.items():
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                break
        self._process = None

    def close(self) -> None:
        """Stop for good, and remove the directory if it is a temporary one."""
        self.stop("immediate" if self._temporary else "fast")
        self._dismiss_guard()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def leave_running(self) -> str:
        """Let the server outlive this process; returns the shell command that ends it.

        A temporary directory goes when the server does. Raises BulkmigError if the server is stopped.
        """
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            raise BulkmigError("a server that is stopped can't be left running")
        # Popen's destructor warns of children that still run: this one is meant to.
        process.returncode = 0
        self._dismiss_guard("wait" if self._temporary else "done")
        self._temporary = False
        return f"kill -INT {process.pid}"

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Create database `name`, empty or as a copy of `template` (which nobody may be connected to)."""
        suffix = f" TEMPLATE {_identifier(template)}" if template is not None else ""
        self.execute(f"CREATE DATABASE {_identifier(name)}{suffix}")

    def drop_database(self, name: str) -> None:
        """Drop database `name`, sessions in it or not; nothing happens if it is not there."""
        self.execute(f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")

    def execute(self, sql: str, database: str = "postgres") -> None:
        """Run a script as superuser in `database`. Raises BulkmigError with the server's message."""

        async def work() -> None:
            # ssl=False, not sslmode: PGSSLMODE of the environment is about other servers.
            connection = await asyncpg.connect(self.url(database), ssl=False)
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        # A thread of its own: the caller may be inside an event loop, where asyncio.run is an error.
        with ThreadPoolExecutor(1, thread_name_prefix="embedded") as pool:
            try:
                pool.submit(lambda: asyncio.run(work())).result()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                raise BulkmigError(f"embedded PostgreSQL, database {database}: {error}") from error

    def _initialise(self) -> None:
        # Under another name until it is whole: a data directory that is there is complete.
        unfinished = self.data.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [
            *(str(self.install.bindir / "initdb"), "-D", str(unfinished), "-U", SUPERUSER),
            *("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"),
            *(["--no-sync"] if self._temporary else []),
        ]
        done = self._account.run(command)
        if done.returncode != 0:
            raise PreflightError("initdb failed", _last_lines(done.stderr))
        unfinished.rename(self.data)

    def _launch(self, port: int) -> None:
        command = [
            *(str(self.install.bindir / "postgres"), "-D", str(self.data)),
            *("-h", HOST, "-p", str(port), "-k", ""),  # no socket: its path would have a length limit
            *(part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")),
        ]
        with self.log.open("ab") as log:
            begin = log.tell()
            self._process = self._account.spawn(command, log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready(self._process.pid):
            ended = self._process.poll() is not None
            if not ended and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                continue
            self.stop("immediate")
            said = self.log.read_bytes()[begin:].decode(errors="replace")
            if "could not bind" in said:
                raise _PortTakenError(f"port {port} is taken by another process", _last_lines(said))
            if "pre-existing shared memory block" in said:
                raise _RemainsError("processes of the server before still run", _last_lines(said))
            problem = "ended while starting" if ended else f"was not ready within {_START_SECONDS:.0f} s"
            raise PreflightError(f"PostgreSQL {self.install.release} {problem}", _last_lines(said))

    def _ready(self, pid: int) -> bool:
        # The first line tells our server from one that crashed and left its file; the eighth is its state.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _post_guard(self) -> subprocess.Popen[bytes]:
        removed = str(self.directory) if self._temporary else ""
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self.data), removed],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # an interrupt from the terminal is for this process alone
        )

    def _dismiss_guard(self, word: Literal["done", "wait"] = "done") -> None:
        guard, self._guard = self._guard, None
        if guard is None or guard.stdin is None:
            return
        with guard.stdin as pipe, contextlib.suppress(BrokenPipeError):  # someone killed it
            pipe.write(f"{word}\n".encode())
        if word == "wait":
            guard.returncode = 0  # as with the server: it stays
        else:
            guard.wait()


@contextmanager
def server(
    directory: Path | None = None,
    *,
    install: Install | None = None,
    settings: Mapping[str, str] | None = None,
    within: Path | None = None,
) -> Iterator[Server]:
    """A running server of `install` (default: `best()`), stopped at the end.

    Its files lie in `directory`, which must be new, empty or from an earlier server of the same major
    version and which stays; without one, in a temporary directory (made in `within`, by default where
    temporary files go) that goes with the server.
    `settings` are server parameters, as in `{"fsync": "off"}`. Raises PreflightError where it can't start.
    """
    chosen = install or best()
    account = Account.to_run_servers()
    if directory is None:
        root = temporary_directory(account, within)
    else:
        root = own_directory(directory, chosen, account)
    made: Server | None = None
    try:
        made = Server(
            root,
            install=reachable(chosen, root, account),
            settings=settings or {},
            account=account,
            temporary=directory is None,
        )
        made.start()
        yield made
    finally:
        if made is not None:
            made.close()
        elif directory is None:
            shutil.rmtree(root, ignore_errors=True)


def _free_port() -> int:
    for _ in range(100):
        port = random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise PreflightError(f"no free port found between {_PORTS.start} and {_PORTS.stop - 1}")


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-6:])
