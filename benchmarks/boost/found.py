"""Boosting by default, of small networks trained from scratch: the target found, nothing given but a drop and a set."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from judging import GRID, MAX_DROP, folds, mean, tolerated, under
from mnist import mnist
from torch import nn
from torch.utils.data import TensorDataset

import eden
from eden.app.datasets import cifar10
from eden.boosting.recipe import Recipe
from eden.tolerance.evaluation import clean_accuracy

_VALIDATION, _TEST = 2000, 5000


class Case(NamedTuple):
    """A network, its data, and how long it is trained and boosted."""

    name: str
    make: Callable[[], nn.Module]
    data: Callable[[], tuple[TensorDataset, TensorDataset]]
    images: int
    train: Recipe
    epochs: int


def _convolutions(channels: int, size: int, widths: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        channels, size = width, size // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size * size, 10))


class Transformer(nn.Module):
    """A level of attention over the sixteen patches of an image."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(49, width)
        self.position = nn.Parameter(torch.randn(16, width) * 0.02)
        self.level = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores of images of shape (batch, 1, 28, 28)."""
        patches = x.unfold(2, 7, 7).unfold(3, 7, 7).reshape(len(x), 16, 49)
        return self.head(self.level(self.embed(patches) + self.position).mean(1))  # type: ignore[no-any-return]


CASES = (
    Case(
        "perceptron, MNIST",
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)),
        mnist,
        20_000,
        Recipe(epochs=10, learning_rate=0.05),
        10,
    ),
    Case(
        "three convolutions, CIFAR-10",
        lambda: _convolutions(3, 32, (8, 8, 16)),
        cifar10,
        4000,
        Recipe(6, learning_rate=0.05),
        5,
    ),
    Case(
        "transformer, MNIST",
        Transformer,
        mnist,
        8000,
        Recipe(12, learning_rate=4e-3, optimizer="adamw", weight_decay=1e-2),
        6,
    ),
)


def _parts(case: Case) -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """What is trained on, what choices are made by, and what only the judgement sees, all of the training images."""
    tensors = case.data()[0].tensors
    ends = (0, case.images, case.images + _VALIDATION, case.images + _VALIDATION + _TEST)
    used, chosen, unseen = (
        TensorDataset(*(tensor[first:last] for tensor in tensors)) for first, last in itertools.pairwise(ends)
    )
    return used, chosen, unseen


def judged(case: Case) -> str:
    """Train, boost and judge one network; a row of the table."""
    torch.manual_seed(0)
    train, validation, test = _parts(case)
    model = case.make()
    eden.train(model, train, case.train)
    eden.inject_(model, eden.Faults.int8(eden.Uniform(1e-3)))
    eden.calibrate_(model, train.tensors[0][:1000].split(250))  # type: ignore[no-untyped-call]
    before = clean_accuracy(model, test)
    floor = before - MAX_DROP
    parts = folds(test)
    was = tolerated(model, parts, floor)
    harsh = 2.0 * max(was, GRID[0])
    on_chips = under(model, parts, harsh)
    started = time.monotonic()
    curriculum = eden.Curriculum(model, max_drop=MAX_DROP, validation=validation, epochs=case.epochs)
    eden.train(model, train, Recipe.boosting(case.epochs), curriculum)
    seconds = time.monotonic() - started
    now = tolerated(model, parts, floor)
    gained = [after - first for first, after in zip(on_chips, under(model, parts, harsh), strict=True)]
    print(f"\n{case.name}\n{curriculum.table()}\n", flush=True)
    after = clean_accuracy(model, test)
    gain = f"{now / was:.2f}" if was else "-"
    return (
        f"| {case.name} | {before:.2%} | {after:.2%} | {was:.1e} | {now:.1e} | {gain} | {harsh:.1e} | {mean(gained)} | "
        f"{seconds:.0f} s |"
    )


def table() -> None:
    """The table of all cases."""
    rows = [judged(case) for case in CASES]
    print(
        "| network | clean before | clean after | highest before | highest after | times | at BER | points gained "
        "| boosting took |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
