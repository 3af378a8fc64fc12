"""Accuracy of a network over chips: at given rates, and with each operand where a placement puts it."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from eden.boosting.curriculum import unscaled_errors
from eden.common import checks
from eden.faults.chips import draw_chip, set_chip_
from eden.faults.faulty_layers import faulty_layers
from eden.faults.memories import operands, scalable_errors, set_errors_, set_scaled_errors_
from eden.faults.network import model_device
from eden.faults.reliable import clean
from eden.memory.errors import ErrorModel
from eden.memory.operators import Piece


@dataclasses.dataclass(frozen=True)
class OverChips:
    """Accuracies of one network on several chips.

    Attributes:
        values: accuracy on each chip, from 0 to 1.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over chips, from the worst to the best."""
        return checks.mean(self.values)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN for a single chip."""
        if len(self.values) < 2:
            return math.nan
        return statistics.stdev(self.values) / math.sqrt(len(self.values))

    @property
    def worst(self) -> float:
        """Accuracy on the worst chip."""
        return min(self.values)

    @property
    def best(self) -> float:
        """Accuracy on the best chip."""
        return max(self.values)


def accuracy(model: nn.Module, dataset: TensorDataset, batch_size: int = 256) -> float:
    """Share of samples whose highest output is their class, as the network is now, in evaluation mode.

    A sample whose output holds a NaN counts as wrong. Raises ValueError if the dataset has no samples.
    """
    inputs, targets = dataset.tensors
    if len(inputs) == 0:
        raise ValueError("dataset has no samples; accuracy needs at least one")
    device = model_device(model)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            correct = 0
            for start in range(0, len(inputs), batch_size):
                x, y = inputs[start : start + batch_size].to(device), targets[start : start + batch_size].to(device)
                correct += int((_classes(model(x)) == y).sum())
    finally:
        for module, training in modes:
            module.training = training
    return correct / len(inputs)


def _classes(output: Tensor) -> Tensor:
    # argmax takes a NaN for the highest; an output that holds one predicts nothing.
    return torch.where(output.isnan().any(1), -1, output.argmax(1))


def clean_accuracy(model: nn.Module, dataset: TensorDataset, batch_size: int = 256) -> float:
    """Accuracy on reliable memory, in the same storage."""
    with clean(model):
        return accuracy(model, dataset, batch_size)


def over_chips(
    model: nn.Module,
    dataset: TensorDataset,
    chips: int,
    seed: int = 0,
    batch_size: int = 256,
    on_chip: Callable[[], None] | None = None,
) -> OverChips:
    """Accuracy on chips drawn for evaluation, on which no curriculum trains and no search decides.

    Args:
        model: a network under faults; its chips and access numbers are what they were afterwards, also after an error.
        dataset: inputs and int64 class labels.
        chips: how many.
        seed: what they are drawn from.
        batch_size: samples per forward pass.
        on_chip: called after each.

    Raises:
        ValueError: if ``chips`` is below 1, the dataset has no samples, or the network has no layer under faults.
    """
    if chips < 1:
        raise ValueError(f"chips is {chips}; allowed is 1 or more")
    state = [
        (buffer, buffer.clone())
        for layer in faulty_layers(model).values()
        for buffer in (layer.eden_chip, layer.eden_training_chip, layer.eden_access, layer.eden_training_access)
    ]
    values = []
    try:
        for index in range(chips):
            set_chip_(model, draw_chip(seed, "evaluation", index))
            values.append(accuracy(model, dataset, batch_size))
            if on_chip is not None:
                on_chip()
    finally:
        # Not set_chip_: a curriculum's chip, and how far the accesses have come, are no business of an evaluation.
        for buffer, saved in state:
            buffer.copy_(saved)
    return OverChips(tuple(values))


def reachable(model: nn.Module, rates: Sequence[float]) -> list[float]:
    """Of several mean bit error rates those that the error models of all operands reach: up to F, or a map's own."""
    highest = min((errors.highest_ber for errors in unscaled_errors(model).values()), default=0.0)
    return [rate for rate in rates if rate <= highest]


def at_rates(
    model: nn.Module,
    dataset: TensorDataset,
    rates: Sequence[float],
    chips: int,
    seed: int = 0,
    on_chip: Callable[[], None] | None = None,
) -> dict[float, OverChips]:
    """Accuracy over the same chips with all operands at each of several mean bit error rates.

    Each operand keeps the asymmetry of its error model (in a curriculum, of the one before it), and has its model again
    afterwards.

    Args:
        model: a network under faults.
        dataset: inputs and int64 class labels.
        rates: those that ``reachable`` leaves can be met.
        chips: how many.
        seed: what they are drawn from.
        on_chip: called after each.

    Raises:
        ValueError: for a rate that an operand's error model cannot reach, naming both, before anything is computed; and
            as ``over_chips``.
    """
    before, whole = scalable_errors(model), unscaled_errors(model)
    errors_at: dict[float, dict[str, ErrorModel]] = {}
    for rate in rates:
        for name, errors in whole.items():
            try:
                errors_at.setdefault(rate, {})[name] = errors.scaled(rate)
            except ValueError as error:
                raise ValueError(f"rate {rate:g}, which {name} cannot reach: {error}") from error
    try:
        found = {}
        for rate, errors_of in errors_at.items():
            set_scaled_errors_(model, errors_of)
            found[rate] = over_chips(model, dataset, chips, seed, on_chip=on_chip)
    finally:
        set_scaled_errors_(model, before)
    return found


def with_errors(
    model: nn.Module,
    dataset: TensorDataset,
    errors: Mapping[str, ErrorModel | Sequence[Piece] | None],
    chips: int,
    seed: int = 0,
    on_chip: Callable[[], None] | None = None,
) -> OverChips:
    """Accuracy over chips with an error model per operand, as a placement gives it.

    Raises:
        ValueError: for a name that is no operand of the network, and as ``over_chips``.
    """
    before = {name: info.errors for name, info in operands(model).items()}
    set_errors_(model, errors)
    try:
        return over_chips(model, dataset, chips, seed, on_chip=on_chip)
    finally:
        set_errors_(model, before)
