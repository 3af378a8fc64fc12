"""What a network's inputs are on reliable memory: ranges, sizes, and which layers read the same ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eden.faults.buffers import range_of, set_range, write_region
from eden.faults.faulty_layers import FaultyLayer, require_faults
from eden.faults.network import model_device, model_input
from eden.faults.operand import Operand
from eden.faults.reliable import clean
from eden.memory import storage as quantization


def calibrate_(model: nn.Module, loader: Iterable[Any], percentile: float = 100.0) -> dict[str, tuple[float, float]]:
    """Find the ranges and shapes of every operand on reliable memory, in evaluation mode.

    An input's range is the smallest and largest value over all of ``loader``, its size that of the largest sample; in
    "sign" storage its scale is the mean magnitude over all of it. Layers that read the same tensor objects in every
    forward pass come to share one operand. An input that a layer can do without, such as a recurrent layer's hidden
    state, and that no forward pass gives, is no operand afterwards.

    Args:
        model: a network under faults.
        loader: yields inputs, or tuples whose first item is the input.
        percentile: share of an input's values, in percent, that its range holds counted from either side, above 50 to
            100. Below 100 the few largest values are clipped to codes, and the harm of a flip, which grows with the
            range, is less. For floating-point storages leave it at 100 with ``correction="zero"``: what is beyond the
            range is not clipped but replaced by 0, at every load. Met to one part in 128
            (``eden.memory.storage.ValueCounts``).

    Returns:
        The ranges, as ``ranges``.

    Raises:
        ValueError: if the network has no layer under faults, the loader is empty, a value is not finite, a layer is
            never called, or the percentile is out of range.
    """
    if not 50.0 < percentile <= 100.0:
        raise ValueError(f"percentile is {percentile}; allowed is above 50 to 100")
    layers = require_faults(model)
    watch = _Calibration(layers, percentile)
    modes = [(module, module.training) for module in model.modules()]
    device = model_device(model)
    model.eval()
    for layer in layers.values():
        layer.eden_faults.observer = watch
    try:
        # A DataLoader draws from torch's global generator even where it does not shuffle.
        with torch.random.fork_rng(devices=[]), clean(model), torch.no_grad():
            for batch in loader:
                x = model_input(batch)
                model(x.to(device) if isinstance(x, Tensor) else x)
                watch.end_batch()
    finally:
        # One by one: a layer can be in another mode than the network, such as a frozen normalization.
        for module, training in modes:
            module.training = training
        for layer in layers.values():
            layer.eden_faults.observer = None
    if watch.batches == 0:
        raise ValueError("loader yielded no batch; calibration needs at least one")
    unread = watch.unread()
    if unread:
        raise ValueError(
            f"{', '.join(unread)}: never called in a forward pass, so faults would not reach them; leave them out with "
            "filter_fn, or call them"
        )
    watch.settle()
    return ranges(model)


def _outgrown(layer: FaultyLayer, operand: Operand) -> bool:
    """Whether values beyond its calibrated range are taken for errors, instead of being clipped to it."""
    numbers = operand.kind == "input" and operand.storage not in (*quantization.CODE_BITS, "sign")
    return numbers and operand.correction != "none" and operand.calibrated


def recalibrate_(model: nn.Module, loader: Iterable[Any]) -> dict[str, tuple[float, float]]:
    """Take the ranges of inputs anew where a network that was trained on would have its own values taken for errors.

    These are the inputs that are kept as floating-point numbers with a correction, and that `calibrate_` has seen: a
    value beyond the range is replaced at every load, with or without an error. Codes are clipped to their range
    instead, and keep it, as do weights, whose range is always their current one. The loop of `boosting.training` does
    this after each epoch; call it there in a loop of your own.

    Args:
        model: a network under faults.
        loader: as of `calibrate_`.

    Returns:
        The ranges that were taken anew, by operand; empty, without a pass over ``loader``, if no input is of that kind.

    Raises:
        ValueError: as `calibrate_`.
    """
    inputs = [
        (layer, operand)
        for layer in require_faults(model).values()
        for operand in layer.eden_faults.by_role.values()
        if operand.kind == "input"
    ]
    if not any(_outgrown(layer, operand) for layer, operand in inputs):
        return {}
    kept = [
        (layer, operand, bounds, operand.magnitude)
        for layer, operand in inputs
        if not _outgrown(layer, operand) and (bounds := range_of(layer, operand)) is not None
    ]
    found = calibrate_(model, loader)
    for layer, operand, bounds, magnitude in kept:
        set_range(layer, operand, *bounds, magnitude)
    return {operand.name: found[operand.name] for layer, operand in inputs if _outgrown(layer, operand)}


@dataclasses.dataclass
class _Seen:
    """What calibration saw of one input of one layer."""

    layer: FaultyLayer
    operand: Operand
    low: float = math.inf
    high: float = -math.inf
    sample_numel: int = 0
    magnitude: float = 0.0  # sum over as many values as count says
    count: int = 0
    values: quantization.ValueCounts | None = None  # where a percentile is asked for
    reads: list[Tensor] = dataclasses.field(default_factory=list)  # of the batch at hand; held, so that ids stay theirs
    first_readers: list[int | None] = dataclasses.field(default_factory=list)  # of the same tensors, by batch

    def read(self, x: Tensor) -> None:
        operand = self.operand
        smallest, largest = (float(value) for value in torch.aminmax(x))
        if not (math.isfinite(smallest) and math.isfinite(largest)):
            raise ValueError(f"{operand.own[0]} has a value that is not finite on reliable memory")
        self.low, self.high = min(self.low, smallest), max(self.high, largest)
        if self.values is not None:
            self.values.add(x)
        if operand.storage == "sign":
            self.magnitude += float(x.detach().abs().sum(dtype=torch.float64))
            self.count += x.numel()
        self.reads.append(x)
        samples = 1 if operand.unbatched(x) else x.shape[operand.batch_dim]
        self.sample_numel = max(self.sample_numel, x.numel() // samples)


class _Calibration:
    """What a network's inputs are on reliable memory: their ranges and sizes, and which layers read the same ones."""

    def __init__(self, layers: Mapping[str, FaultyLayer], percentile: float) -> None:
        self.batches = 0
        self._percentile = percentile
        self._layers = layers
        self._called: set[int] = set()
        self._seen = {
            id(operand): _Seen(layer, operand, values=quantization.ValueCounts() if percentile < 100.0 else None)
            for layer in layers.values()
            for operand in layer.eden_faults.by_role.values()
            if operand.kind == "input"
        }
        for seen in self._seen.values():
            seen.operand.absent = False

    def called(self, layer: FaultyLayer) -> None:
        self._called.add(id(layer))

    def read(self, layer: FaultyLayer, operand: Operand, x: Tensor) -> None:
        if x.numel() > 0:  # an expert can get no token
            self._seen[id(operand)].read(x)

    def end_batch(self) -> None:
        self.batches += 1
        first: dict[tuple[int, ...], int] = {}
        for number, seen in self._seen.items():
            key = tuple(id(x) for x in seen.reads)
            seen.first_readers.append(first.setdefault(key, number) if key else None)
            seen.reads.clear()

    def unread(self) -> list[str]:
        """The layers that no forward pass reached."""
        names = []
        for name, layer in self._layers.items():
            needed = [self._seen[id(x)] for x in layer.eden_faults.by_role.values() if x.kind == "input"]
            missed = any(seen.sample_numel == 0 for seen in needed if not seen.operand.role.optional)
            if missed or id(layer) not in self._called:
                names.append(name)
        return names

    def settle(self) -> None:
        """Give every input its range and size, and the place that it shares with others."""
        owners: dict[tuple[int | None, ...], Operand] = {}
        for seen in sorted(self._seen.values(), key=lambda seen: seen.operand.own[1]):
            operand = seen.operand
            if seen.sample_numel == 0:
                operand.absent = True
                continue
            low, high = seen.low, seen.high
            if seen.values is not None:
                inner_low, inner_high = seen.values.range(self._percentile)
                low, high = max(low, inner_low), min(high, inner_high)
            set_range(seen.layer, operand, low, high, seen.magnitude / seen.count if seen.count else None)
            operand.sample_numel = seen.sample_numel
            operand.name, operand.address = owners.setdefault(tuple(seen.first_readers), operand).own
            write_region(seen.layer, operand)


