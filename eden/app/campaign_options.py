"""Options that say what a file of measurements does not state, of ``eden fit`` and ``eden check``."""

from typing import Annotated

import typer

Module = Annotated[str | None, typer.Option(help="which module, where the file holds several")]
Format = Annotated[str | None, typer.Option(help="format of the file; recognized if left out")]
At = Annotated[
    list[str] | None,
    typer.Option(help="what the file does not state of its conditions, such as trcd=7.5; several times"),
]
Pattern = Annotated[str | None, typer.Option(help="the data that was stored, such as 0xff or 0xff/0x00")]
Banks = Annotated[str | None, typer.Option(help="tested banks: how many (8), or which (0,2,5)")]
Rows = Annotated[str | None, typer.Option(help="tested rows of each: how many, or first:end")]
RowBits = Annotated[int | None, typer.Option(help="cells of a row")]
ColumnBits = Annotated[int | None, typer.Option(help="cells behind a column's address")]
CellsPerBank = Annotated[int | None, typer.Option(help="cells behind a rate, of latency-variation")]
Repeats = Annotated[int | None, typer.Option(help="passes of each condition, if the file shows too few")]
MaxDamaged = Annotated[float, typer.Option(help="share of damaged lines above which the file is an error")]


def pairs(option: str, given: list[str] | None, number: type[float] | type[int]) -> dict[str, float]:
    """NAME=NUMBER, several times."""
    found: dict[str, float] = {}
    for text in given or []:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = number(value)
        except ValueError as error:
            raise ValueError(f"{option} is {text!r}; allowed is a name and a number, such as trcd=7.5") from error
    return found


def banks_of(text: str | None) -> int | list[int] | None:
    """A number of banks, or a list of their numbers."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",") if part] if "," in text else int(text)
    except ValueError as error:
        raise ValueError(f"--banks is {text!r}; allowed is how many (8), or which (0,2,5)") from error


def rows_of(text: str | None) -> int | range | None:
    """A number of rows, or the first and the one after the last."""
    if text is None:
        return None
    first, colon, end = text.partition(":")
    try:
        return range(int(first), int(end)) if colon else int(first)
    except ValueError as error:
        raise ValueError(f"--rows is {text!r}; allowed is how many (32768), or first:end (512:1024)") from error
