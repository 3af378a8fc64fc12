"""Tables of text, for terminals, and of HTML, for notebooks; the report's page lays out its tables by the same rule."""

from __future__ import annotations

import html
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


def notebook(title: str, *tables: tuple[Sequence[str], Sequence[Sequence[str]]], notes: Sequence[str] = ()) -> str:
    """Tables as HTML, as a notebook shows them: a title, each a header with its rows, and what stands below.

    Args:
        title: what they are of.
        tables: each a header and its rows.
        notes: sentences.

    """

    def line(cells: Sequence[str], numbers: Sequence[bool], tag: str) -> str:
        sides = ("right" if number else "left" for number in numbers)
        pairs = zip(cells, sides, strict=True)
        return "".join(f'<{tag} style="text-align:{side}">{html.escape(cell)}</{tag}>' for cell, side in pairs)

    parts = [f"<p><strong>{html.escape(title)}</strong></p>"]
    for header, rows in tables:
        numbers = numeric_columns(rows or [header])
        body = "".join(f"<tr>{line(row, numbers, 'td')}</tr>" for row in rows)
        parts.append(f"<table><thead><tr>{line(header, numbers, 'th')}</tr></thead><tbody>{body}</tbody></table>")
    parts += [f"<p>{html.escape(note)}</p>" for note in notes]
    return f"<div>{''.join(parts)}</div>"
