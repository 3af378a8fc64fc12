"""``eden memory-map``."""

from pathlib import Path
from typing import Annotated

import typer

from eden.app.options import OUT, DeviceOption, NetworkOption, PlacementOption, TaskOption, app, network_of, wrote
from eden.app.paths import TABLE, Output, json_file


@app.command()
def memory_map(
    network: NetworkOption,
    placement: PlacementOption,
    device: DeviceOption,
    out: Annotated[Path, OUT, Output("memory map", json_file("memory-map"))],
    task: TaskOption = "digits",
    csv: Annotated[
        Path | None,
        typer.Option(help="also write the table for a memory controller, named .csv"),
        Output("memory map's table", TABLE, (".csv",)),
    ] = None,
) -> None:
    """Say where in the device each operand lies, in what form, and how the partitions are to be run."""
    from eden.app.recipe import find_device, with_margin_of
    from eden.placement.mapping import memory_map as mapped
    from eden.placement.placement import Placement

    model = network_of(task, network)
    placed = Placement.load(placement)
    found = mapped(model, placed, with_margin_of(find_device(device), placed.margin))
    found.save(out)
    wrote(out)
    if csv is not None:
        found.save_csv(csv)
        wrote(csv)
