"""``eden check``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from eden.app.commands.fit import _banks, _pairs, _rows
from eden.app.options import DEVICE_HELP, app
from eden.app.paths import Input, if_there


@app.command()
def check(
    device: Annotated[str, typer.Argument(help=DEVICE_HELP), Input(if_there)],
    readings: Annotated[Path, typer.Argument(help="file of measurements that it was not fitted to"), Input()],
    module: Annotated[str | None, typer.Option(help="which module, where the file holds several")] = None,
    format: Annotated[str | None, typer.Option(help="format of the file; recognized if left out")] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(help="what the file does not state of its conditions, such as trcd=7.5; several times"),
    ] = None,
    pattern: Annotated[str | None, typer.Option(help="the data that was stored, such as 0xff or 0xff/0x00")] = None,
    banks: Annotated[str | None, typer.Option(help="tested banks: how many (8), or which (0,2,5)")] = None,
    rows: Annotated[str | None, typer.Option(help="tested rows of each: how many, or first:end")] = None,
    row_bits: Annotated[int | None, typer.Option(help="cells of a row")] = None,
    column_bits: Annotated[int | None, typer.Option(help="cells behind a column's address")] = None,
    cells_per_bank: Annotated[int | None, typer.Option(help="cells behind a rate, of latency-variation")] = None,
    repeats: Annotated[int | None, typer.Option(help="passes of each condition, if the file shows too few")] = None,
    max_damaged: Annotated[float, typer.Option(help="share of damaged lines above which the file is an error")] = 0.01,
) -> None:
    """Say how a device predicts readings that it was not fitted to: of a later session, or of another module.

    Status 1 where some condition fails at a higher rate than eden place takes.
    """
    from eden.app.recipe import find_device
    from eden.devices.prediction import check as compare
    from eden.measurements.campaign import Condition
    from eden.measurements.tested import Tested

    found = compare(
        find_device(device),
        readings,
        format,
        module,
        at=replace(Condition.of(_pairs("--at", at, float)), pattern=pattern),
        tested=Tested(_banks(banks), _rows(rows), row_bits, None, column_bits, cells_per_bank, repeats),
        max_damaged=max_damaged,
    )
    typer.echo(found.table())
    if found.too_low:
        raise typer.Exit(1)
