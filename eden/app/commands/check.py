"""``eden check``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from eden.app.campaign_options import (
    At,
    Banks,
    CellsPerBank,
    ColumnBits,
    Format,
    MaxDamaged,
    Module,
    Pattern,
    Repeats,
    RowBits,
    Rows,
    banks_of,
    pairs,
    rows_of,
)
from eden.app.options import DEVICE_HELP, app
from eden.app.paths import Input, if_there


@app.command()
def check(
    device: Annotated[str, typer.Argument(help=DEVICE_HELP), Input(if_there)],
    readings: Annotated[Path, typer.Argument(help="file of measurements that it was not fitted to"), Input()],
    module: Module = None,
    format: Format = None,
    at: At = None,
    pattern: Pattern = None,
    banks: Banks = None,
    rows: Rows = None,
    row_bits: RowBits = None,
    column_bits: ColumnBits = None,
    cells_per_bank: CellsPerBank = None,
    repeats: Repeats = None,
    max_damaged: MaxDamaged = 0.01,
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
        at=replace(Condition.of(pairs("--at", at, float)), pattern=pattern),
        tested=Tested(banks_of(banks), rows_of(rows), row_bits, None, column_bits, cells_per_bank, repeats),
        max_damaged=max_damaged,
    )
    typer.echo(found.table())
    if found.too_low:
        raise typer.Exit(1)
