"""What a network's inputs are on reliable memory: ranges, sizes, and which layers read the same ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eden.faults.buffers import range_of, set_range, write_region
from eden.faults.coverage import warn_of_left_out
from eden.faults.faulty_layers import FaultyLayer, layer_operands, require_faults
from eden.faults.forward import ForwardFn, call
from eden.faults.inject import read_functions_
from eden.faults.network import evaluating, looking
from eden.faults.operand import Operand, arithmetic_of
from eden.faults.percentiles import ValueCounts, check_percentile
from eden.faults.reliable import clean
from eden.faults.sample_dims import SampleFinder
from eden.memory import storage as quantization


def calibrate_(
    model: nn.Module,
    loader: Iterable[Any] | None = None,
    percentile: float | None = None,
    *,
    outgrown: bool = False,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    forward_fn: ForwardFn | None = None,
    samples: Mapping[str, tuple[int, int]] | None = None,
) -> nn.Module:
    """Find the ranges and shapes of every operand on reliable memory, in evaluation mode; ``ranges`` tells them.

    An input's range is the smallest and largest value over all of ``loader``, its size that of the largest sample.
    Which part of it is one sample is found by running the network on 2 and on 3 samples of a batch: the dimension that
    grows, and the entries that each sample has there (windows or tokens folded into it, sequences that come first). In
    "sign" storage an input's scale is the mean magnitude over all of ``loader``. Layers that read the same tensor
    objects in every forward pass come to share one operand. An input that a layer can do without, such as a recurrent
    layer's hidden state, and that no forward pass gives, is no operand afterwards.

    Args:
        model: a network under faults.
        loader: yields batches: inputs, tuples that begin with them, or mappings that hold them by name.
        percentile: share of an input's values, in percent, that its range holds counted from either side, above 50 to
            100; None for that of the ``Faults`` of each operand. Below 100 the few largest values are clipped, and the
            harm of a flip, which grows with the range, is less. Floating-point storages clip with a correction alone.
            Met to one part in 128 (``eden.faults.percentiles.ValueCounts``).
        outgrown: take anew only the ranges that a network outgrows when it is trained: of inputs that are kept as
            floating-point numbers with a correction, unless they are learned. Codes keep their range, as do weights,
            whose range is always their current one. ``eden.train`` does this after each epoch; call it there in a loop
            of your own. Without a pass over ``loader`` where no input is of that kind.
        ranges: in place of a loader, ranges of inputs set by hand, (low, high) by operand name, ``low`` at most
            ``high``, both finite. Inputs not named keep theirs, and the mean magnitude that "sign" storage needs stays.
        forward_fn: runs the network on what the loader yields: a function of the network and a batch, whose tensors are
            on the network's device; None for what ``eden.faults.forward.Arguments`` makes of a batch, as a loop would.
        samples: for inputs of which that cannot be found, where the samples are: by operand or pattern (``*.input``)
            the dimension and how many entries of it one sample has; (-1, 1) for one that is the same for all samples.
            ``(0, 1)`` reads each entry of dimension 0 from the same cells, such as the tokens that reach an expert.

    Returns:
        The same network.

    Raises:
        TypeError: for both a loader and ranges, or neither.
        ValueError: if the network has no layer under faults, the loader is empty, a value is not finite, a layer is
            never called, the percentile is out of range, a range is of no input, not finite or upside down, or what is
            one sample of an input cannot be told.
    """
    if (loader is None) == (ranges is None):
        raise TypeError("found both loader and ranges, or neither; allowed is one of them")
    if ranges is not None:
        _set_ranges(model, ranges)
        return model
    assert loader is not None
    if percentile is not None:
        check_percentile("percentile", percentile)
    require_faults(model)
    inputs = list(layer_operands(model, "input"))
    kept: list[tuple[FaultyLayer, Operand, tuple[float, float], float | None, torch.dtype | None]] = []
    if outgrown:
        if not any(_outgrown(operand) for _, operand in inputs):
            return model
        kept = [
            (layer, operand, bounds, operand.magnitude, operand.arithmetic)
            for layer, operand in inputs
            if not _outgrown(operand) and (bounds := range_of(layer, operand)) is not None
        ]
    watch: _Calibration | None = None
    with evaluating(model), looking(), clean(model):
        for batch in loader:
            if watch is None:
                finder = _prepared(model, batch, forward_fn, samples or {})
                watch = _Calibration(require_faults(model), percentile)
            watch.run(model, batch, forward_fn, finder.count(batch))
            if not finder.dims.keys() >= watch.read_last:
                finder.examine(batch)
    if watch is None:
        raise ValueError("loader yielded no batch; calibration needs at least one")
    unread = watch.unread()
    if unread:
        raise ValueError(
            f"{', '.join(unread)}: never called in a forward pass, so faults would not reach them; leave them out with "
            "filter_fn, or call them"
        )
    watch.settle(finder)
    if finder.watched is not None and not outgrown:
        warn_of_left_out(model, finder.watched)
    for layer, operand, bounds, magnitude, arithmetic in kept:
        set_range(layer, operand, *bounds, magnitude)
        operand.arithmetic = arithmetic
    return model


def _prepared(
    model: nn.Module, batch: Any, forward_fn: ForwardFn | None, samples: Mapping[str, tuple[int, int]]
) -> SampleFinder:
    """What is one sample of each input, after a watched pass that finds what functions read, too."""
    finder = SampleFinder(model, list(layer_operands(model, "input", absent=True)), forward_fn)
    if read_functions_(model, finder.watch(batch)):
        finder = SampleFinder(model, list(layer_operands(model, "input", absent=True)), forward_fn)
        finder.watch(batch)
    finder.say(samples)
    return finder


def _outgrown(operand: Operand) -> bool:
    """Whether its calibrated range follows the network: that of numbers that are corrected, unless it is learned."""
    numbers = operand.storage not in (*quantization.CODE_BITS, "sign")
    return numbers and operand.correction != "none" and operand.calibrated and operand.clamp is None


@dataclasses.dataclass
class _Seen:
    """What calibration saw of one input of one layer."""

    layer: FaultyLayer
    operand: Operand
    percentile: float
    values: ValueCounts | None  # where a percentile below 100 is asked for
    low: float = math.inf
    high: float = -math.inf
    shapes: dict[tuple[tuple[int, ...], int | None], None] = dataclasses.field(default_factory=dict)
    magnitude: float = 0.0  # sum over as many values as count says
    count: int = 0
    dtypes: set[torch.dtype] = dataclasses.field(default_factory=set)
    reads: list[Tensor] = dataclasses.field(default_factory=list)  # of the batch at hand; held, so that ids stay theirs
    first_readers: list[int | None] = dataclasses.field(default_factory=list)  # of the same tensors, by batch

    def read(self, x: Tensor, samples: int | None) -> None:
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
        self.dtypes.add(arithmetic_of(x))
        self.reads.append(x)
        self.shapes[tuple(x.shape), samples] = None

    def sample_numel(self) -> int:
        """Elements of the largest sample."""
        sizes = []
        for shape, _ in self.shapes:
            dim, outer, inner, dims = self.operand.sample_dims
            samples = 1 if dim < 0 or len(shape) < dims else shape[dim] // (outer * inner)
            sizes.append(math.prod(shape) // samples)
        return max(sizes)


class _Calibration:
    """What a network's inputs are on reliable memory: their ranges and sizes, and which layers read the same ones."""

    def __init__(self, layers: Mapping[str, FaultyLayer], percentile: float | None) -> None:
        self.read_last: set[int] = set()
        self._layers = layers
        self._samples: int | None = None
        self._called: set[int] = set()
        self._seen: dict[int, _Seen] = {}
        for layer in layers.values():
            for operand in layer.eden_faults.by_role.values():
                if operand.kind == "input":
                    share = operand.percentile if percentile is None else percentile
                    self._seen[id(operand)] = _Seen(layer, operand, share, ValueCounts() if share < 100.0 else None)
        for seen in self._seen.values():
            seen.operand.absent = False

    def run(self, model: nn.Module, batch: Any, forward_fn: ForwardFn | None, samples: int | None) -> None:
        """Run the network on a batch of so many samples, None where their number is not known."""
        self._samples = samples
        self.read_last.clear()
        for layer in self._layers.values():
            layer.eden_faults.observer = self
        try:
            call(model, batch, forward_fn)
        finally:
            for layer in self._layers.values():
                layer.eden_faults.observer = None
        self._end_batch()

    def called(self, layer: FaultyLayer) -> None:
        self._called.add(id(layer))

    def read(self, layer: FaultyLayer, operand: Operand, x: Tensor) -> None:
        if operand.kind == "input" and x.numel() > 0:  # an expert can get no token
            self._seen[id(operand)].read(x, self._samples)
            self.read_last.add(id(operand))

    def _end_batch(self) -> None:
        first: dict[tuple[int, ...], int] = {}
        for number, seen in self._seen.items():
            key = tuple(id(x) for x in seen.reads)
            seen.first_readers.append(first.setdefault(key, number) if key else None)
            seen.reads.clear()

    def unread(self) -> list[str]:
        """The layers that no forward pass reached."""
        names = []
        # Of tied weights one reader will do, such as the tables of an encoder and a decoder beside a shared one.
        read = {
            operand.name
            for layer in self._layers.values()
            if id(layer) in self._called
            for operand in layer.eden_faults.by_role.values()
        }
        for name, layer in self._layers.items():
            tied = all(operand.name in read for operand in layer.eden_faults.by_role.values())
            if tied and id(layer) not in self._called:
                continue
            needed = [self._seen[id(x)] for x in layer.eden_faults.by_role.values() if x.kind == "input"]
            missed = any(not seen.shapes for seen in needed if not seen.operand.role.optional)
            missed = missed and not layer.eden_faults.read_elsewhere
            if missed or id(layer) not in self._called:
                names.append(name)
        return names

    def settle(self, finder: SampleFinder) -> None:
        """Give every input its range and size, and the place that it shares with others."""
        found = finder.settled({key: list(seen.shapes) for key, seen in self._seen.items() if seen.shapes})
        owners: dict[tuple[int | None, ...], Operand] = {}
        for seen in sorted(self._seen.values(), key=lambda seen: seen.operand.own[1]):
            operand = seen.operand
            if not seen.shapes:
                operand.absent = True
                continue
            low, high = seen.low, seen.high
            if seen.values is not None:
                inner_low, inner_high = seen.values.range(seen.percentile)
                low, high = max(low, inner_low), min(high, inner_high)
            set_range(seen.layer, operand, low, high, seen.magnitude / seen.count if seen.count else None)
            operand.arithmetic = next(iter(seen.dtypes)) if len(seen.dtypes) == 1 else None
            operand.sample_dims, operand.dims_known = found[id(operand)], True
            operand.sample_numel = seen.sample_numel()
            # One tensor that memory holds in two orders is two operands.
            ordered = operand.role.by_position and any(len(shape) > 3 for shape, _ in seen.shapes)
            owner = owners.setdefault((*seen.first_readers, ordered), operand)
            (operand.name, operand.address), operand.planes = owner.own, dict(owner.planes)
            write_region(seen.layer, operand)


def ranges(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Smallest and largest plausible value of every operand: of a weight its current ones, of an input the calibrated.

    An input that was not calibrated is not in the result.

    Raises:
        ValueError: if the network has no layer under faults.
    """
    require_faults(model)
    found = {operand.name: range_of(layer, operand) for layer, operand in layer_operands(model)}
    return {name: bounds for name, bounds in found.items() if bounds is not None}


def _set_ranges(model: nn.Module, new: Mapping[str, tuple[float, float]]) -> None:
    require_faults(model)
    inputs = list(layer_operands(model, "input"))
    names = {operand.name for _, operand in inputs}
    for name, (low, high) in new.items():
        if name not in names:
            raise ValueError(f"{name!r} is no input under faults; allowed are {', '.join(sorted(names))}")
        if not (max(abs(low), abs(high)) <= torch.finfo(torch.float32).max and low <= high):
            raise ValueError(f"the range of {name} is ({low}, {high}); allowed are finite numbers, low at most high")
    for layer, operand in inputs:
        if operand.name in new:
            set_range(layer, operand, *new[operand.name], operand.magnitude)
