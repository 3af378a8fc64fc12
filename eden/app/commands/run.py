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
    ] = None,
    max_drop: OtherMaxDrop = None,
    rounds: Annotated[int | None, typer.Option(help="rounds of profile and place at most")] = None,
    platform: Annotated[
        str | None,
        typer.Option(help=f"{PLATFORM_HELP}, whose objective is lowered"),
        Input(if_there),
    ] = None,
    seed: OtherSeed = None,
    resume: ResumeOption = False,
    force: ForceOption = False,
) -> None:
    """Do the whole chain of a recipe: boost, profile, place, certify on fresh chips, and again while it improves."""
    from eden.app.run import run as whole
    from eden.app.run_recipe import RunRecipe

    options = {
        "task": task,
        "memory.device": device,
        "network": None if network is None else str(network),
        "profile.max_drop": max_drop,
        "rounds.most": rounds,
        "place.platform": platform,
        "seed": seed,
    }
    follow(whole, RunRecipe, recipe, out, options, set_, RUN_FILES, resume, force)
