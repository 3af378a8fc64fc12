"""Boosting by default, of small networks trained from scratch: the target found, nothing given but a drop and a set."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from judging import GRID, MAX_DROP, folds, highest, under
from mnist import mnist
from torch import nn
from torch.utils.data import TensorDataset

import eden
from eden.app.datasets import cifar10
from eden.boosting.recipe import Recipe
from eden.tolerance.evaluation import clean_accuracy

_VALIDATION, _TEST = 2000, 2000


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


CASES = (
    Case(
        "perceptron, MNIST",
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)),
        mnist,
        8000,
        Recipe(epochs=6, learning_rate=0.05),
        8,
    ),
    Case(
        "two convolutions, MNIST", lambda: _convolutions(1, 28, (8, 16)), mnist, 6000, Recipe(3, learning_rate=0.05), 6
    ),
    Case(
        "three convolutions, CIFAR-10",
        lambda: _convolutions(3, 32, (16, 32, 32)),
        cifar10,
        6000,
        Recipe(8, learning_rate=0.05),
        6,
    ),
)


def _parts(case: Case) -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """What is trained on, what choices are made by, and what only the judgement sees."""
    train, test = case.data()
    used, rest = (
        TensorDataset(*(tensor[part] for tensor in train.tensors))
        for part in (slice(case.images), slice(case.images, case.images + _VALIDATION))
    )
    return used, rest, TensorDataset(*(tensor[:_TEST] for tensor in test.tensors))


def _tolerated(model: nn.Module, test: TensorDataset, floor: float) -> float:
    parts = folds(test)
    last = highest(lambda index: statistics.fmean(under(model, parts, GRID[index])) >= floor, len(GRID))
    return GRID[last] if last >= 0 else 0.0


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
    was = _tolerated(model, test, floor)
    started = time.monotonic()
    curriculum = eden.Curriculum(model, max_drop=MAX_DROP, validation=validation, epochs=case.epochs)
    eden.train(model, train, Recipe.boosting(case.epochs), curriculum)
    seconds = time.monotonic() - started
    now = _tolerated(model, test, floor)
    print(f"\n{case.name}\n{curriculum.table()}\n")
    after = clean_accuracy(model, test)
    gain = f"{now / was:.2f}" if was else "-"
    return f"| {case.name} | {before:.2%} | {after:.2%} | {was:.1e} | {now:.1e} | {gain} | {seconds:.0f} s |"


def table() -> None:
    """The table of all cases."""
    rows = [judged(case) for case in CASES]
    print("| network | clean before | clean after | highest before | highest after | times | boosting took |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))
