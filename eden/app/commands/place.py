"""``eden place``."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from eden.app.options import OUT, PLATFORM_HELP, DeviceOption, app, tell
from eden.app.paths import Input, Output, if_there, json_file
from eden.costs.defaults import CURRENTS, PLATFORM
from eden.placement.defaults import (
    MARGIN,
    OBJECTIVE,
    RATES,
    RATES_HELP,
    REMAP_HELP,
    SHARED_REFRESH_HELP,
    SHARED_VDD_HELP,
    SOLVER,
    SOLVER_HELP,
    ExactSolver,
    UpperRates,
)


@app.command()
def place(
    tolerance: Annotated[Path, typer.Option(help="tolerance file, written by eden profile"), Input()],
    device: DeviceOption,
    out: Annotated[Path, OUT, Output("placement file", json_file("placement"))],
    solver: Annotated[str, typer.Option(help=SOLVER_HELP)] = SOLVER,
    objective: Annotated[str, typer.Option(help="energy or latency; of the exact solver, or weighted")] = OBJECTIVE,
    energy_weight: Annotated[
        float, typer.Option(help="of a weighted objective; time counts the rest")
    ] = ExactSolver.energy_weight,
    platform: Annotated[str, typer.Option(help=f"{PLATFORM_HELP}, of the exact solver"), Input(if_there)] = PLATFORM,
    currents: Annotated[
        str, typer.Option(help="currents that the exact solver counts by, as of savings"), Input(if_there)
    ] = CURRENTS,
    split: Annotated[bool, typer.Option(help="let operands lie in several partitions (exact only)")] = False,
    alignment: Annotated[str, typer.Option(help="bytes of which operands start at multiples, or row")] = "64",
    remap: Annotated[bool, typer.Option("--remap", help=REMAP_HELP)] = False,
    voltages: Annotated[int | None, typer.Option(help="different supply voltages, the nominal one included")] = None,
    shared_vdd: Annotated[str, typer.Option(help=SHARED_VDD_HELP)] = "module",
    shared_refresh: Annotated[str, typer.Option(help=SHARED_REFRESH_HELP)] = "rank",
    coarse: Annotated[bool, typer.Option("--coarse", help="one operating point for the whole module")] = False,
    points: Annotated[
        str, typer.Option(help="measured, or continuous: also those that the limits imply on the fitted curves")
    ] = "measured",
    rates: Annotated[str, typer.Option(help=RATES_HELP)] = RATES,
    rates_confidence: Annotated[
        float, typer.Option(help="of upper ends: with which no true rate that was measured is higher")
    ] = UpperRates.confidence,
    modules: Annotated[
        float, typer.Option(help="of upper ends: share of modules, where rates are of a vendor's other modules")
    ] = UpperRates.modules,
    margin: Annotated[float, typer.Option(help="what the device's rates are multiplied with")] = MARGIN,
    gap: Annotated[float, typer.Option(help="share above the bound at which the exact solver ends")] = ExactSolver.gap,
    time_limit: Annotated[float, typer.Option(help="seconds after which it ends in any case")] = ExactSolver.time_limit,
) -> None:
    """Put each operand into the partition of a device that it tolerates."""
    from eden.app.recipe import find_device
    from eden.placement.constraints import Constraints
    from eden.placement.solvers import place as solve
    from eden.tolerance.tolerance import Tolerance

    exact = ExactSolver(platform, currents, energy_weight=energy_weight, gap=gap, time_limit=time_limit)
    placement = solve(
        Tolerance.load(tolerance),
        find_device(device, margin),
        exact if solver == "exact" else solver,
        objective=objective,
        constraints=Constraints(
            split=split,
            alignment=int(alignment) if alignment.isdecimal() else cast(Any, alignment),
            remap=remap,
            voltages=voltages,
            shared_vdd=cast(Any, shared_vdd),
            shared_refresh=cast(Any, shared_refresh),
        ),
        granularity="coarse" if coarse else "fine",
        points=cast(Any, points),
        rates=UpperRates(rates_confidence, modules) if rates == "upper" else rates,
    )
    tell(placement, out)
