"""What networks of other libraries go through: trained a little, boosted, profiled, placed, accounted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

import eden
from eden.accounting.results import Savings

RATE = eden.Uniform(1e-3)
FAULTS = eden.Faults(RATE, RATE, "int8_sign_magnitude", "zero")
LETTERS = " abcdefghijklmnopqrstuvwxyz.,`-|"

Loss = Callable[[nn.Module, Any], Tensor]


def texts(length: int = 24, count: int = 256) -> DataLoader[Any]:
    """Pieces of a page of the documentation, letters as tokens, as Transformers' networks are given them."""
    page = (Path(__file__).parents[1] / "docs" / "limits.md").read_text(encoding="utf-8").lower()
    letters = torch.tensor([LETTERS.find(letter) for letter in page])
    letters = letters[letters >= 0][: length * count].view(-1, length)
    return DataLoader([{"input_ids": piece, "labels": piece} for piece in letters], batch_size=64)  # type: ignore[arg-type]


def language_loss(model: nn.Module, batch: Any) -> Tensor:
    """That of the next letter."""
    loss: Tensor = model(**batch).loss
    return loss


def next_letters(output: Any, target: Tensor) -> Tensor:
    """The share of a text's letters that are predicted from those before."""
    return (output.logits[:, :-1].argmax(-1) == target[:, 1:]).float().mean(-1)


def image_loss(model: nn.Module, batch: Any) -> Tensor:
    """Of classes."""
    return F.cross_entropy(model(batch[0]), batch[1])


def trained(model: nn.Module, loader: DataLoader[Any], loss: Loss, epochs: int, rate: float = 3e-3) -> nn.Module:
    """A network after a little training of its parameters that can be trained, in evaluation mode."""
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], rate)
    model.train()
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()
    return model.eval()


@dataclasses.dataclass(frozen=True)
class Made:
    """What came of a network."""

    tolerance: eden.Tolerance
    placement: eden.Placement
    savings: Savings


def whole_chain(model: nn.Module, loader: DataLoader[Any], metric: Any, loss: Loss, drop: float = 0.1) -> Made:
    """Boost, profile, place and account a network under faults, and see that what holds of every network does."""
    curriculum = eden.Curriculum(model, 3e-3, epochs=2, epochs_per_step=1)
    for _ in range(2):
        trained(model, loader, loss, 1, 1e-3)
        curriculum.step()
    assert curriculum.ber == 3e-3
    eden.calibrate_(model, loader)
    eden.set_errors_(model, dict.fromkeys(eden.operands(model), RATE))
    search = eden.Search(coarse_only=True)
    tolerance = eden.profile(model, loader, max_drop=drop, confidence=0.9, metric=metric, search=search, progress=False)
    assert tolerance.coarse > 1e-6
    traffic = eden.traffic(model, platform="cpu", repeated=False)
    placement = eden.place(tolerance, eden.Device.builtin("ddr3-b33"), traffic=traffic)
    assert placement.operands.keys() == eden.operands(model).keys()
    assert all(placed.ber <= placed.limit for placed in placement.operands.values())
    found = eden.evaluate(model, loader, metric=metric, chips=3, errors=dict(placement.errors))
    assert found.clean - found.mean <= drop
    savings = eden.savings(traffic, placement)
    assert 0.0 < savings.energy_reduction < 1.0
    return Made(tolerance, placement, savings)
