"""What the command line works on: a network with its training and validation sets and how to train it."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import importlib.util
import os
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import eden
from eden.app.datasets import cifar10, digits, pretrained_resnet
from eden.app.models import ResNet
from eden.boosting.augmentation import Augment
from eden.boosting.recipe import Recipe
from eden.faults.config import usual_correction
from eden.faults.network import evaluating

_BOOST = Recipe.boosting()


@dataclasses.dataclass(frozen=True)
class Task:
    """A network, its data and its recipes.

    Args:
        name: what files and reports call it.
        model: makes the network; trained already if ``train`` is None.
        data: gives the training and the validation set.
        test: gives samples that no step sees but the last of ``eden run``, which says how the placed network does on
            them; None where there are none.
        train: recipe of the training on reliable memory, None for a pretrained network.
        boost: recipe of the retraining under faults.
        target_ber: mean bit error rate that the retraining ends with; None: as high as it can rise for a drop of 0.01,
            judged by a tenth of the training set, which is kept from training and boosting.
        augment: changes a batch of training inputs: a function of the batch and of the numpy generator to draw from, or
            one of the batch alone, such as a transform of torchvision, which draws from torch's generators; these are
            seeded for each epoch.
        storage: form in which the memory keeps weights and inputs; this and the next four as in ``eden.Faults``. None:
            "int8_sign_magnitude", inputs "uint8" in ranges of the 99.9th percentile where nothing else is said: weights
            are small numbers of either sign, inputs after a ReLU never negative, and flips harm these codes least.
        correction: what replaces implausible values; None for the end of the range in storages of SECDED, 0 in others.
        input_storage: form in which it keeps the inputs, None for that of the weights.
        quantization: "symmetric" or "affine" codes.
        weight_channels: whether each output channel of a weight has a scale of its own.
        percentile: share of an input's values that its range holds, in percent, as in ``eden.calibrate_``.
        planes: groups of the bit positions of words that memory keeps apart, as in ``eden.Faults``; None for whole
            words.
        calibration_samples: training samples from which the ranges of the inputs are taken.
        threads: of torch, None to leave them; a second one only slows a network whose layers take microseconds.

    Raises:
        TypeError: if ``model``, ``data``, ``augment`` or ``test`` cannot be called.
    """

    name: str
    model: Callable[[], nn.Module]
    data: Callable[[], tuple[TensorDataset, TensorDataset]]
    boost: Recipe = _BOOST
    target_ber: float | None = None
    train: Recipe | None = None
    augment: Augment | None = None
    storage: str | None = None
    correction: str | None = None
    input_storage: str | None = None
    quantization: str = "symmetric"
    weight_channels: bool = False
    percentile: float | None = None
    planes: Any = None
    calibration_samples: int = 500
    threads: int | None = None
    test: Callable[[], TensorDataset] | None = None

    def __post_init__(self) -> None:
        if self.storage is None:
            object.__setattr__(self, "storage", "int8_sign_magnitude")
            for name, value in (("input_storage", "uint8"), ("percentile", 99.9)):
                if getattr(self, name) is None:
                    object.__setattr__(self, name, value)
        elif self.percentile is None:
            object.__setattr__(self, "percentile", 100.0)
        if self.correction is None:
            object.__setattr__(self, "correction", usual_correction(self.storage, self.input_storage))
        if isinstance(self.model, nn.Module):
            kind = type(self.model).__name__
            raise TypeError(
                f"model of task {self.name!r} is a {kind}; allowed is what makes one, such as {kind} itself"
            )
        for name in ("model", "data", "augment", "test"):
            value = getattr(self, name)
            if not callable(value) and not (name in ("augment", "test") and value is None):
                raise TypeError(f"{name} of task {self.name!r} is a {type(value).__name__}; allowed is a function")

    def sets(self) -> tuple[TensorDataset, TensorDataset]:
        """The training and the validation set that ``data`` gives.

        Raises:
            TaskError: if they are not two TensorDatasets of inputs and int64 class labels.

        """
        found: Any = self.data()
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            told = f"{len(found)} items" if isinstance(found, (tuple, list)) else f"a {type(found).__name__}"
            raise TaskError(
                f"data of task {self.name!r} gives {told}; allowed are two TensorDatasets: training, validation"
            )
        for which, one in zip(("training", "validation"), found, strict=True):
            self._check_set(which, one)
        return found[0], found[1]

    def test_set(self) -> TensorDataset | None:
        """The samples that ``test`` gives, None where there are none. Raises TaskError as ``sets``."""
        if self.test is None:
            return None
        found = self.test()
        self._check_set("test", found)
        return found

    def _check_set(self, which: str, one: Any) -> None:
        where = f"the {which} set of task {self.name!r}"
        if not isinstance(one, TensorDataset):
            raise TaskError(f"{where} is a {type(one).__name__}; allowed is a TensorDataset of inputs and class labels")
        if len(one.tensors) != 2 or len(one) == 0:
            raise TaskError(
                f"{where} has {len(one)} samples of {len(one.tensors)} tensors; allowed are one or more of inputs "
                "and class labels"
            )
        labels = one.tensors[1]
        if labels.dtype != torch.int64 or labels.dim() != 1 or int(labels.min()) < 0:
            lowest = f", the lowest {labels.min().item():g}" if labels.dtype != torch.bool else ""
            raise TaskError(
                f"the labels of {where} are {labels.dtype} of shape {tuple(labels.shape)}{lowest}; allowed are "
                f"int64 of shape ({len(one)},), from 0"
            )


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
        boost=Recipe.boosting(4, seed=1),
        augment=flip_and_crop,
    )


KEPT = ("storage", "correction", "input_storage", "quantization", "weight_channels", "percentile", "planes")
"""The fields of a task that say how the memory keeps values."""

TASKS: dict[str, Callable[[], Task]] = {"digits": digits_task, "cifar10-resnet20": cifar_task}
"""Tasks by name."""


_user_folders: list[str] = []
_INSTALLED = tuple(
    f"{folder}{os.sep}"
    for folder in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        site.getusersitepackages(),
        str(Path(eden.__file__).parent),
    }
)


def is_users(file: str) -> bool:
    """Whether a file of Python belongs to a task that was loaded: lies in its folder, and is not installed there."""
    for folder in _user_folders:
        if file.startswith(folder) and not any(
            file.startswith(installed) and not folder.startswith(installed) for installed in _INSTALLED
        ):
            return True
    return False


@contextlib.contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """While the block runs modules of a folder come first, as for a script there; afterwards they come last.

    So a task finds its neighbours, also those that it imports later, and none of them takes the place of a module that
    EDEN imports later.
    """
    place = str(folder)
    if place not in sys.path:
        sys.path.append(place)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)  # the first one


def _module_of_file(path: str) -> ModuleType:
    # Under a name of its own, so that a file called like a module that is in use does not take its place.
    name = f"_eden_task_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, os.path.abspath(path))
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

    Modules beside the file, or in the current folder, can be imported by it.

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
    if module_name.partition(".")[0] == "eden":
        raise ValueError(f"task is {name!r}; allowed of EDEN's own are {', '.join(TASKS)}")
    of_file = module_name.endswith(".py")
    folder = Path(module_name).resolve().parent if of_file else Path.cwd()
    before = len(_user_folders)
    _user_folders.append(f"{folder}{os.sep}")
    with _importing_from(folder):
        try:
            module = _module_of_file(module_name) if of_file else _module_of_name(module_name)
        except (ImportError, SyntaxError) as error:
            raise ValueError(f"task {name!r}: {error}{_line_of(error)}") from error
        if not of_file and module.__file__ is not None:
            _user_folders[before:] = [f"{Path(module.__file__).resolve().parent}{os.sep}"]
        function = getattr(module, function_name, None)
        if not callable(function):
            raise ValueError(f"task {name!r}: {module_name} has no function {function_name!r}")
        task = function()
    if not isinstance(task, Task):
        raise ValueError(f"task {name!r}: {function_name}() returned a {type(task).__name__}; allowed is eden.Task")
    return task


def task_files(name: str) -> list[Path]:
    """The files that a task's code is in: its own, and those beside it that it imports; none of EDEN's own tasks."""
    module_name, colon, _ = name.rpartition(":")
    if not colon:
        return []
    if module_name.endswith(".py"):
        first = Path(module_name).resolve()
    else:
        first = Path(sys.modules[module_name].__file__ or "").resolve()
    found: dict[Path, None] = {}
    waiting = [first]
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found[path] = None
        for node in ast.walk(ast.parse(path.read_bytes())):
            for module in _imported(node):
                beside = first.parent.joinpath(*module.split("."))
                waiting += [beside.with_suffix(".py"), beside / "__init__.py"]
    return sorted(found)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        before = f"{node.module}." if node.module else ""
        return [*([node.module] if node.module else []), *(f"{before}{alias.name}" for alias in node.names)]
    return []


class TaskError(ValueError):
    """What a task gives does not fit together; the message names the task."""


def check_network(task: Task, model: nn.Module, samples: TensorDataset) -> None:
    """Refuse a network that cannot read the samples of its own task, before anything of EDEN's is in it.

    Raises:
        TaskError: with what the network raised, or that it has no output for a class.

    """
    few, labels = samples.tensors[0][:2], samples.tensors[1]
    try:
        with evaluating(model), torch.no_grad():
            output = model(few.to(next(iter(model.parameters()), few).device))
    except Exception as error:
        raise TaskError(
            f"the network of task {task.name!r} cannot read its samples, of shape {tuple(few.shape[1:])} and dtype "
            f"{few.dtype}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != len(few):
        told = f"of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise TaskError(
            f"the network of task {task.name!r} gives an output {told} for {len(few)} samples; allowed is a score for "
            "each class, of shape (samples, classes)"
        )
    if int(labels.max()) >= output.shape[1]:
        raise TaskError(
            f"the labels of task {task.name!r} go up to {int(labels.max())}; allowed with its network, which gives "
            f"{output.shape[1]} outputs, is 0 to {output.shape[1] - 1}"
        )


def _line_of(error: BaseException) -> str:
    """Where in a user's file a module was asked for that cannot be imported."""
    if isinstance(error, SyntaxError):
        return ""  # says so itself
    lines = [entry for entry in traceback.extract_tb(error.__traceback__) if is_users(entry.filename)]
    return f" ({lines[-1].filename}, line {lines[-1].lineno})" if lines else ""
