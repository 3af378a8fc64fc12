"""``eden fit``."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

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
from eden.app.options import FIGURES, OUT, app, wrote
from eden.app.paths import FIGURE, Input, Output, OutputFolder, json_file

if TYPE_CHECKING:
    from eden.devices.fitting import FitSettings


@app.command()
def fit(
    measurements: Annotated[Path, typer.Argument(help="file of a measurement campaign"), Input()],
    out: Annotated[Path | None, OUT, Output("device file", json_file("device"))] = None,
    all_modules: Annotated[
        Path | None,
        typer.Option("--all", help="folder to write a device file for every module of the file to, instead of --out"),
        OutputFolder(("*.json",), {"*.json": json_file("device")}),
    ] = None,
    module: Module = None,
    format: Format = None,
    name: Annotated[str | None, typer.Option(help="what the device is called; the module's label if left out")] = None,
    temperature: Annotated[float | None, typer.Option(help="the device's, in degrees Celsius")] = None,
    vdd: Annotated[float | None, typer.Option(help="nominal supply voltage in V")] = None,
    trcd: Annotated[float | None, typer.Option(help="nominal tRCD in ns")] = None,
    trp: Annotated[float | None, typer.Option(help="nominal tRP in ns")] = None,
    refresh_interval: Annotated[float, typer.Option(help="nominal refresh interval in ms")] = 64.0,
    tras: Annotated[float | None, typer.Option(help="nominal tRAS in ns")] = None,
    failure: Annotated[
        float | None, typer.Option(help="F, if it is known: the probability that a read of a weak cell is inverted")
    ] = None,
    reliable: Annotated[str | None, typer.Option(help="the bank that stays at its nominal operating point")] = None,
    cells_per_bank: CellsPerBank = None,
    at: At = None,
    pattern: Pattern = None,
    banks: Banks = None,
    bank: Annotated[
        list[int] | None, typer.Option(help="number of a bank that was tested, instead of --banks; several times")
    ] = None,
    rows: Rows = None,
    row_bits: RowBits = None,
    subarray_rows: Annotated[int | None, typer.Option(help="rows of a subarray, where bitlines end")] = None,
    column_bits: ColumnBits = None,
    repeats: Repeats = None,
    geometry: Annotated[
        list[str] | None, typer.Option(help="of the module, such as bank_rows=32768; several times")
    ] = None,
    partitions: Annotated[
        str | None,
        typer.Option(help="module, rank, bank or subarray; parts that do not differ are left together"),
    ] = None,
    bank_curves: Annotated[bool, typer.Option("--bank-curves", help="curves for every partition, too")] = False,
    grid: Annotated[
        bool, typer.Option("--grid", help="every pattern was tested at every operating point, also without a flip")
    ] = False,
    cell_map: Annotated[bool, typer.Option("--cell-map", help="keep the measured chip's own weak cells")] = False,
    max_damaged: MaxDamaged = 0.01,
    plot: Annotated[
        Path | None,
        typer.Option(help="draw the goodness of fit (of counts of banks: the fitted curve) into .svg, .pdf or .png"),
        Output("figure", FIGURE, FIGURES),
    ] = None,
) -> None:
    """Fit a device to a measurement campaign; tells what was read, left out and chosen, and why."""
    from eden.common.extras import require
    from eden.devices.fitting import FitSettings, analyse_with
    from eden.measurements.campaign import Condition
    from eden.measurements.tested import Tested
    from eden.memory.geometry import Geometry
    from eden.reporting.figures import save_figure
    from eden.reporting.plots.devices import device_figure
    from eden.reporting.plots.goodness import goodness_figure

    if (out is None) == (all_modules is None):
        raise ValueError("allowed is one of --out and --all")
    if all_modules is not None and (module, name, plot) != (None, None, None):
        raise ValueError("--all is given; allowed with it are neither --module, nor --name, nor --plot")
    if banks is not None and bank:
        raise ValueError("--banks and --bank are given; allowed is one of them")
    if plot is not None:
        require("report")
    shape = pairs("--geometry", geometry, int)
    if shape:
        given = {"row_bits": row_bits, "subarray_rows": subarray_rows}
        shape = {**{key: value for key, value in given.items() if value is not None}, **shape}
    settings = FitSettings(
        format,
        module,
        nominal=Condition(vdd, trcd, trp, temperature, refresh_interval, tras=tras),
        at=replace(Condition.of(pairs("--at", at, float)), pattern=pattern),
        tested=Tested(
            bank or banks_of(banks), rows_of(rows), row_bits, subarray_rows, column_bits, cells_per_bank, repeats, grid
        ),
        name=name,
        failure=failure,
        reliable=reliable,
        geometry=Geometry.from_dict(shape) if shape else None,
        partitions=cast(Any, partitions),
        bank_curves=bank_curves,
        cell_map=cell_map,
        max_damaged=max_damaged,
    )
    if all_modules is not None:
        _fit_all(measurements, settings, all_modules)
        return
    assert out is not None
    found = analyse_with(measurements, settings)
    found.device.save(out)
    typer.echo(found.text())
    wrote(out)
    if plot is not None:
        save_figure(goodness_figure(found) if found.fits else device_figure(found.device), plot)
        wrote(plot)


def _fit_all(measurements: Path, settings: "FitSettings", folder: Path) -> None:
    """A device file for every module of a file; those that cannot be fitted are named in the end."""
    from eden.devices.fitting import analyse_with
    from eden.measurements.campaign import SeveralModulesError

    try:
        modules: tuple[str, ...] = (settings.read(measurements).module,)
    except SeveralModulesError as error:
        modules = error.modules
    files = {label: re.sub(r"[^\w.-]", "_", label).lstrip(".") + ".json" for label in modules}
    if len(set(files.values())) < len(files) or ".json" in files.values():
        raise ValueError(
            f"--all: labels {', '.join(modules)} give no names of files of their own; fit them by --module"
        )
    folder.mkdir(parents=True, exist_ok=True)
    refused = []
    for label, file in files.items():
        try:
            found = analyse_with(measurements, replace(settings, module=label))
        except ValueError as error:
            refused.append(f"{label}: {error}")
            continue
        found.device.save(folder / file)
        typer.echo(f"{label}: {found.device.model}, {len(found.device.whole.points)} points")
        wrote(folder / file)
    if refused:
        raise ValueError(f"{len(refused)} of {len(files)} modules could not be fitted: {'; '.join(refused)}")
