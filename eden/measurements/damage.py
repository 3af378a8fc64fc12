"""What is said of damaged lines: a note, or an error where they are too many."""

from __future__ import annotations

from pathlib import Path

from eden.common.files import FileError

MAX_DAMAGED = 0.01
"""Share of damaged lines above which a file is an error."""
KEPT_DAMAGES = 5
"""Damages that are told one by one."""


def damage_note(path: Path, damaged: int, records: int, first: str, max_damaged: float) -> str | None:
    """What to note of damaged lines, None if there are none. Raises FileError for too many."""
    if damaged == 0:
        return None
    if damaged > max_damaged * records:
        many = f" (and {damaged - 1} more damaged lines of {records})" if damaged > 1 else ""
        raise FileError(path, first + many)
    return f"left out {damaged} damaged lines of {records}; the first: {first}"
