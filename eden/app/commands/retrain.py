"""``eden retrain``."""

from pathlib import Path
from typing import Annotated

import typer

from eden.app.options import (
    ForceOption,
    OtherDevice,
    OtherSeed,
    OtherTask,
    OtherTrcd,
    ResumeOption,
    SetOption,
    Sets,
    app,
    follow,
)
from eden.app.paths import RETRAIN_FILES, Input, OutputFolder


@app.command()
def retrain(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="folder for the network and its checkpoints"),
        OutputFolder(RETRAIN_FILES, kept={"recipe": "recipe.toml"}),
    ],
    recipe: Annotated[
        Path | None, typer.Argument(help="TOML file (docs/how-to/boost.md); the task's recipe if left out"), Input()
    ] = None,
    set_: SetOption = None,
    task: OtherTask = None,
    device: OtherDevice = None,
    trcd: OtherTrcd = None,
    target_ber: Annotated[
        float | None, typer.Option(help="mean bit error rate to reach"), Sets("curriculum.target_ber")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="epochs under faults"), Sets("boost.epochs")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="highest learning rate under faults"), Sets("boost.learning_rate")
    ] = None,
    chips: Annotated[
        str | None, typer.Option(help="fresh, one, or a number of chips used in turn"), Sets("curriculum.chips")
    ] = None,
    seed: OtherSeed = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(help="write the checkpoints also after each so many optimizer steps"),
        Sets("checkpoint_every"),
    ] = None,
    resume: ResumeOption = False,
    force: ForceOption = False,
) -> None:
    """Train a task's network, then retrain it under a device's errors at a rising rate."""
    given = locals()
    from eden.app.recipe import RetrainRecipe
    from eden.app.retrain import retrain as work

    given["chips"] = int(chips) if chips is not None and chips.isdecimal() else chips
    follow(work, RetrainRecipe, recipe, RETRAIN_FILES, retrain, given)
