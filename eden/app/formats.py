"""Every kind of file that EDEN writes, by its format, and one function that reads any of them."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from eden.common.files import FileError, VersionedFile, json_object, read_text, toml_table

KINDS: Mapping[str, str] = {
    "eden-account": "eden.accounting.results:Account",
    "eden-accuracy": "eden.reporting.accuracy:AccuracyCurves",
    "eden-currents": "eden.costs.energy:Currents",
    "eden-device": "eden.devices.device:Device",
    "eden-gain": "eden.app.gain:Gain",
    "eden-manifest": "eden.app.stages:Manifest",
    "eden-memory-map": "eden.placement.map_file:MemoryMap",
    "eden-pareto": "eden.accounting.results:Pareto",
    "eden-placement": "eden.placement.placement:Placement",
    "eden-platform": "eden.costs.platforms:Platform",
    "eden-recipe": "eden.app.recipe:RetrainRecipe",
    "eden-rounds": "eden.app.rounds:Rounds",
    "eden-run": "eden.app.run_recipe:RunRecipe",
    "eden-savings": "eden.accounting.results:Savings",
    "eden-tolerance": "eden.tolerance.tolerance:Tolerance",
    "eden-traffic": "eden.costs.traffic_file:Traffic",
    "eden-verification": "eden.tolerance.verification:Verification",
}
"""Where the class of each format is."""

_OTHERS = {
    ".safetensors": "a network or a checkpoint is read into a network, by eden.load_(model, path) or "
    "eden.load_checkpoint_(model, path), a memory image by MemoryImage.load(path) of eden.deployment.image",
    ".pt2": "a package is given to eden.profile as it is",
    ".journal": "a journal is gone on with by the search that wrote it",
}


def kind_of(form: str) -> type[VersionedFile]:
    """The class of a format's files, imported when it is asked for."""
    return cast(type[VersionedFile], pkgutil.resolve_name(KINDS[form]))


def read(path: str | os.PathLike[str]) -> VersionedFile:
    """Read any file of results or settings that EDEN wrote: a device, a tolerance, a placement, a recipe and so on.

    Args:
        path: a JSON file, or a recipe in TOML.

    Returns:
        An object of the file's class, such as ``Device``: what its ``save`` wrote.

    Raises:
        FileError: naming the file, the place in it, what was found and what is allowed.
    """
    suffix = Path(path).suffix
    if suffix in _OTHERS:
        raise FileError(path, f"no file of results: {_OTHERS[suffix]}")
    text = read_text(path)
    found = (json_object if text.lstrip().startswith("{") else toml_table)(text, path).get("format")
    if not isinstance(found, str) or found not in KINDS:
        raise FileError(path, f"format: found {found!r}, allowed are {', '.join(KINDS)}")
    return kind_of(found).load(path)
