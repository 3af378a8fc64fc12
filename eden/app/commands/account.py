"""``eden account``."""

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
def account(
    network: NetworkOption,
    placement: PlacementOption,
    out: Annotated[Path, OUT, Output("account file", json_file("account"))],
    task: TaskOption = "digits",
    platform: Annotated[
        list[str] | None,
        typer.Option(help=f"{PLATFORM_HELP}; several times; all"),
        Input(if_there),
    ] = None,
    currents: CurrentsOption = CURRENTS,
    vdd_law: VddLawOption = VDD_LAW,
) -> None:
    """Count a placement's energy and time by platform, term and operand."""
    from eden.accounting.accounts import account as counted
    from eden.app.steps import count_traffic
    from eden.costs.platforms import PLATFORMS
    from eden.faults.digests import network_digest
    from eden.placement.placement import Placement

    chosen, placed = task_of(task), Placement.load(placement)
    model, samples = network_of(chosen, network), chosen.sets()[1]
    placed.check_made_from("placement", network=network_digest(model))
    platforms = platform or list(PLATFORMS)
    moved = [count_traffic(model, samples, name) for name in platforms]
    found = counted(moved, placed, platforms, currents, vdd_law)
    tell(found, out)
