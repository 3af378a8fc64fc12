"""``eden export``."""

from pathlib import Path
from typing import Annotated

import typer

from eden.app.options import NetworkOption, TaskOption, app, network_of, task_of, wrote
from eden.app.paths import PACKAGE, SAMPLES, Output


@app.command()
def export(
    network: NetworkOption,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="package to write, named .pt2"),
        Output("package", PACKAGE, (".pt2",)),
    ],
    task: TaskOption = "digits",
    data: Annotated[
        Path | None,
        typer.Option(help="write the task's validation set here, named .safetensors, too"),
        Output("file of samples", SAMPLES, (".safetensors",)),
    ] = None,
    samples_per_run: Annotated[int, typer.Option(help="samples that the package computes at once", min=1)] = 64,
) -> None:
    """Compile a network under faults into a package that takes its operands' rates, for eden-profile."""
    from eden.tolerance.export import export as compile_network
    from eden.tolerance.samples_file import save_samples

    chosen = task_of(task)
    _, validation = chosen.sets()
    inputs, targets = validation.tensors
    model = network_of(chosen, network)
    compile_network(model, inputs[:samples_per_run], out, samples_per_run=samples_per_run)
    wrote(out)
    if data is not None:
        save_samples(inputs, targets, data)
        wrote(data)
