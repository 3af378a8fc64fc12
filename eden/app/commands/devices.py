"""``eden devices``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from eden.app.options import DEVICE_HELP, FIGURES, App, app, shipped, wrote
from eden.app.paths import FIGURE, Input, Output, if_there

devices = App(help="The catalogue of devices that ships with the package.", no_args_is_help=True)
app.add_typer(devices, name="devices")
DeviceArgument = Annotated[str, typer.Argument(help=DEVICE_HELP), Input(if_there)]


@devices.command("list")
def devices_list() -> None:
    """List the devices of the catalogue."""
    for name, path in shipped("devices", "catalogue").items():
        typer.echo(f"{name:<12} {json.loads(path.read_text(encoding='utf-8'))['source']['text']}")


@devices.command("show")
def devices_show(device: DeviceArgument) -> None:
    """Describe a device: source, assumptions, model choice, operating points with intervals."""
    from eden.app.recipe import find_device

    typer.echo(find_device(device).describe())


@devices.command("plot")
def devices_plot(
    device: DeviceArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="file to write: .svg, .pdf or .png"),
        Output("figure", FIGURE, FIGURES),
    ],
    parameter: Annotated[
        str | None, typer.Option(help="trcd, trp, vdd, refresh_interval or tras; each that was swept if left out")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="in degrees Celsius; the device's if left out")] = None,
) -> None:
    """Draw a device's bit error rates along one parameter or each, as measured and as fitted."""
    from eden.app.recipe import find_device
    from eden.reporting.figures import save_figure
    from eden.reporting.plots.devices import device_figure

    save_figure(device_figure(find_device(device), parameter, temperature), out)
    wrote(out)
