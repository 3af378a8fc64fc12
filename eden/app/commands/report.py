"""``eden report``."""

from pathlib import Path
from typing import Annotated

import typer

from eden.app.options import DEVICE_HELP, app, wrote
from eden.app.paths import REPORT_FILES, Input, OutputFolder, if_there

_PARTS = ("device", "tolerance", "placement", "savings", "accuracy", "memory_map", "account", "pareto", "verification")


@app.command()
def report(
    out: Annotated[
        Path,
        typer.Argument(help="folder for the page and the files behind it"),
        OutputFolder(
            tuple(REPORT_FILES),
            REPORT_FILES,
            {name: f"{name.replace('_', '-')}.json" for name in _PARTS},
        ),
    ],
    device: Annotated[str | None, typer.Option(help=DEVICE_HELP), Input(if_there)] = None,
    tolerance: Annotated[Path | None, typer.Option(help="tolerance file"), Input()] = None,
    placement: Annotated[Path | None, typer.Option(help="placement file"), Input()] = None,
    savings: Annotated[Path | None, typer.Option(help="savings file"), Input()] = None,
    accuracy: Annotated[
        list[Path] | None, typer.Option(help="accuracy file; may be given several times"), Input()
    ] = None,
    memory_map: Annotated[Path | None, typer.Option(help="memory map"), Input()] = None,
    account: Annotated[Path | None, typer.Option(help="account file"), Input()] = None,
    pareto: Annotated[Path | None, typer.Option(help="file of energy against accuracy"), Input()] = None,
    verification: Annotated[Path | None, typer.Option(help="verification file"), Input()] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="folder of another run, shown beside this one; may be given several times"),
        Input(),
    ] = None,
    title: Annotated[str, typer.Option(help="heading of the page")] = "EDEN report",
) -> None:
    """Write one self-contained HTML page from the files of the chain that are in the folder, and those that are given.

    A file that is given takes the place of the folder's.
    A file or figure that fails leaves the rest of the page; then the status is 1.
    """
    from eden.app.recipe import with_margin_of
    from eden.devices.device import Device
    from eden.reporting import page as reporting
    from eden.reporting.sections import PARTS

    files = {
        "tolerance": tolerance,
        "placement": placement,
        "savings": savings,
        "memory-map": memory_map,
        "account": account,
        "pareto": pareto,
        "verification": verification,
    }
    paths: dict[str, list[Path]] = {name: [path] for name, path in files.items() if path is not None}
    if accuracy:
        paths["accuracy"] = accuracy
    catalogued = device is not None and device in Device.builtin_names()
    if device is not None and not catalogued:
        paths["device"] = [Path(device)]
    there = reporting.paths_in(out, empty=bool(paths) or catalogued)
    if catalogued:
        there.pop("device", None)
    paths = {**there, **paths}
    parts, problems = reporting.read_parts(paths)
    if device is not None and catalogued:
        parts["device"] = Device.builtin(device)
    if "device" in parts and "placement" in parts:
        parts["device"] = with_margin_of(parts["device"], parts["placement"].margin)
    given = {name.replace("-", "_"): part for name, part in parts.items()}
    runs = {}
    for folder in compare or []:
        runs[str(folder)], wrong = reporting.read_parts(reporting.paths_in(folder))
        problems |= {f"{name} of {folder}": why for name, why in wrong.items()}
    page = reporting.report(out, **given, title=title, compare=runs, lacks=problems)
    wrote(page)
    for name, part in PARTS.items():
        if name not in parts:
            typer.echo(f"not in it: {name} (made by {part.made_by})")
