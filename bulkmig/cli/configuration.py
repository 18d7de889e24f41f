"""What the configuration file may say: every key with its meaning, unit and default; and what is in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bulkmig.config import MEBIBYTE, Settings
from bulkmig.postgres.dsn import masked

# Section -> key -> what it means, with its unit.
ABOUT: dict[str, dict[str, str]] = {
    "The two ends": {
        "source": "URL of the Onboarding Portal, which is only ever read. Passwords belong in the passfile.",
        "target": "URL of the Maintenance Portal.",
        "allow_insecure": "Whether a connection that leaves this machine may be less than verify-full.",
        "password_command": "Prints the password of an end (BULKMIG_END: source, target) whose URL has none.",
        "connect_timeout": "Seconds until an attempt to connect is given up.",
        "network_timeout": "Seconds of silence after which a server is asked whether it works at all.",
        "outage": "Seconds for which a server may be away in mid-run before the run ends.",
        "operator": "E-mail address of who does this, for the ledger. Without it: the system's user.",
    },
    "What an error does": {
        "on_error": '"fail": a row with an error fails its vessel. "quarantine": the row is put aside.',
        "continue_on_error": "Whether to go on with other vessels after one has failed.",
        "attempts": "How often what fails for a reason that passes is tried, per unit of work.",
        "rollback_on_error": "Whether a vessel is rolled back if its verification finds a difference.",
    },
    "How much at once": {
        "parallel_vessels": "Units of work at once, in each process.",
        "processes": "Processes side by side, each with a share of the vessels and of the memory.",
        "memory": "Bound on all rows in flight together: bytes, or with a unit of 1024 (KB, MB, GB).",
        "max_rows_per_second": "Target rows a second at most, over the whole run. Without it: no limit.",
        "window": "Start no vessel that is expected to end later, as 90s, 45m or 1h30m. Without it: no end.",
    },
    "How rows get in": {
        "dry_run": "Whether each vessel is loaded and rolled back again.",
        "verify": "Whether a migration compares every cell at its end.",
        "fk_check": 'Foreign keys: "row" by row, or by one query a reference with triggers off ("set").',
    },
    "Synchronisation": {
        "conflict": 'What both sides changed: "source_wins", "target_wins", "merge" or "manual".',
        "full": "Whether every row is compared, also where no time-stamp has moved.",
        "new": "Whether --all brings newly approved vessels too.",
        "allow_deletions": "Whether more may be deleted than the brake lets through.",
        "brake_share": "Share of a vessel's rows, 0 to 1, that may go before the brake holds its deletions.",
        "brake_least": "Equipment of a vessel: where fewer than so many go, the brake doesn't hold.",
    },
    "More machines than one": {
        "queue": "Whether vessels are put into the queue, for workers on any machine.",
        "max_source_connections": "Sessions for vessels on the source, over all workers. Unset: no limit.",
        "max_target_connections": "The same on the target.",
        "heartbeat": "Seconds of silence after which a worker is taken for dead.",
    },
    "Encryption of the ledger": {
        "key_file": "File with the keys, one a line, 32 bytes in base64 or hex: the first one encrypts.",
        "key_command": "Prints the same, where there is no key_file.",
        "require_encryption": "Whether a command that writes refuses to start without a key.",
    },
    "Checkpoints": {
        "keep_checkpoints": "How many checkpoints of a vessel are kept at least.",
        "keep_days": "Days for which a checkpoint is kept at least.",
    },
    "What is shown": {
        "reveal": "Whether personal values are shown instead of masked.",
    },
}
# What stands in the example where the default says nothing.
_SAMPLES = {
    "source": "postgresql://bulkmig_reader@onboarding.example.org/onboarding?sslrootcert=system",
    "target": "postgresql://bulkmig_writer@maintenance.example.org/maintenance?sslrootcert=system",
    "password_command": "/usr/local/bin/password-of bulkmig",
    "operator": "operator@example.org",
    "max_rows_per_second": 50000,
    "window": "2h",
    "max_source_connections": 60,
    "max_target_connections": 60,
    "key_file": "/etc/bulkmig/ledger.keys",
    "key_command": "/usr/local/bin/keys-of bulkmig",
}
_HEAD = """\
# bulkmig.toml: read from the working directory, or from where --config says.
# Flags beat the environment, that beats this file, and that beats the defaults.
# What is commented out here is the default, or an example where there is none.
"""


def example() -> str:
    """A configuration file with every key, each explained and commented out."""
    return _HEAD + "".join(f"\n# --- {title} ---\n{_section(keys)}" for title, keys in ABOUT.items())


def _section(keys: Mapping[str, str]) -> str:
    defaults = msgspec.structs.asdict(Settings())
    return "".join(
        f"\n# {about}\n#{key} = {_toml(key, _SAMPLES.get(key, defaults[key]))}\n"
        for key, about in keys.items()
    )


def in_force(settings: Settings, origins: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    """(key, value, where it is from) of every setting, secrets masked."""
    values = msgspec.structs.asdict(settings)
    for key in (key for keys in ABOUT.values() for key in keys):
        value = masked(values[key]) if key in ("source", "target") and values[key] else values[key]
        yield key, value, origins.get(key, "default")


def shown(key: str, value: Any) -> str:
    """A value as the file would have it; nothing where nothing is set."""
    return "" if value in (None, "") else _toml(key, value)


def _toml(key: str, value: Any) -> str:
    if key == "memory" and isinstance(value, int) and value % MEBIBYTE == 0:
        value = f"{value // MEBIBYTE}MB"
    if key == "window" and isinstance(value, float):
        value = f"{value:.0f}s"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()  # a TOML basic string as well
    return str(value)
