"""Forms of feature maps: how a layer's input is kept in the uint8 codes that integer kernels take."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from eden.deployment.codes import FEATURE_MAP_STORAGES, codes_of, corrected, quantized
from eden.faults.faulty_layers import FaultyLayer
from eden.faults.operand import Operand
from eden.memory.storage import code_range

_SIGN_OFFSET = 128


@dataclasses.dataclass(frozen=True)
class Form:
    """How memory keeps an input: value = (code - zero_point) x scale.

    Codes of a storage with a sign are 128 more here than there.

    Attributes:
        scale: of a step, above 0.
        zero_point: code of 0.
        lowest: lowest code that quantization makes.
        highest: highest one.
        low: lowest plausible one.
        high: highest plausible one.
        correction: what replaces implausible ones.
    """

    scale: float
    zero_point: int
    lowest: int
    highest: int
    low: int
    high: int
    correction: str

    def quantize(self, x: Tensor) -> Tensor:
        """float32 to uint8 codes as memory holds and corrects them, by the definition of storages."""
        codes = (x / self.scale).nan_to_num_(0.0).round_().add_(self.zero_point).clamp_(0, 255)
        return self.settle(codes.to(torch.uint8))

    def settle(self, codes: Tensor, least: int = 0) -> Tensor:
        """Codes that a kernel has made, at least ``least``, as memory holds and corrects them."""
        if least < self.lowest or self.highest < 255:
            codes = codes.clamp(self.lowest, self.highest)
        if self.correction != "none" and (max(least, self.lowest) < self.low or self.highest > self.high):
            codes = corrected(codes, self.low, self.high, self.correction, self.zero_point)
        return codes


@dataclasses.dataclass(frozen=True)
class WeightForm:
    """How memory keeps a weight.

    Attributes:
        name: of its operand.
        storage: one of ``SYMMETRIC_STORAGES``.
        shape: of the weight.
        low: int32, code of its smallest value, of a shape that goes with it.
        high: that of the largest one.
        correction: what replaces implausible ones.
    """

    name: str
    storage: str
    shape: tuple[int, ...]
    low: Tensor
    high: Tensor
    correction: str

    def read(self, words: Tensor) -> Tensor:
        """The int8 codes, of the weight's shape, that uint8 words (bytes,) are read and corrected as."""
        codes = codes_of(words, self.storage).reshape(self.shape)
        return corrected(codes, self.low, self.high, self.correction).to(torch.int8)


def form_of(layer: FaultyLayer, operand: Operand) -> Form:
    """The form of a layer's input.

    Raises:
        ValueError: naming it, for a storage of other codes, an input in planes, or one that is not calibrated.
    """
    if operand.storage not in FEATURE_MAP_STORAGES:
        raise ValueError(
            f"{operand.name} is kept in storage {operand.storage!r}; allowed for integer inference are "
            f"{', '.join(map(repr, FEATURE_MAP_STORAGES))} (Faults.input_storage)"
        )
    if operand.planes:
        raise ValueError(
            f"{operand.name} lies in planes; allowed for integer inference are whole words (Faults.planes is None)"
        )
    held: Any = layer._buffers
    names = operand.buffers
    scale = held[names.scale]
    if not operand.calibrated or not bool(torch.isfinite(scale)):
        raise ValueError(f"{operand.name} has no calibrated range; call eden.calibrate_(model, loader) first")
    offset = 0 if operand.storage == "uint8" else _SIGN_OFFSET
    point = int(held[names.zero_point]) if operand.zero_pointed else 0
    zero = point + offset
    if float(scale) == 0.0:  # nothing but zeros was seen: all is read as 0
        return Form(1.0, zero, zero, zero, zero, zero, "none")
    lowest, highest = (code + offset for code in code_range(operand.storage, operand.zero_pointed))
    bounds = held[names.bounds if operand.arithmetic == torch.float32 else names.wide_bounds]
    ends = quantized(bounds, scale, point, operand.storage, operand.zero_pointed)
    low, high = (int(code) + offset for code in ends)
    return Form(float(scale), zero, lowest, highest, low, high, operand.correction)
