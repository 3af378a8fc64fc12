"""A plain training loop that can be interrupted at any moment and goes on to the same bits.

Users with a loop of their own need none of this: ``eden.Curriculum`` works in any loop.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from eden.curriculum import Curriculum
from eden.files import FileError, atomic_path
from eden.inject import model_device

Augment = Callable[[Tensor, np.random.Generator], Tensor]

_FORMAT, _VERSION = "eden-training", 1


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says where it stopped and what is left to resume from."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: SGD with Nesterov momentum, its learning rate rising linearly and falling as a cosine.

    Args:
        epochs: passes over the training set.
        learning_rate: highest learning rate.
        batch_size: samples a step.
        momentum: of the gradient.
        weight_decay: L2 penalty.
        warmup: share of the steps in which the learning rate rises.
        label_smoothing: of the cross-entropy loss.
        seed: of the order of the samples and of their augmentation.
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
            ("epochs", self.epochs >= 1, "a whole number from 1"),
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("batch_size", self.batch_size >= 1, "a whole number from 1"),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", self.weight_decay >= 0, "from 0"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "from 0 to below 1"),
        )
        for name, holds, allowed in checks:
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {allowed}")

    def learning_rate_at(self, share: float) -> float:
        """The learning rate after a share of all steps."""
        if share < self.warmup:
            return self.learning_rate * share / self.warmup
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (share - self.warmup) / (1 - self.warmup)))


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
        resume: go on from ``checkpoint`` if it exists.
        on_epoch: called after each epoch.
        on_step: called after each optimizer step with (steps done, steps in all).

    Returns:
        What each epoch ended with, those before a resumption included.

    Raises:
        TrainingError: if the loss is not finite; the checkpoint of the last whole epoch is kept.
        FileError: if the checkpoint cannot be read or written, or is of another run.
    """
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    history: list[Epoch] = []
    if resume and checkpoint is not None and Path(checkpoint).exists():
        history = _load(checkpoint, model, optimizer, recipe, curriculum)
    device = model_device(model)
    steps = math.ceil(len(dataset) / recipe.batch_size)
    model.train()
    try:
        for number in range(len(history), recipe.epochs):
            total = 0.0
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
                _save(checkpoint, model, optimizer, recipe, curriculum, history)
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


def _identity(recipe: Recipe, curriculum: Curriculum | None) -> dict[str, Any]:
    return {"recipe": dataclasses.asdict(recipe), "under_faults": curriculum is not None}


def _save(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    curriculum: Curriculum | None,
    history: list[Epoch],
) -> None:
    tensors = {f"model.{name}": tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        momentum = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{name}"] = momentum.detach().cpu().clone()
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        **_identity(recipe, curriculum),
        "history": [dataclasses.asdict(epoch) for epoch in history],
        "curriculum": curriculum.state_dict() if curriculum is not None else None,
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"eden": json.dumps(header)})


def _load(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    curriculum: Curriculum | None,
) -> list[Epoch]:
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("eden", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise FileError(path, f"cannot be read as a checkpoint: {error}") from error
    if (header.get("format"), header.get("version")) != (_FORMAT, _VERSION):
        found = (header.get("format"), header.get("version"))
        raise FileError(path, f"format and version: found {found}, allowed are {(_FORMAT, _VERSION)}")
    for key, expected in json.loads(json.dumps(_identity(recipe, curriculum))).items():
        if header.get(key) != expected:
            raise FileError(path, f"is of another run: {key} is {header.get(key)}, here it is {expected}")
    state = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise FileError(path, f"is of another network: {str(error).splitlines()[-1].strip()}") from error
    if curriculum is not None:
        try:
            curriculum.load_state_dict(header["curriculum"])
        except ValueError as error:
            raise FileError(path, str(error)) from error
    for name, parameter in model.named_parameters():
        momentum = tensors.get(f"momentum.{name}")
        if momentum is not None:
            optimizer.state[parameter]["momentum_buffer"] = momentum.to(parameter.device)
    return [Epoch(**epoch) for epoch in header["history"]]
