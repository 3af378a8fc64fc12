"""Tables of text, for terminals; the report's page lays out its tables by the same rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_UNKNOWN = ("", "?", "none")


def _number(cell: str) -> bool:
    try:
        float(cell.replace(",", "").removesuffix("%"))
    except ValueError:
        return False
    return True


def numeric_columns(rows: Iterable[Sequence[str]]) -> tuple[bool, ...]:
    """Which columns hold numbers, with a unit or without, and go to the right.

    The first one may hold names that begin with a digit, so it does if they are numbers and nothing else.
    """
    names, *others = zip(*rows, strict=True)
    return (
        all(map(_number, names)),
        *(all(cell in _UNKNOWN or cell.removeprefix("-")[:1].isdigit() for cell in column) for column in others),
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
    sides = [str.rjust if number else str.ljust for number in numeric_columns(lines[1:] or lines)]
    return "\n".join(
        "  ".join(side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)).rstrip()
        for line in lines
    )
