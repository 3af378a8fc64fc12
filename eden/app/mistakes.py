"""Whose an error is: a user's mistake, which a line tells, or a fault of EDEN's, whose traceback is wanted.

EDEN checks what it is given and refuses with ``raise``; an error that an operation raised, such as ``None + 1``, was
not meant. So an error is the user's if

- its class is one of EDEN's own, such as ``FileError``, ``SearchError`` or the ``RefusedError`` of its C++ core;
- it is a ValueError, TypeError or ImportError that a ``raise`` in EDEN's code raised;
- it arose in the code of the user's task, or there a call of EDEN's was given what its binding or a record refuses;
- a module that is not EDEN's is missing, or the system refused a file, a name, memory or room on the disk.

All others are faults of EDEN's.
"""

from __future__ import annotations

import dis
import errno
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

_OWN = f"{Path(__file__).parent.parent}{os.sep}"
_SYSTEM = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ENAMETOOLONG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
)


def mistake(error: BaseException) -> str | None:
    """What to tell the user of an error that is theirs; None for a fault of EDEN's."""
    said = str(error) or type(error).__name__
    if _is_own(type(error)):
        where = _place(error) or (_place(error.__cause__) if error.__cause__ is not None else None)
        return f"{said} ({where})" if where is not None else said
    if isinstance(error, MemoryError):
        return f"out of memory: {said}"
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        return said
    if isinstance(error, FileNotFoundError) and not _has_a_folder():
        return "the current folder is no longer there; allowed is to be in another one"
    if isinstance(error, UnicodeEncodeError) or said == "embedded null byte":
        return f"a name is no text that can be written: {said}"
    if isinstance(error, ModuleNotFoundError) and error.name is not None and error.name.split(".")[0] != "eden":
        return said
    entries = _entries(error.__traceback__)
    meant = bool(entries) and _is_meant(error, entries[-1])
    deepest = next((file for file in map(_file, reversed(entries)) if file.startswith(_OWN) or _is_users(file)), _OWN)
    if not meant and deepest.startswith(_OWN) and not (_is_refused(error) and _place(error) is not None):
        return None
    said = said if meant else f"{type(error).__name__}: {said}"
    where = _place(error)
    return f"{where}: {said}" if where is not None else said


def _place(error: BaseException) -> str | None:
    """Where in the user's code an error came up, None for nowhere."""
    for entry in reversed(_entries(error.__traceback__)):
        if _is_users(_file(entry)):
            return f"{_shown(_file(entry))}, line {entry.tb_lineno}, in {entry.tb_frame.f_code.co_qualname}"
    return None


def _file(entry: TracebackType) -> str:
    return entry.tb_frame.f_code.co_filename


def in_the_way(error: BaseException) -> str:
    """Of a fault, what the user's code was doing when it came up; empty if that was not running."""
    where = _place(error)
    return "" if where is None else f"; {where} was running"


def report(error: BaseException) -> str:
    """The text of a report of a fault: versions, command and traceback."""
    import platform

    lines = [f"command: {sys.argv}", f"Python {platform.python_version()} on {platform.platform()}"]
    for name in ("eden", "torch", "numpy"):
        module = sys.modules.get(name)
        if module is not None:
            lines.append(f"{name} {getattr(module, '__version__', 'of no version')}")
    return "\n".join([*lines, "", *traceback.format_exception(error)])


def _has_a_folder() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def _is_refused(error: BaseException) -> bool:
    """Whether arguments were refused by a binding of C++, which lists what it takes, or by a record's fields."""
    return (isinstance(error, TypeError) and "incompatible function arguments" in str(error)) or (
        type(error).__name__ == "ValidationError" and type(error).__module__.startswith("pydantic")
    )


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "eden"


def _entries(trace: TracebackType | None) -> list[TracebackType]:
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def _is_meant(error: BaseException, entry: TracebackType) -> bool:
    """Whether EDEN's code, at the innermost entry of a traceback, raised an error on purpose."""
    code = entry.tb_frame.f_code
    if not code.co_filename.startswith(_OWN):
        return False
    raised = dis.opname[code.co_code[entry.tb_lasti]] == "RAISE_VARARGS"
    return raised and isinstance(error, (ValueError, TypeError, ImportError))


def _is_users(file: str) -> bool:
    tasks = sys.modules.get("eden.app.tasks")
    return tasks is not None and bool(tasks.is_users(file))


def _shown(file: str) -> str:
    """A file's name as short as it can be said."""
    try:
        return min(file, os.path.relpath(file), key=len)
    except ValueError:  # on another drive
        return file
