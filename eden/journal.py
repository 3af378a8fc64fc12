"""Journal of a search: every report on disk as soon as it is made, so that a killed run goes on where it was.

JSON lines. The first names the run by a fingerprint of its settings, data and model; each further one holds the report
of one trial, or the budget that the search was given before the next one. Every line carries a CRC-32 of itself. A line
is only ever appended, so a kill can tear none but the last, and that one is dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eden.files import FileError

FORMAT = "eden-journal"
VERSION = 1
_CHECKSUM = "crc32"


def _encode(entry: dict[str, Any]) -> bytes:
    body = json.dumps(entry)
    return json.dumps({**entry, _CHECKSUM: f"{zlib.crc32(body.encode()):08x}"}).encode() + b"\n"


def _decode(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict):
        return None
    checksum = entry.pop(_CHECKSUM, None)
    return entry if checksum == f"{zlib.crc32(json.dumps(entry).encode()):08x}" else None


class Journal:
    """A journal that is open for appending; a context manager.

    Args:
        path: the file; made where it does not exist.
        fingerprint: what names the run, JSON values by field.

    Attributes:
        history: (trial, difference) of the reports that the file held when it was opened.
        budgets: (trial, observations) of the budgets that it held, each given before the report of that trial.

    Raises:
        FileError: if the file cannot be read or written, is no journal, is damaged elsewhere than at its end, is in use
            by another process, or is of another run; the message names the line or the field that differs.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: dict[str, Any]) -> None:
        self.path = Path(path)
        self.history: list[tuple[int, float]] = []
        self.budgets: list[tuple[int, int]] = []
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise FileError(path, f"cannot be used as a journal: {error.strerror}") from error
        try:
            self._open(fingerprint)
        except BaseException:
            os.close(self._file)
            raise

    def _open(self, fingerprint: dict[str, Any]) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FileError(self.path, "in use by another process") from error
        header = {"format": FORMAT, "version": VERSION, "fingerprint": json.loads(json.dumps(fingerprint))}
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise FileError(self.path, f"cannot be read: {error.strerror}") from error
        lines = content.split(b"\n")
        torn = lines.pop()
        entries: list[dict[str, Any]] = []
        length = 0
        for number, line in enumerate(lines, start=1):
            entry = _decode(line)
            if entry is None:
                if number == len(lines) and number > 1 and not torn:
                    break
                raise FileError(self.path, f"line {number}: damaged, its checksum is wrong; or this is no journal")
            entries.append(entry)
            length += len(line) + 1
        if not entries:
            beginning = _encode(header)[:24]
            if torn and not (torn.startswith(beginning) or beginning.startswith(torn)):
                raise FileError(self.path, "line 1: no journal, and it is not overwritten")
            os.ftruncate(self._file, 0)
            self._write(_encode(header))
            return
        self._compare(entries[0], header)
        for number, entry in enumerate(entries[1:], start=2):
            trial, difference, budget = entry.get("trial"), entry.get("difference"), entry.get("budget")
            if type(trial) is int and trial == len(self.history):
                if difference is None and type(budget) is int and budget >= 0:
                    self.budgets.append((trial, budget))
                    continue
                if budget is None and isinstance(difference, (int, float)):
                    self.history.append((trial, float(difference)))
                    continue
            raise FileError(self.path, f"line {number}: found {str(entry)[:80]}; allowed is trial {len(self.history)}")
        os.ftruncate(self._file, length)

    def _compare(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        for field in ("format", "version"):
            if found.get(field) != wanted[field]:
                raise FileError(self.path, f"line 1: {field}: found {found.get(field)!r}, allowed is {wanted[field]!r}")
        before, now = found.get("fingerprint"), wanted["fingerprint"]
        if not isinstance(before, dict):
            raise FileError(self.path, f"line 1: fingerprint: found {before!r}, allowed is an object")
        for field in dict.fromkeys([*now, *before]):
            if before.get(field) != now.get(field):
                raise FileError(
                    self.path,
                    f"the journal of another run: {field} was {str(before.get(field))[:200]} there and is "
                    f"{str(now.get(field))[:200]} here",
                )

    def _write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            raise FileError(self.path, f"cannot be written: {error.strerror}") from error

    def append(self, trial: int, difference: float) -> None:
        """Add a report. Raises FileError if it cannot be written."""
        self._write(_encode({"trial": trial, "difference": difference}))

    def append_budget(self, trial: int, observations: int) -> None:
        """Add a budget that is given before the report of a trial. Raises FileError if it cannot be written."""
        self._write(_encode({"trial": trial, "budget": observations}))

    def close(self) -> None:
        """Put everything on the disk and release the file."""
        os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
