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
    Sets,
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
    chips: Annotated[
        int | None,
        typer.Option(help="chips that each accuracy is a mean over"),
        Sets("certify.chips", "comparison.chips"),
    ] = None,
    platform: Annotated[str | None, typer.Option(help=PLATFORM_HELP), Input(if_there), Sets("place.platform")] = None,
    seed: OtherSeed = None,
    resume: ResumeOption = False,
    force: ForceOption = False,
) -> None:
    """Run the recipe that ships with eden: a real device, and a network boosted, profiled, placed and certified."""
    given = locals()
    from eden.app.run import run as whole
    from eden.app.run_recipe import DEMO, RunRecipe

    with importlib.resources.as_file(DEMO) as recipe:
        # A voltage is of the recipe's device, and a target of its network.
        own = {"device": "memory.vdd", "trcd": "memory.vdd", "task": "curriculum.target_ber"}
        follow(whole, RunRecipe, recipe, RUN_FILES, demo, given, own)
