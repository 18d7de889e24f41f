"""The schemas of both ends, as SQL scripts that create them in an empty database.

`onboarding.sql` is the source; `maintenance.postgres.sql` and `maintenance.sqlite.sql` are the target.
"""

from __future__ import annotations

from importlib.resources import files


def read(name: str) -> str:
    """The text of the script `name`, for example `onboarding.sql`.

    Raises FileNotFoundError, which lists what is there, if no script has that name.
    """
    # Compared with the listing instead of opened: a name can't lead out of this directory.
    found = {entry.name: entry for entry in files(__name__).iterdir() if entry.name.endswith(".sql")}
    if name not in found:
        raise FileNotFoundError(f"no schema named {name!r}; there are {', '.join(sorted(found))}")
    return found[name].read_text(encoding="utf-8")
