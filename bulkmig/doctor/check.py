"""One question to the ends, and its answer."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Check(Struct, frozen=True):
    """`needed`: where it is not ok, commands refuse to start; else it is advice. `remedy`: what to do, often
    SQL to run as the database's owner."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True

    def document(self) -> dict[str, Any]:
        """Its entry in the JSON document."""
        return {
            "name": self.name,
            "ok": self.ok,
            "detail": self.detail,
            "remedy": "" if self.ok else self.remedy,
            "needed": self.needed,
        }


def lacking(name: str, problems: list[str], fine: str, remedy: str, *, needed: bool = True) -> Check:
    """A check that is ok where there are no problems."""
    return Check(name, not problems, "; ".join(problems) or fine, remedy, needed)
