"""``eden run``."""

from pathlib import Path
from typing import Annotated

import typer

from eden.app.options import (
    PLATFORM_HELP,
    ForceOption,
    OtherDevice,
    OtherMaxDrop,
    OtherSeed,
    OtherTask,
    ResumeOption,
    SetOption,
    Sets,
    app,
    follow,
)
from eden.app.paths import RUN_FILES, Input, OutputFolder, if_there


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="TOML file (docs/how-to/run.md)"), Input()],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="folder for everything that the chain writes"),
        OutputFolder(RUN_FILES, kept={"recipe": "recipe.toml", "device": "device.json"}),
    ],
    set_: SetOption = None,
    task: OtherTask = None,
    device: OtherDevice = None,
    network: Annotated[
        Path | None,
        typer.Option(help="network file, boosted elsewhere, in place of training and boosting"),
        Input(),
        Sets("network"),
    ] = None,
    max_drop: OtherMaxDrop = None,
    rounds: Annotated[int | None, typer.Option(help="rounds of profile and place at most"), Sets("rounds.most")] = None,
    platform: Annotated[
        str | None,
        typer.Option(help=f"{PLATFORM_HELP}, whose objective is lowered"),
        Input(if_there),
        Sets("place.platform"),
    ] = None,
    seed: OtherSeed = None,
    resume: ResumeOption = False,
    force: ForceOption = False,
) -> None:
    """Do the whole chain of a recipe: boost, profile, place, certify on fresh chips, and again while it improves."""
    given = locals()
    from eden.app.run import run as whole
    from eden.app.run_recipe import RunRecipe

    follow(whole, RunRecipe, recipe, RUN_FILES, run, given)
