"""Ranges of inputs that are trained together with the network."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eden.faults.calibration import calibrate_, ranges
from eden.faults.faulty_layers import layer_operands
from eden.faults.network import model_device
from eden.faults.operand import Operand
from eden.memory.storage import CODE_BITS, code_range

_LEAST = 1e-3  # a range never shrinks below this share of the calibrated one
_HIGHEST = 127  # of numbers that are kept as floating-point ones, in place of a highest code: as of 8 bits


class LearnedRanges:
    """Factors, one per input that is clipped to its calibrated range as it is stored, by which the range is multiplied.

    Codes are clipped to their range, and so are floating-point storages that have a correction. All input operands of a
    network have one, also attention's, a recurrent layer's and a cache's; those that several layers share have one
    together.

    A smaller range makes an error in a top bit smaller, and clips more values. In training an input is clamped to its
    range before it is stored, so that its factor has a gradient: that of the clamped values (PACT, Choi et al., arXiv
    1805.06085), scaled by 1 / sqrt(elements of a sample x highest code) (LSQ, Esser et al., ICLR 2020; the highest code
    of floating-point numbers is taken to be 127), at which one learning rate suits them and the weights. In evaluation
    the storage clips to the same range by itself. A symmetric range of codes stays symmetric; one that begins at 0 or
    above keeps its low end. A factor of 1 clips nothing that was calibrated with and so has no gradient: a decay, the
    optimizer's, is what sets it in motion.

    Args:
        model: a network under faults, calibrated.

    Raises:
        ValueError: if no input is clipped to a range, or one of them is not calibrated.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        calibrated = ranges(model)
        self.base: dict[str, tuple[float, float]] = {}
        self._sizes: dict[str, int] = {}
        self._operands: dict[str, list[Operand]] = {}  # that read it
        for _, operand in layer_operands(model, "input"):
            coded = operand.storage in CODE_BITS
            if not coded and (operand.storage == "sign" or operand.correction == "none"):
                continue
            name = operand.name
            self._operands.setdefault(name, []).append(operand)
            if name not in calibrated:
                raise ValueError(
                    f"{name} has no calibrated range to learn from; call eden.calibrate_(model, loader) first"
                )
            low, high = calibrated[name]
            if coded and low < 0.0 and not operand.zero_pointed:
                high = max(-low, high)
                low = -high
            self.base[name] = low, high
            highest = code_range(operand.storage, operand.zero_pointed)[1] if coded else _HIGHEST
            self._sizes[name] = max((operand.sample_numel or 1) * highest, 1)
        if not self.base:
            raise ValueError(
                f"{type(model).__name__} has no input kept as codes ({', '.join(CODE_BITS)}), or as floating-point "
                "numbers with a correction, to learn the range of"
            )
        device = model_device(model)
        self.factors = {name: nn.Parameter(torch.ones((), dtype=torch.float32, device=device)) for name in self.base}

    def parameters(self) -> list[nn.Parameter]:
        """The factors, float32 of shape (), for an optimizer."""
        return list(self.factors.values())

    def _clamped(self, name: str, x: Tensor) -> Tensor:
        factor = self.factors[name]
        slow = factor.detach() + (factor - factor.detach()) / math.sqrt(self._sizes[name])
        low, high = self.base[name]
        slow = slow.to(x.dtype)
        return torch.minimum(x, high * slow) if low >= 0.0 else torch.clamp(x, low * slow, high * slow)

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Clamp inputs in training mode while the block runs; a network that is to be compiled is compiled inside."""
        for name, readers in self._operands.items():

            def clamp(x: Tensor, name: str = name) -> Tensor:
                return self._clamped(name, x)

            for operand in readers:
                operand.clamp = clamp
        try:
            yield
        finally:
            for readers in self._operands.values():
                for operand in readers:
                    operand.clamp = None

    def apply_(self) -> None:
        """Bring the network's ranges to the factors, which stay above 0; after each optimizer step."""
        found: dict[str, tuple[float, float]] = {}
        for name, factor in self.factors.items():
            with torch.no_grad():
                factor.clamp_(min=_LEAST)
            low, high = self.base[name]
            value = float(factor.detach())
            found[name] = (min(low, high * value) if low >= 0.0 else low * value), high * value
        calibrate_(self.model, ranges=found)

    def state_dict(self) -> dict[str, Any]:
        """The calibrated ranges and the factors."""
        return {"base": {name: list(pair) for name, pair in self.base.items()}, "factors": dict(self.factors)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken. Raises ValueError if it is of other inputs; nothing is changed then."""
        if set(state["base"]) != set(self.base) or set(state["factors"]) != set(self.base):
            different = sorted(set(state["base"]) ^ set(self.base))
            raise ValueError(f"the learned ranges are of other inputs: they differ in {', '.join(different)}")
        self.base = {name: (float(low), float(high)) for name, (low, high) in state["base"].items()}
        with torch.no_grad():
            for name, factor in self.factors.items():
                factor.copy_(state["factors"][name])
        self.apply_()
