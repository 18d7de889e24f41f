"""Files that commands write: whole or not at all, readable by their owner alone, never through a link."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bulkmig.errors import UsageError


def write(path: Path, text: str, option: str) -> int:
    """Replaces what is there; returns how many bytes. Raises UsageError, with the option that named it."""
    data = text.encode("utf-8", "replace")
    place = ""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"can't write {path}: it is no ordinary file", f"check {option}")
        handle, place = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
        with open(handle, "wb") as file:
            file.write(data)
        os.replace(place, path)
    except (OSError, ValueError) as error:
        if place:
            Path(place).unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or "it is no path"
        raise UsageError(f"can't write {path}: {why}", f"check {option}") from None
    return len(data)
