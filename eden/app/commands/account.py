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
    from eden.costs.platforms import PLATFORMS
    from eden.placement.placement import Placement

    model = network_of(task, network)
    found = counted(model, Placement.load(placement), platform or list(PLATFORMS), currents, vdd_law)
    tell(found, out)
