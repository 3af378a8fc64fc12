"""``eden evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from eden.app.options import NetworkOption, SeedOption, TaskOption, app, network_of, task_of, wrote
from eden.app.paths import Input, Output, json_file


@app.command()
def evaluate(
    network: NetworkOption,
    task: TaskOption = "digits",
    placement: Annotated[
        Path | None, typer.Option(help="evaluate each operand where this placement puts it"), Input()
    ] = None,
    label: Annotated[str, typer.Option(help="what the report calls the network")] = "network",
    chips: Annotated[int, typer.Option(help="chips that the accuracy is a mean over")] = 20,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="accuracy file for the report"),
        Output("accuracy file", json_file("accuracy")),
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Measure the accuracy over chips never trained on, against the bit error rate or at a placement."""
    from eden.app.steps import accuracy_curves, rates_with_progress
    from eden.faults.digests import network_digest
    from eden.placement.placement import Placement
    from eden.tolerance import evaluation

    if chips < 1:
        raise ValueError(f"chips is {chips}; allowed is 1 or more")
    if out is not None and placement is not None:
        raise ValueError("--out takes the accuracy against the bit error rate, which --placement does not measure")
    chosen = task_of(task)
    _, validation = chosen.sets()
    model = network_of(chosen, network)
    clean = evaluation.clean_accuracy(model, validation)
    typer.echo(f"without errors: {clean:.2%}")
    if placement is not None:
        placed = Placement.load(placement)
        placed.check_made_from(f"placement {placement}", network=network_digest(model))
        over = evaluation.evaluate(model, validation, errors=placed.memory, chips=chips, seed=seed)
        typer.echo(f"as placed: {over.mean:.2%} over {chips} chips, worst {over.worst:.2%}")
        return
    found = rates_with_progress(model, validation, chips, seed)
    for rate, over in found.items():
        typer.echo(f"BER {rate:.0e}: {over.mean:.2%} over {chips} chips, worst {over.worst:.2%}, best {over.best:.2%}")
    if out is not None:
        accuracy_curves(label, found, clean, chosen.name, seed).save(out)
        wrote(out)