def ranges(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Smallest and largest plausible value of every operand: of a weight its current ones, of an input the calibrated.

    An input that was not calibrated is not in the result.

    Raises:
        ValueError: if the network has no layer under faults.
    """
    found: dict[str, tuple[float, float]] = {}
    for layer in require_faults(model).values():
        for operand in layer.eden_faults.operands():
            bounds = range_of(layer, operand)
            if bounds is not None:
                found[operand.name] = bounds
    return found


def set_ranges_(model: nn.Module, new: Mapping[str, tuple[float, float]]) -> None:
    """Set the ranges of input operands by hand; the mean magnitude that "sign" storage needs stays as calibrated.

    Args:
        model: a network under faults.
        new: (low, high) by operand name; ``low`` is at most ``high``, both finite.

    Raises:
        ValueError: for a name that is no input under faults, a weight (its range is always its current one), or a range
            that is not finite or upside down; nothing is changed then.
    """
    layers = require_faults(model)
    inputs = [
        (layer, operand)
        for layer in layers.values()
        for operand in layer.eden_faults.operands()
        if operand.kind == "input"
    ]
    names = {operand.name for _, operand in inputs}
    for name, (low, high) in new.items():
        if name not in names:
            raise ValueError(f"{name!r} is no input under faults; allowed are {', '.join(sorted(names))}")
        if not (torch.isfinite(torch.tensor([low, high])).all() and low <= high):
            raise ValueError(f"the range of {name} is ({low}, {high}); allowed are finite numbers, low at most high")
    for layer, operand in inputs:
        if operand.name in new:
            set_range(layer, operand, *new[operand.name], operand.magnitude)
