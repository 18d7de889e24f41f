"""bulkmig: an async, actor-based bulk migrator from the Onboarding Portal to the Maintenance Portal.

    cli ▶ monitor, doctor ▶ sync, retry ▶ fleet, verification, assess, rollback ▶ load ▶ workers ▶ pipeline
        ▶ transform, verify ▶ {source, target, ledger} ▶ postgres ▶ _core ▶ {config, errors}

Imports go from left to right only; `entities` says what moves and imports nothing but `_core`.
"""

import bulkmig._core.early  # noqa: F401 (first of all: what follows takes half a second)
from bulkmig._core.stop import Stop
from bulkmig._version import __version__
from bulkmig.assess import plan, validate
from bulkmig.config import Settings
from bulkmig.errors import BulkmigError, PreflightError, Stopped, UsageError, VesselError
from bulkmig.fleet.migrate import migrate
from bulkmig.report import Failure, Report
from bulkmig.retry.run import retry
from bulkmig.rollback import rollback
from bulkmig.selection import Selection
from bulkmig.sync.resolve import listed as conflicts
from bulkmig.sync.resolve import resolve
from bulkmig.sync.run import remigrate, sync
from bulkmig.verification import verify
from bulkmig.verified import Deviation, Verified

__all__ = [
    "BulkmigError",
    "Deviation",
    "Failure",
    "PreflightError",
    "Report",
    "Selection",
    "Settings",
    "Stop",
    "Stopped",
    "UsageError",
    "Verified",
    "VesselError",
    "__version__",
    "conflicts",
    "migrate",
    "plan",
    "remigrate",
    "resolve",
    "retry",
    "rollback",
    "sync",
    "validate",
    "verify",
]
