"""Every error of bulkmig, grouped by what the program does about it.

    BulkmigError
    ├── UsageError        wrong usage or configuration: nothing was touched, exit status 2
    ├── PreflightError    connection, TLS, privilege or schema: nothing was touched, exit status 3
    ├── Stopped           stopped in good order (window over, interrupted): exit status 4
    ├── ServerLost        a server was away for longer than the run waits: exit status 1
    ├── CheckpointError   a checkpoint can't be read: nothing was changed, exit status 1
    └── VesselError       one vessel can't be migrated or verified; the fleet goes on

An error carries what a person needs: what happened (`message`), what to do (`hint`) and, where it is
about data, where (`vessel_id`, `entity`, `source_id`, `field`). Messages never hold values of rows.
"""

from __future__ import annotations


class BulkmigError(Exception):
    """Base of all errors that bulkmig raises on purpose."""

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(BulkmigError):
    """The command line, the configuration or the selection can't be carried out."""

    exit_status = 2


class PreflightError(BulkmigError):
    """A connection, a privilege or a schema is not as the command needs it."""

    exit_status = 3


class Stopped(BulkmigError):
    """The run ended in good order before everything was done; the same command goes on."""

    exit_status = 4


class CheckpointError(BulkmigError):
    """A checkpoint is not what was stored, or the key doesn't open it."""


class ServerLost(BulkmigError):
    """A server can't be reached any more, however long the run waited; the same command goes on."""


class VesselError(BulkmigError):
    """A vessel failed. `phase` is where: extract, validate, transform, load or verify."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        phase: str,
        vessel_id: str = "",
        entity: str = "",
        source_id: str = "",
        field: str = "",
    ) -> None:
        super().__init__(message, hint)
        self.phase = phase
        self.vessel_id = vessel_id
        self.entity = entity
        self.source_id = source_id
        self.field = field
