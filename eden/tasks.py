"""What the command line works on: a network with its training and validation sets and how to train it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from eden.datasets import cifar10, digits, pretrained_resnet
from eden.models import ResNet
from eden.training import Augment, Recipe


@dataclasses.dataclass(frozen=True)
class Task:
    """A network, its data and its recipes.

    Args:
        name: what files and reports call it.
        model: makes the network; trained already if ``train`` is None.
        data: gives the training and the validation set.
        train: recipe of the training on reliable memory, None for a pretrained network.
        boost: recipe of the retraining under faults.
        target_ber: mean bit error rate that the retraining ends with.
        augment: changes a batch of training inputs.
        storage: form in which the memory keeps weights and inputs; this and the next four as in ``eden.Faults``.
        correction: what replaces implausible values.
        input_storage: form in which it keeps the inputs, None for that of the weights.
        quantization: "symmetric" or "affine" codes.
        weight_channels: whether each output channel of a weight has a scale of its own.
        percentile: share of an input's values that its range holds, in percent, as in ``eden.calibrate_``.
        calibration_samples: training samples from which the ranges of the inputs are taken.
        threads: of torch, None to leave them; a second one only slows a network whose layers take microseconds.
    """

    name: str
    model: Callable[[], nn.Module]
    data: Callable[[], tuple[TensorDataset, TensorDataset]]
    boost: Recipe
    target_ber: float
    train: Recipe | None = None
    augment: Augment | None = None
    storage: str = "int8"
    correction: str = "zero"
    input_storage: str | None = None
    quantization: str = "symmetric"
    weight_channels: bool = False
    percentile: float = 100.0
    calibration_samples: int = 500
    threads: int | None = None


# Weights are small numbers of either sign, and inputs after a ReLU never negative: the codes that flips harm least.
_EIGHT_BITS: dict[str, Any] = {"storage": "int8_sign_magnitude", "input_storage": "uint8", "percentile": 99.9}


def _digits_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ResNet(blocks=1, channels=8, image_channels=1)


def digits_task() -> Task:
    """A ResNet-8 of 8, 16 and 32 channels on scikit-learn's handwritten digits; trains in seconds."""
    return Task(
        name="ResNet-8 on the handwritten digits of scikit-learn",
        model=_digits_network,
        data=digits,
        train=Recipe(epochs=20, learning_rate=0.1, batch_size=128),
        boost=Recipe(epochs=120, learning_rate=0.05, batch_size=64, seed=1),
        target_ber=1e-2,
        **_EIGHT_BITS,
        calibration_samples=1197,
        threads=1,
    )


def flip_and_crop(x: Tensor, generator: np.random.Generator) -> Tensor:
    """Mirror half of a batch of images and shift the batch by up to 4 pixels, zeros moving in."""
    mirrored = torch.from_numpy(generator.random(len(x)) < 0.5)
    x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x)
    pad = 4
    top, left = (int(value) for value in generator.integers(0, 2 * pad + 1, 2))
    height, width = x.shape[2:]
    return nn.functional.pad(x, (pad, pad, pad, pad))[:, :, top : top + height, left : left + width].contiguous()


def cifar_task() -> Task:
    """The pretrained ResNet-20 on CIFAR-10; needs the folder named by EDEN_DATA."""
    return Task(
        name="ResNet-20 on CIFAR-10",
        model=pretrained_resnet,
        data=cifar10,
        boost=Recipe(epochs=2, learning_rate=0.01, batch_size=128, weight_decay=1e-4, seed=1),
        target_ber=1e-3,
        **_EIGHT_BITS,
        augment=flip_and_crop,
    )


KEPT = ("storage", "correction", "input_storage", "quantization", "weight_channels", "percentile")
"""The fields of a task that say how the memory keeps values."""

TASKS: dict[str, Callable[[], Task]] = {"digits": digits_task, "cifar10-resnet20": cifar_task}
"""Tasks by name."""


def _module_of_file(path: str) -> ModuleType:
    # Under a name of its own, so that a file called like a module that is in use does not take its place.
    name = f"_eden_task_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise ImportError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module_of_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ImportError(f"{name!r} is no name of a module")
    return importlib.import_module(name)


def load_task(name: str) -> Task:
    """A task by name, or the one that a function of the user's makes.

    Args:
        name: a name of ``TASKS``, ``package.module:function`` or ``path/to/file.py:function``.

    Raises:
        ValueError: naming what is wrong: no such task, module, file or function, a file that is no Python, or a
            function that makes no Task. What else the user's code raises is passed on.

    """
    if name in TASKS:
        return TASKS[name]()
    module_name, colon, function_name = name.rpartition(":")
    if not colon:
        raise ValueError(
            f"task is {name!r}; allowed are {', '.join(TASKS)}, package.module:function and file.py:function"
        )
    try:
        module = _module_of_file(module_name) if module_name.endswith(".py") else _module_of_name(module_name)
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"task {name!r}: {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(f"task {name!r}: {module_name} has no function {function_name!r}")
    task = function()
    if not isinstance(task, Task):
        raise ValueError(
            f"task {name!r}: {function_name}() returned a {type(task).__name__}; allowed is eden.tasks.Task"
        )
    return task
