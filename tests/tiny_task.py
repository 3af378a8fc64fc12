"""Tasks that train in a blink, as a user's file holds them: two layers, four classes that are easy to tell apart.

With EDEN_TEST_SIGNAL, such as ``augment:37:SIGINT``, the process sends itself that signal at the 37th call of a
training batch's augmentation (or ``forward``, in evaluation mode), so that a test interrupts it at a known moment.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from eden.app.tasks import Task
from eden.boosting.recipe import Recipe

CLASSES, FEATURES = 4, 16
TRAIN, VALIDATION = 250, 200
TRAIN_EPOCHS, BOOST_EPOCHS, BATCH = 4, 6, 50
STEPS = TRAIN // BATCH

_calls: Counter[str] = Counter()


def _count(event: str) -> None:
    _calls[event] += 1
    wanted, _, rest = os.environ.get("EDEN_TEST_SIGNAL", "").partition(":")
    at, _, name = rest.partition(":")
    if event == wanted and _calls[event] == int(at):
        os.kill(os.getpid(), getattr(signal, name))


class Network(nn.Sequential):
    """Linear, BatchNorm, ReLU, Linear."""

    def __init__(self, hidden: int = 24) -> None:
        super().__init__(nn.Linear(FEATURES, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            _count("forward")
        return super().forward(x)  # type: ignore[no-any-return]


def network(hidden: int = 24) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network(hidden)


def samples(number: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(number) % CLASSES
    x = torch.randn(number, FEATURES, generator=generator) * 0.6
    x[torch.arange(number), y] += 2.0
    return TensorDataset(x, y)


def data() -> tuple[TensorDataset, TensorDataset]:
    return samples(TRAIN, 1), samples(VALIDATION, 2)


def unseen() -> TensorDataset:
    return samples(40, 3)


def jitter(x: Tensor, generator: np.random.Generator) -> Tensor:
    _count("augment")
    return x + torch.from_numpy(generator.normal(0.0, 0.05, x.shape)).to(x.dtype)


def tiny() -> Task:
    """Trained and boosted in well below a second."""
    return Task(
        name="tiny",
        model=network,
        data=data,
        train=Recipe(epochs=TRAIN_EPOCHS, learning_rate=0.1, batch_size=BATCH),
        boost=Recipe(epochs=BOOST_EPOCHS, learning_rate=0.05, batch_size=BATCH, seed=1),
        target_ber=1e-2,
        augment=jitter,
        storage="int8",
        calibration_samples=100,
        test=unseen,
    )


def without_layers() -> Task:
    """A network of which no layer can be put under faults."""
    return Task(
        name="no layers",
        model=lambda: nn.Sequential(nn.BatchNorm1d(FEATURES), nn.ReLU()),
        data=data,
        train=Recipe(epochs=10**6),
        boost=Recipe(epochs=1),
        target_ber=1e-2,
    )


def no_task() -> str:
    """Not what is asked for."""
    return "digits"


not_callable = 3
