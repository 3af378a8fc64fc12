"""Files of samples, as ``eden.profile`` of a package and the program ``eden-profile`` read them."""

from __future__ import annotations

import os

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from eden.common.files import FileError, write_tensors

_INPUTS, _TARGETS = "inputs", "targets"


def save_samples(inputs: Tensor, targets: Tensor, path: str | os.PathLike[str]) -> None:
    """Write samples in the order in which they are drawn from: safetensors "inputs" and "targets".

    Args:
        inputs: shape (N, ...).
        targets: integers, shape (N,): the class of each sample.
        path: the file to write.

    Raises:
        ValueError: for tensors of other shapes or dtypes.
        eden.FileError: if the file cannot be written.
    """
    _check_samples(inputs, targets, "")
    write_tensors(path, {_INPUTS: inputs, _TARGETS: targets})


def load_samples(path: str | os.PathLike[str]) -> tuple[Tensor, Tensor]:
    """Inputs, shape (N, ...), and targets, integers of shape (N,), that ``save_samples`` has written.

    Raises:
        eden.FileError: if the file cannot be read or holds something else, naming the tensor.
    """
    try:
        tensors = load_file(os.fspath(path))
    except (OSError, SafetensorError) as error:
        raise FileError(path, f"cannot be read as safetensors: {error}") from error
    if set(tensors) != {_INPUTS, _TARGETS}:
        raise FileError(path, f"holds {', '.join(sorted(tensors)) or 'no tensor'}; allowed are inputs and targets")
    try:
        _check_samples(tensors[_INPUTS], tensors[_TARGETS], "tensor ")
    except ValueError as error:
        raise FileError(path, str(error)) from error
    return tensors[_INPUTS], tensors[_TARGETS]


def _check_samples(inputs: Tensor, targets: Tensor, what: str) -> None:
    if inputs.dim() < 1 or len(inputs) == 0:
        raise ValueError(f"{what}inputs has the shape {tuple(inputs.shape)}; allowed is (N, ...), N of 1 or more")
    if targets.shape != inputs.shape[:1]:
        raise ValueError(f"{what}targets has the shape {tuple(targets.shape)}; allowed is ({len(inputs)},), as inputs")
    if targets.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        raise ValueError(f"{what}targets has the dtype {targets.dtype}; allowed are int8 to int64 and uint8")
