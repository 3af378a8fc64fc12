"""``eden demo``."""

import importlib.resources
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
    OtherTrcd,
    ResumeOption,
    SetOption,
    app,
    follow,
)
from eden.app.paths import RUN_FILES, Input, OutputFolder, if_there


@app.command()
def demo(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="folder for everything that the chain writes"),
        OutputFolder(RUN_FILES, kept={"device": "device.json"}),
    ] = Path("out"),
    set_: SetOption = None,
    task: OtherTask = None,
    device: OtherDevice = None,
    trcd: OtherTrcd = None,
    max_drop: OtherMaxDrop = None,
    chips: Annotated[int | None, typer.Option(help="chips that each accuracy is a mean over")] = None,
    platform: Annotated[str | None, typer.Option(help=PLATFORM_HELP), Input(if_there)] = None,
    seed: OtherSeed = None,
    resume: ResumeOption = False,
    force: ForceOption = False,
) -> None:
    """Run the recipe that ships with eden: a real device, and a network boosted, profiled, placed and certified."""
    from eden.app.run import run as whole
    from eden.app.run_recipe import DEMO, RunRecipe

    options = {
        "task": task,
        "memory.device": device,
        "memory.trcd": trcd,
        "profile.max_drop": max_drop,
        "certify.chips": chips,
        "comparison.chips": chips,
        "place.platform": platform,
        "seed": seed,
    }
    with importlib.resources.as_file(DEMO) as recipe:
        follow(whole, RunRecipe, recipe, out, options, set_, RUN_FILES, resume, force)
