"""Tables of text, for terminals; the report's page lays out its tables by the same rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_UNKNOWN = ("", "?", "none")


def numeric_columns(rows: Iterable[Sequence[str]]) -> tuple[bool, ...]:
    """Which columns hold numbers, with a unit or without, and go to the right; the first one holds names."""
    columns = list(zip(*rows, strict=True))
    return tuple(
        i > 0 and all(cell in _UNKNOWN or cell.removeprefix("-")[:1].isdigit() for cell in column)
        for i, column in enumerate(columns)
    )


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows below a header, columns two spaces apart, numbers to the right.

    Args:
        header: names of the columns.
        rows: as many cells each as the header has.

    """
    body = [tuple(row) for row in rows]
    lines = [tuple(header), *body]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [str.rjust if number else str.ljust for number in numeric_columns(body)] or [str.ljust] * len(widths)
    return "\n".join(
        "  ".join(side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)).rstrip()
        for line in lines
    )
