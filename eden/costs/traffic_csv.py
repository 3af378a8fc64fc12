"""Traffic that was measured or simulated elsewhere, read from CSV."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Collection, Mapping

from eden.common.files import FileError, read_text

_TABLE = ("operand", "read_bytes", "written_bytes")
_TRACE = ("operand", "access", "bytes")


def read_counts(path: str | os.PathLike[str], known: Collection[str]) -> dict[str, list[float]]:
    """Bytes read and written by operand, of those that are known. Raises FileError naming the line and column."""
    rows = csv.DictReader(io.StringIO(read_text(path)), strict=True)
    moved = {name: [0.0, 0.0] for name in known}
    seen: set[str] = set()
    try:
        columns = sorted(rows.fieldnames or [])
        if columns not in (sorted(_TABLE), sorted(_TRACE)):
            raise FileError(
                path,
                f"line 1: columns are {', '.join(rows.fieldnames or ['none'])}; allowed are {', '.join(_TABLE)}, or "
                f"{', '.join(_TRACE)}",
            )
        table = "access" not in columns
        for row in rows:
            place = f"line {rows.line_num}"
            if None in row or None in row.values():
                raise FileError(path, f"{place}: found another number of values than the {len(columns)} columns")
            name = row["operand"]
            if name not in known:
                raise FileError(
                    path, f"{place}, operand: found {name!r}, which is not among the model's {len(known)} operands"
                )
            if table:
                if name in seen:
                    raise FileError(path, f"{place}, operand: found {name!r} a second time; allowed is one line")
                seen.add(name)
                moved[name] = [_number(path, place, row, column) for column in ("read_bytes", "written_bytes")]
                continue
            if row["access"] not in ("read", "write"):
                raise FileError(path, f"{place}, access: found {row['access']!r}; allowed are 'read' and 'write'")
            moved[name][row["access"] == "write"] += _number(path, place, row, "bytes")
    except csv.Error as error:
        raise FileError(path, f"after line {rows.line_num}: {error}") from error
    return moved


def _number(path: str | os.PathLike[str], place: str, row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise FileError(path, f"{place}, {column}: found {row[column]!r}; allowed is a finite number from 0")
    return value
