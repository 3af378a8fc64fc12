"""A plain training loop that can be interrupted at any moment and goes on to the same bits.

Users with a loop of their own need none of this: ``eden.Curriculum`` works in any loop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from eden.curriculum import Curriculum
from eden.files import HEADER_KEY, FileError, output_file, write_tensors
from eden.inject import faulty_layers, model_device
from eden.samples import update_digest

Augment = Callable[[Tensor, np.random.Generator], Tensor]

_FORMAT, _VERSION = "eden-training", 1


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says where it stopped and what is left to resume from."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: SGD with Nesterov momentum, its learning rate rising linearly and falling as a cosine.

    Dropout and whatever else draws from torch's global generators draws the numbers of the seed and the epoch.

    Args:
        epochs: passes over the training set.
        learning_rate: highest learning rate.
        batch_size: samples a step.
        momentum: of the gradient.
        weight_decay: L2 penalty.
        warmup: share of the steps in which the learning rate rises.
        label_smoothing: of the cross-entropy loss.
        seed: of the order of the samples and of their augmentation, from 0.

    Raises:
        ValueError: naming the argument that is out of range and what is allowed.
    """

    epochs: int
    learning_rate: float = 0.1
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.1
    label_smoothing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        checks: tuple[tuple[str, bool, str], ...] = (
            ("epochs", _whole(self.epochs) and self.epochs >= 1, "a whole number from 1"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "above 0 and finite"),
            ("batch_size", _whole(self.batch_size) and self.batch_size >= 1, "a whole number from 1"),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "from 0 and finite"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "from 0 to below 1"),
            ("seed", _whole(self.seed) and self.seed >= 0, "a whole number from 0"),
        )
        for name, holds, allowed in checks:
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {allowed}")

    def learning_rate_at(self, share: float) -> float:
        """The learning rate after a share of all steps."""
        if share < self.warmup:
            return self.learning_rate * share / self.warmup
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (share - self.warmup) / (1 - self.warmup)))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What an epoch ended with: its number from 0, mean loss, and the bit error rate (0 without faults)."""

    number: int
    loss: float
    ber: float


def batches(
    dataset: TensorDataset, recipe: Recipe, epoch: int, augment: Augment | None, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch: a function of the recipe's seed and the epoch alone."""
    inputs, targets = dataset.tensors
    generator = np.random.default_rng((recipe.seed, epoch))
    order = torch.from_numpy(generator.permutation(len(inputs)))
    for start in range(0, len(order), recipe.batch_size):
        chosen = order[start : start + recipe.batch_size]
        x = inputs[chosen]
        if augment is not None:
            x = augment(x, generator)
        yield x.to(device), targets[chosen].to(device)


@contextlib.contextmanager
def _own_generators(recipe: Recipe, epoch: int, device: torch.device) -> Iterator[None]:
    # Dropout draws from torch's global generators. Seeded by the epoch it needs no state in the checkpoint, and the
    # caller finds the generators as they were.
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    seed = int(np.random.SeedSequence((recipe.seed, epoch)).generate_state(1, np.uint64)[0])
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def train(
    model: nn.Module,
    dataset: TensorDataset,
    recipe: Recipe,
    curriculum: Curriculum | None = None,
    augment: Augment | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Epoch]:
    """Train a classifier, under faults if a curriculum is given.

    Args:
        model: the network, on the device to train on; left in evaluation mode.
        dataset: inputs and int64 class labels.
        recipe: how to train.
        curriculum: stepped after each epoch.
        augment: called with a batch of inputs and the generator to draw from.
        checkpoint: file written after each epoch, from which an interrupted run resumes to the same bits.
        resume: go on from ``checkpoint`` if it exists; it has to be of the same data, recipe, faults and curriculum.
        on_epoch: called after each epoch.
        on_step: called after each optimizer step with (steps done, steps in all).

    Returns:
        What each epoch ended with, those before a resumption included.

    Raises:
        ValueError: if the dataset has no samples.
        TrainingError: if the loss is not finite; the checkpoint of the last whole epoch is kept.
        FileError: if the checkpoint cannot be read or written, or is of another run, naming what differs; network and
            curriculum are unchanged then.
    """
    if len(dataset) == 0:
        raise ValueError("dataset has no samples; training needs at least one")
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    history: list[Epoch] = []
    identity: dict[str, dict[str, Any]] = {}
    if checkpoint is not None:
        output_file(checkpoint)
        identity = _identity(model, dataset, recipe, curriculum)
        if resume and Path(checkpoint).exists():
            history = _load(checkpoint, model, optimizer, identity, curriculum)
    device = model_device(model)
    steps = math.ceil(len(dataset) / recipe.batch_size)
    model.train()
    try:
        for number in range(len(history), recipe.epochs):
            total = 0.0
            with _own_generators(recipe, number, device):
                for step, (x, y) in enumerate(batches(dataset, recipe, number, augment, device)):
                    done = number * steps + step
                    for group in optimizer.param_groups:
                        group["lr"] = recipe.learning_rate_at((done + 1) / (recipe.epochs * steps))
                    optimizer.zero_grad(set_to_none=True)
                    loss = nn.functional.cross_entropy(model(x), y, label_smoothing=recipe.label_smoothing)
                    loss.backward()  # type: ignore[no-untyped-call]
                    value = float(loss.detach())
                    if not math.isfinite(value):
                        raise TrainingError(_not_finite(value, number, step, curriculum, checkpoint))
                    optimizer.step()
                    total += value
                    if on_step is not None:
                        on_step(done + 1, recipe.epochs * steps)
            history.append(Epoch(number, total / steps, curriculum.ber if curriculum is not None else 0.0))
            if curriculum is not None:
                curriculum.step()
            if checkpoint is not None:
                _save(checkpoint, model, optimizer, identity, curriculum, history)
            if on_epoch is not None:
                on_epoch(history[-1])
    finally:
        model.eval()
    return history


