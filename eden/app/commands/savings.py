"""``eden savings``."""

from pathlib import Path
from typing import Annotated

import typer

from eden.app.options import (
    CURRENTS_HELP,
    OUT,
    PLATFORM_HELP,
    NetworkOption,
    PlacementOption,
    TaskOption,
    app,
    network_of,
    tell,
)
from eden.app.paths import Input, Output, if_there, json_file
from eden.costs.defaults import CURRENTS, VDD_LAW


@app.command()
def savings(
    network: NetworkOption,
    placement: PlacementOption,
    out: Annotated[Path, OUT, Output("savings file", json_file("savings"))],
    task: TaskOption = "digits",
    platform: Annotated[
        str | None,
        typer.Option(help=f"{PLATFORM_HELP}; cpu, or the traffic's, if not given"),
        Input(if_there),
    ] = None,
    traffic: Annotated[
        Path | None,
        typer.Option(help="traffic file, written by eden traffic, in place of the network's operands"),
        Input(),
    ] = None,
    currents: Annotated[str, typer.Option(help=CURRENTS_HELP), Input(if_there)] = CURRENTS,
    vdd_law: Annotated[str, typer.Option(help="how energy depends on VDD: linear or quadratic")] = VDD_LAW,
) -> None:
    """Account for the DRAM energy and the time that a placement saves."""
    from eden.accounting.accounts import savings as account
    from eden.costs.traffic_file import Traffic
    from eden.placement.placement import Placement

    moved = network_of(task, network) if traffic is None else Traffic.load(traffic)
    found = account(moved, Placement.load(placement), platform=platform, currents=currents, vdd_law=vdd_law)
    tell(found, out)
