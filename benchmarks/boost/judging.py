"""What a run is judged by: accuracy on chips never trained on, and the highest rate that keeps it within a point."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from runs import Run, kept
from tasks import HELD_OUT
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.faults.chips import draw_chip, set_chip_
from eden.faults.faulty_layers import faulty_layers
from eden.faults.inject import remove_
from eden.faults.memories import scalable_errors, set_errors_
from eden.memory.errors import ErrorModel
from eden.tolerance.evaluation import accuracy, clean_accuracy

CHIPS = 20
SEED = 1000
"""Of the chips that networks are judged on; those of training are drawn for another purpose."""

MAX_DROP = 0.01
GRID = tuple(float(f"{step}e-{power}") for power in range(6, 1, -1) for step in (1, 1.5, 2, 3, 4, 5, 6, 8))
"""Rates among which the highest tolerated one is sought."""
COARSE_GRID = tuple(float(f"{step}e-{power}") for power in (5, 4, 3, 2) for step in (1, 1.5, 2, 3, 5, 7))
"""Where many are compared by little."""

_FOLDS = 5


def folds(dataset: TensorDataset, number: int | None = None) -> list[TensorDataset]:
    """The parts of a dataset that chips read in turn: a part of the cost, averaged over chips and images alike.

    Args:
        dataset: what is read.
        number: of parts; None for five where there are images enough for them.
    """
    if number is None:
        number = _FOLDS if len(dataset) >= HELD_OUT else 1
    return [TensorDataset(*(tensor[first::number] for tensor in dataset.tensors)) for first in range(number)]


def _on_chips(model: nn.Module, parts: Sequence[TensorDataset], one: bool) -> list[float]:
    own = int(next(iter(faulty_layers(model).values())).eden_chip)
    if one:
        whole = TensorDataset(*(torch.cat(tensors) for tensors in zip(*(p.tensors for p in parts), strict=True)))
        set_chip_(model, own)
        return [accuracy(model, whole)]
    values = []
    for index in range(CHIPS):
        set_chip_(model, draw_chip(SEED, "evaluation", index))
        values.append(accuracy(model, parts[index % len(parts)]))
    set_chip_(model, own)
    return values


def under(
    model: nn.Module, parts: Sequence[TensorDataset], errors: float | ErrorModel, one: bool = False
) -> list[float]:
    """Accuracy on each chip of a population, which read the parts in turn; or on all of them on the chip trained for.

    Args:
        model: a network under faults.
        parts: what is read.
        errors: a mean bit error rate, or an error model, of all operands under faults.
        one: whether on the chip of the injection alone.
    """
    before = scalable_errors(model)
    given = {name: errors if isinstance(errors, ErrorModel) else own.scaled(errors) for name, own in before.items()}
    set_errors_(model, given)
    try:
        return _on_chips(model, parts, one)
    finally:
        set_errors_(model, before)


def highest(within: Callable[[int], bool], number: int, probes: Sequence[int] = ()) -> int:
    """The last of so many indices up to which something holds that ends to hold once, by bisection; -1 for none.

    Args:
        within: whether it holds at an index.
        number: of indices.
        probes: indices that are asked first, whose answers are wanted anyway.
    """
    low, high = -1, number
    for probe in sorted(probes):
        if not within(probe):
            high = probe
            break
        low = probe
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


def tolerated(model: nn.Module, parts: Sequence[TensorDataset], floor: float, grid: Sequence[float] = GRID) -> float:
    """The highest rate of a grid at which the mean accuracy over chips is not below a floor; 0 for none."""
    last = highest(lambda index: statistics.fmean(under(model, parts, grid[index])) >= floor, len(grid))
    return grid[last] if last >= 0 else 0.0


def _judged(model: nn.Module, data: TensorDataset, floor: float, rates: Sequence[float], one: bool) -> dict[str, Any]:
    parts = folds(data)
    seen: dict[float, list[float]] = {}

    def values(rate: float) -> list[float]:
        if rate not in seen:
            seen[rate] = under(model, parts, rate, one)
        return seen[rate]

    for rate in rates:
        values(rate)
    probes = [GRID.index(rate) for rate in rates]
    last = highest(lambda index: statistics.fmean(values(GRID[index])) >= floor, len(GRID), probes)
    return {
        "clean": clean_accuracy(model, data),
        "highest": GRID[last] if last >= 0 else 0.0,
        "rates": {f"{rate:g}": found for rate, found in sorted(seen.items())},
    }


def reference(run: Run, data: TensorDataset) -> float:
    """Accuracy of the network before, without faults, in its own floating-point numbers."""
    return accuracy(remove_(run.networks()[0]), data)


def judged(run: Run, rates: Sequence[float], claim: float | None = None, reliable: Run | None = None) -> dict[str, Any]:
    """A run's network before and after; on one chip if its curriculum stays on one.

    Args:
        run: the run.
        rates: mean bit error rates of the grid at which accuracy is wanted, beside those that the search visits.
        claim: the rate at which each chip is to read all samples.
        reliable: the run whose result stands for the network before and, without errors, for the reference, where the
            storage can only be used by a network that was trained with it.
    """

    def compute() -> dict[str, Any]:
        data = run.data()
        one = run.load().curriculum.chips == "one"
        before, after = run.networks()
        if reliable is None:
            clean = reference(run, data)
        else:
            before = reliable.networks()[1]
            clean = clean_accuracy(before, data)
        found: dict[str, Any] = {"reference": clean, "one": one}
        for which, model in (("before", before), ("after", after)):
            found[which] = _judged(model, data, clean - MAX_DROP, rates, one)
        if claim is not None:
            found["claim"] = {"rate": claim, "values": under(after, [data], claim, one)}
        return found

    return kept(run.folder / "judged.json", compute)  # type: ignore[no-any-return]


def certified(run: Run) -> dict[str, Any]:
    """The rate that ``eden.profile`` certifies of a run's network at its usual effort: a mean drop of ``MAX_DROP``.

    From its own accuracy without errors, which is compared beside it; on chips of its own and all images that the run
    is judged on. Two networks are right on different images, so that from the one before no rate could be told.
    """

    def compute() -> dict[str, Any]:
        found = eden.profile(
            run.networks()[1],
            DataLoader(run.data(), batch_size=64),
            max_drop=MAX_DROP,
            search=eden.Search(coarse_only=True),
            seed=SEED,
            journal=run.folder / "certified.journal",
            progress=False,
        )
        shown = found.coarse_certificate
        return {"rate": found.coarse, "own": found.reference_accuracy, "drop": shown.mean_drop, "chips": shown.chips}

    return kept(run.folder / "certified.json", compute)  # type: ignore[no-any-return]


def mean(values: Sequence[float]) -> str:
    """A mean with its standard error over chips, in percent."""
    if len(values) == 1:
        return f"{100 * values[0]:.1f}"
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f"{100 * statistics.fmean(values):.1f} ± {100 * error:.1f}"