def _not_finite(
    value: float,
    epoch: int,
    step: int,
    curriculum: Curriculum | None,
    checkpoint: str | os.PathLike[str] | None,
) -> str:
    rate = f" at BER {curriculum.ber:.3g}" if curriculum is not None else ""
    kept = f"; epoch {epoch} can be resumed from {checkpoint}" if checkpoint is not None and epoch else ""
    return (
        f"the loss is {value} in epoch {epoch}, step {step}{rate}; allowed is a finite number: lower the learning rate "
        f"or the bit error rate, or correct implausible values (correction='zero'){kept}"
    )


_PROGRESS = ("epoch", "optimizer_steps", "steps_at_last_epoch", "accesses")


def _identity(
    model: nn.Module, dataset: TensorDataset, recipe: Recipe, curriculum: Curriculum | None
) -> dict[str, dict[str, Any]]:
    """What a run is a function of, apart from the network's weights; JSON values by group and field."""
    data = hashlib.sha256()
    update_digest(data, dataset.tensors)
    curriculum_settings: dict[str, Any] = {"given": curriculum is not None}
    if curriculum is not None:
        curriculum_settings |= {k: v for k, v in curriculum.state_dict().items() if k not in _PROGRESS}
    memory = {
        operand.name: [operand.storage, operand.correction, int(layer.eden_chip)]
        for layer in faulty_layers(model).values()
        for operand in layer._eden.operands()
    }
    identity = {
        "recipe": dataclasses.asdict(recipe),
        "dataset": {"samples": len(dataset), "digest": data.hexdigest()},
        "curriculum": curriculum_settings,
        "faults": memory,
    }
    return json.loads(json.dumps(identity))  # type: ignore[no-any-return]


def _difference(found: Any, expected: dict[str, dict[str, Any]]) -> str | None:
    """The first field in which a checkpoint's identity differs from this run's, None if none does."""
    for group, fields in expected.items():
        there = found.get(group) if isinstance(found, dict) else None
        if not isinstance(there, dict):
            return f"it has no {group}"
        for name in dict.fromkeys([*fields, *there]):
            if there.get(name) != fields.get(name):
                return f"{group}.{name} is {str(there.get(name))[:200]}, here it is {str(fields.get(name))[:200]}"
    return None


def _save(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
    curriculum: Curriculum | None,
    history: list[Epoch],
) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        momentum = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{name}"] = momentum
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "identity": identity,
        "history": [dataclasses.asdict(epoch) for epoch in history],
        "accesses": {
            name: [int(layer.eden_training_access), int(layer.eden_access)]
            for name, layer in faulty_layers(model).items()
        },
        "curriculum": curriculum.state_dict() if curriculum is not None else None,
    }
    write_tensors(path, tensors, json.dumps(header))


def _load(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, dict[str, Any]],
    curriculum: Curriculum | None,
) -> list[Epoch]:
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise FileError(path, f"cannot be read as a checkpoint: {error}") from error
    if not isinstance(header, dict):
        raise FileError(path, f"header: found {type(header).__name__}, allowed is an object")
    if (header.get("format"), header.get("version")) != (_FORMAT, _VERSION):
        found = (header.get("format"), header.get("version"))
        raise FileError(path, f"format and version: found {found}, allowed are {(_FORMAT, _VERSION)}")
    state = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    momenta = {name.removeprefix("momentum."): t for name, t in tensors.items() if name.startswith("momentum.")}
    _compare_networks(path, state, momenta, model)
    different = _difference(header.get("identity"), identity)
    if different is not None:
        raise FileError(path, f"is of another run: {different}")
    layers = faulty_layers(model)
    try:
        history = [Epoch(**epoch) for epoch in header["history"]]
        accesses = {name: [int(number) for number in header["accesses"][name]] for name in layers}
        if [epoch.number for epoch in history] != list(range(len(history))):
            raise ValueError("its epochs are not numbered from 0")
        if curriculum is not None:
            curriculum.load_state_dict(header["curriculum"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(path, f"its header is damaged: {type(error).__name__}: {error}") from error
    model.load_state_dict(state)
    for name, layer in layers.items():
        layer.eden_training_access.fill_(accesses[name][0])
        layer.eden_access.fill_(accesses[name][1])
    for name, parameter in model.named_parameters():
        if name in momenta:
            optimizer.state[parameter]["momentum_buffer"] = momenta[name].to(parameter.device)
    return history


def _compare_networks(
    path: str | os.PathLike[str], state: dict[str, Tensor], momenta: dict[str, Tensor], model: nn.Module
) -> None:
    expected = model.state_dict()
    different = sorted(set(state) ^ set(expected)) + sorted(set(momenta) - set(expected))
    if different:
        raise FileError(path, f"is of another network: they differ in {', '.join(different[:5])}")
    for prefix, found in (("", state), ("the momentum of ", momenta)):
        for name, tensor in found.items():
            if (tensor.shape, tensor.dtype) != (expected[name].shape, expected[name].dtype):
                raise FileError(
                    path,
                    f"is of another network: {prefix}{name} is {tuple(tensor.shape)} {tensor.dtype}, here it is "
                    f"{tuple(expected[name].shape)} {expected[name].dtype}",
                )
