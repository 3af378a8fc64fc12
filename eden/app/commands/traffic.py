"""``eden traffic``."""

from pathlib import Path
from typing import Annotated

import typer

from eden.app.options import OUT, PLATFORM_HELP, NetworkOption, TaskOption, app, network_of, task_of, tell
from eden.app.paths import Input, Output, if_there, json_file
from eden.costs.defaults import PLATFORM, REPEATED_HELP


@app.command()
def traffic(
    network: NetworkOption,
    out: Annotated[Path, OUT, Output("traffic file", json_file("traffic"))],
    task: TaskOption = "digits",
    platform: Annotated[str, typer.Option(help=PLATFORM_HELP), Input(if_there)] = PLATFORM,
    batch: Annotated[int | None, typer.Option(help="samples that share one read of the weights")] = None,
    repeated: Annotated[bool | None, typer.Option("--repeated/--cold", help=REPEATED_HELP)] = None,
    counts: Annotated[
        Path | None,
        typer.Option(help="CSV of what each operand moves, in place of the platform's memory"),
        Input(),
    ] = None,
) -> None:
    """Count what each operand of a network moves between processor and DRAM."""
    from eden.app.steps import count_traffic
    from eden.costs.traffic_file import Traffic

    chosen = task_of(task)
    model = network_of(chosen, network)
    if counts is not None:
        if repeated is not None or batch is not None:
            raise ValueError(
                "counts is given beside batch or repeated; allowed is one of them: counts are taken as they are"
            )
        found = Traffic.from_csv(counts, model, platform)
    else:
        _, validation = chosen.sets()
        found = count_traffic(model, validation, platform, batch, repeated)
    tell(found, out)
