"""``eden savings``."""

from pathlib import Path
from typing import Annotated

import typer

from eden.app.options import (
    OUT,
    PLATFORM_HELP,
    CurrentsOption,
    NetworkOption,
    PlacementOption,
    TaskOption,
    VddLawOption,
    app,
    network_of,
    task_of,
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
        typer.Option(help="traffic file, written by eden traffic, in place of counting as it does"),
        Input(),
    ] = None,
    currents: CurrentsOption = CURRENTS,
    vdd_law: VddLawOption = VDD_LAW,
) -> None:
    """Account for the DRAM energy and the time that a placement saves."""
    from eden.accounting.accounts import savings as account
    from eden.app.steps import count_traffic
    from eden.costs.defaults import PLATFORM
    from eden.costs.traffic_file import Traffic
    from eden.faults.digests import network_digest
    from eden.placement.placement import Placement

    placed = Placement.load(placement)
    if traffic is not None:
        moved = Traffic.load(traffic)
    else:
        chosen = task_of(task)
        model = network_of(chosen, network)
        placed.check_made_from("placement", network=network_digest(model))
        moved = count_traffic(model, chosen.sets()[1], PLATFORM if platform is None else platform)
    found = account(moved, placed, platform=platform, currents=currents, vdd_law=vdd_law)
    tell(found, out)
