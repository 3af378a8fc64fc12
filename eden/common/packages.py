"""Packages of AOTInductor: networks as one compiled file, for programs without Python."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eden.common.files import FileError, atomic_path
from eden.common.torch_internals import compile_package


def package_path(path: str | os.PathLike[str]) -> Path:
    """The path of a package. Raises FileError for a name of something else, before anything is computed."""
    target = Path(path)
    if target.suffix != ".pt2":
        raise FileError(target, f"the name of a package ends in {target.suffix!r}; allowed is '.pt2'")
    return target


def exported(network: nn.Module, arguments: tuple[Any, ...]) -> Any:
    """What torch.export makes of a network. Raises ValueError for one that it cannot take."""
    with _told("torch.export"):
        return torch.export.export(network, arguments)


def write_compiled(program: Any, target: Path, metadata: dict[str, str]) -> None:
    """Compile an exported program and write the package, all of it or nothing.

    Raises:
        ValueError: for a network that AOTInductor cannot take.
        FileError: if the file cannot be written.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise FileError(target, f"cannot be written: {error.strerror} (folder {target.parent})") from error
    with folder:
        with _told("AOTInductor"):
            made = compile_package(program, Path(folder.name) / target.name, metadata)
        with atomic_path(target) as temporary:
            os.replace(made, temporary)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of a compiler of torch's as ValueError, and none of the warnings that its own code gives of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except RuntimeError as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ValueError(f"{what} cannot take the network: {reason}") from error
