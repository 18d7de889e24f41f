"""bulkmig in processes that have their imports behind them.

To load the program takes most of a second of CPU, and tests start it by the hundred to kill it later. One
process has loaded all of it and runs nothing; each program is a fork of that one, which from there on is what
`python -m bulkmig` is at the end of its imports: a process, a session and a process group of its own, with
the streams, the environment and the working directory that it was given. A copy of the package has a process
of its own, which has loaded that one.

This module is both ends: `start` for tests, and what `python -m tests.support.warm` does.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import IO

from tests.support import cores

CHECKOUT = Path(__file__).parents[2]
POSSIBLE = hasattr(os, "pidfd_open")  # Linux; elsewhere programs start cold
_LARGEST = 1 << 20  # bytes of a request
_NUMBER = 4  # bytes of a process's id or exit status


class Forked:
    """A running program; what asyncio's `Process` is to one that was started cold."""

    def __init__(self, pid: int, answers: IO[bytes]) -> None:
        self.pid = pid
        self.returncode: int | None = None  # negative: the signal that killed it
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._loop.add_reader(answers, self._note)

    def _note(self) -> None:
        self._loop.remove_reader(self._answers)
        with self._answers:
            said = self._answers.read(_NUMBER)
        if said:
            self.returncode = int.from_bytes(said, signed=True)
            self._ended.set_result(None)
        else:
            self._ended.set_exception(ChildProcessError("who started the program is gone"))

    async def wait(self) -> int:
        """Waits for its end; returns its exit status."""
        await asyncio.shield(self._ended)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError where it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)


class _Loaded:
    """A process that has loaded the program, and the way to it. `where`: the directory of the package."""

    def __init__(self, where: Path) -> None:
        self._channel, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its, cores.all_of_them():
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(its.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                cwd=where,  # what lies there is found before what is installed
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
                start_new_session=True,
            )

    def ask(
        self,
        main: str,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        directory: Path,
        streams: tuple[int, int],
    ) -> IO[bytes]:
        """Asks for a program; returns where its id is told, and its exit status at its end."""
        request = json.dumps([main, list(arguments), dict(variables), str(directory)]).encode()
        answers, its = os.pipe()
        try:
            socket.send_fds(self._channel, [request], [*streams, its])
        finally:
            os.close(its)
        return os.fdopen(answers, "rb", buffering=0)

    def close(self) -> None:
        self._channel.close()
        self._process.wait()


_loaded: dict[Path, _Loaded] = {}  # by where the package is, once a program of it was started


async def start(
    arguments: Sequence[str],
    variables: Mapping[str, str],
    out: IO[bytes],
    err: IO[bytes],
    *,
    directory: Path | None = None,
    main: str = "bulkmig.cli",
    where: Path = CHECKOUT,
) -> Forked:
    """Starts `bulkmig` with these arguments; its standard input is empty. `directory`: where it works, by
    itself where this process does; `main`: the module whose `main` it is; `where`: where the package is."""
    if where not in _loaded:
        _loaded[where] = _Loaded(where)
    answers = _loaded[where].ask(
        main, arguments, variables, directory or Path.cwd(), (out.fileno(), err.fileno())
    )
    loop = asyncio.get_running_loop()
    forked = asyncio.Event()
    loop.add_reader(answers, forked.set)
    try:
        await forked.wait()
    finally:
        loop.remove_reader(answers)
    return Forked(int.from_bytes(answers.read(_NUMBER)), answers)


def close(where: Path | None = None) -> None:
    """Ends what has loaded the package that is there, or all that was loaded. Programs have ended by then."""
    for one in list(_loaded):
        if where in (None, one):
            _loaded.pop(one).close()


def _load() -> None:
    """Imports what any verb imports, as the command does."""
    sys.argv = ["bulkmig"]
    main = import_module("bulkmig.__main__")
    commands = import_module("bulkmig.cli")
    for module in iter_modules(commands.__path__):
        import_module(f"{commands.__name__}.{module.name}")
    import_module("uvloop")
    sys.modules["__main__"] = main  # what further processes of a program begin with


def _serve(channel: socket.socket) -> str:
    """Forks at each request, and tells each fork's end. Returns the module whose `main` a fork is, '' once
    nobody asks any more."""
    running: dict[int, tuple[int, int]] = {}  # descriptor of a process -> its id, and where its end is told
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in running:
                    selector.unregister(key.fd)
                    pid, answers = running.pop(key.fd)
                    _tell(answers, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                    os.close(answers)
                    os.close(key.fd)
                    continue
                request, given, _, _ = socket.recv_fds(channel, _LARGEST, 3)
                if not request:
                    return ""
                out, err, answers = given
                pid = os.fork()
                if pid == 0:
                    for descriptor in (answers, *running, *(others for _, others in running.values())):
                        os.close(descriptor)
                    return _become(request, out, err)
                os.close(out)
                os.close(err)
                _tell(answers, pid)
                process = os.pidfd_open(pid)
                running[process] = (pid, answers)
                selector.register(process, selectors.EVENT_READ)


def _tell(answers: int, number: int) -> None:
    try:
        os.write(answers, number.to_bytes(_NUMBER, signed=True))
    except BrokenPipeError:  # the test that asked is over
        return


def _become(request: bytes, out: int, err: int) -> str:
    """Turns a fork into the program that was asked for; returns the module whose `main` that is."""
    main: str
    main, arguments, variables, directory = json.loads(request)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have it ignored, as nohup does
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    random.seed()
    for descriptor, number in ((out, 1), (err, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = ["bulkmig", *arguments]
    return main


def _main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        _load()
        main = _serve(channel)
    if main:
        import_module(main).main()


if __name__ == "__main__":
    _main()
