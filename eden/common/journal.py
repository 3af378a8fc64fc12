"""Journal of a search: every report, written as soon as it is made, so that a killed run goes on where it was.

JSON lines. The first names the run by a fingerprint of its settings, data and model; each further one holds the report
of one trial, or the budget that the search was given before the next one. Every line ends in a CRC-32 of its bytes
before it, which goes on from that of the line before: so a line that was altered, left out, or put there from another
journal is damage. A line is only ever appended, so a kill can tear none but the last, and that one is dropped. What the
machine itself loses in a crash is made again. csrc/profiler/journal.cpp reads and writes the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eden.common.files import FileError

FORMAT = "eden-journal"
VERSION = 3


def _seal(checksum: int) -> bytes:
    """The end of a line."""
    return b',"crc32":"%08x"}' % checksum


_SEAL_BYTES = len(_seal(0))


def _encode(entry: dict[str, Any], before: int) -> tuple[bytes, int]:
    """A line after one of the checksum ``before``, and its own checksum."""
    # Without the brace, which the seal sets again.
    body = json.dumps(entry, separators=(",", ":"))[:-1].encode()
    checksum = zlib.crc32(body, before)
    return body + _seal(checksum) + b"\n", checksum


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _decode(line: bytes, before: int) -> tuple[dict[str, Any] | None, int]:
    """The entry of a line after one of the checksum ``before``, None if it is damaged; and its own checksum."""
    body = line[:-_SEAL_BYTES]
    checksum = zlib.crc32(body, before)
    entry = _parsed(line) if line == body + _seal(checksum) else None
    return entry if isinstance(entry, dict) else None, checksum


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
        self._checksum = 0  # of the last line
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise FileError(path, f"cannot be used as a journal: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise FileError(path, "cannot be used as a journal: it is no regular file")
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
        *lines, torn = content.split(b"\n")
        length = 0
        for number, line in enumerate(lines, start=1):
            entry, checksum = _decode(line, self._checksum)
            if number == 1:
                self._check_version(_parsed(line) if entry is None else entry)
            if entry is None:
                # A torn line, behind which only its newline came, is dropped.
                if number == len(lines) and number > 1 and not torn:
                    break
                raise FileError(self.path, f"line {number}: damaged, its checksum is wrong; or this is no journal")
            if number == 1:
                self._compare(entry, header["fingerprint"])
            else:
                self._read(entry, number)
            length += len(line) + 1
            self._checksum = checksum
        if lines:
            os.ftruncate(self._file, length)
            return
        beginning = _encode(header, 0)[0][:24]
        if torn[: len(beginning)] != beginning[: len(torn)]:
            raise FileError(self.path, "line 1: no journal, and it is not overwritten")
        os.ftruncate(self._file, 0)
        self._append(header)

    def _check_version(self, found: Any) -> None:
        if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") == VERSION:
            return
        version = found.get("version")
        raise FileError(
            self.path, f"line 1: version: found {version!r}, allowed is {VERSION}, this version of eden's: begin anew"
        )

    def _read(self, entry: dict[str, Any], number: int) -> None:
        trial, difference, budget = entry.get("trial"), entry.get("difference"), entry.get("budget")
        if type(trial) is int and trial == len(self.history):
            if difference is None and type(budget) is int and budget >= 0:
                self.budgets.append((trial, budget))
                return
            if budget is None and isinstance(difference, (int, float)):
                self.history.append((trial, float(difference)))
                return
        raise FileError(self.path, f"line {number}: found {str(entry)[:80]}; allowed is trial {len(self.history)}")

    def _compare(self, found: dict[str, Any], now: dict[str, Any]) -> None:
        before = found.get("fingerprint")
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

    def _append(self, entry: dict[str, Any]) -> None:
        line, self._checksum = _encode(entry, self._checksum)
        self._write(line)

    def append(self, trial: int, difference: float) -> None:
        """Add a report. Raises FileError if it cannot be written."""
        self._append({"trial": trial, "difference": difference})

    def append_budget(self, trial: int, observations: int) -> None:
        """Add a budget that is given before the report of a trial. Raises FileError if it cannot be written."""
        self._append({"trial": trial, "budget": observations})

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
