"""Binarized nodes of optical networks: activations that are light or none, with the noise of the node itself."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from eden.common.arguments import check_choice, check_seed
from eden.common.torch_internals import outside_of_graphs

_KINDS = ("amplitude", "interference")
_REACH = 1.0  # how far from the threshold a step passes a gradient on (Hubara et al., NeurIPS 2016)


class ThresholdNode(nn.Module):
    """The threshold nodes of an exciton-polariton network, as an activation: 1 where a node emits light, 0 elsewhere.

    "amplitude": a node emits where the amplitude that drives it, the input itself, reaches the threshold (Mirek et al.,
    Nano Letters 21, 3715, 2021). "interference": the drive x shifts the phase of a beam by pi x, which interferes with
    an equal beam that was not shifted; a node emits where the intensity, ``sin(pi x / 2) ** 2``, reaches the threshold.
    One of two pulses of amplitude 1 switches it on and both do not: their exclusive or (Matuszewski et al., Physical
    Review Applied 16, 024045, 2021).

    Backward it is straight through: the step passes the gradient on within 1 of the threshold, and the intensity has
    its own.

    Args:
        kind: "amplitude" or "interference".
        threshold: of the amplitude, or of the intensity, 0 to 1.
        noise: standard deviation of what is added to the amplitude or intensity of each node and sample, normal and
            independent, from 0.
        seed: of the noise in evaluation, which is the same at every pass, so that passes differ by what memory gives
            alone; another seed is other noise. In training it is new at every pass, of torch's own generator.

    Attributes:
        nodes: how many nodes a sample passes here, of the last pass; 0 before one. Times the energy of a node's
            decision it is what they take of an inference's energy.

    Raises:
        ValueError: naming the argument, for another kind, a number that is not finite or negative noise.
    """

    def __init__(self, kind: str = "amplitude", threshold: float = 0.5, noise: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        check_choice("kind", kind, _KINDS)
        check_seed("seed", seed)
        intensity = (0.0, 1.0) if kind == "interference" else (-math.inf, math.inf)
        bounds = {"threshold": (threshold, *intensity), "noise": (noise, 0.0, math.inf)}
        for name, (value, low, high) in bounds.items():
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not low <= value <= high:
                within = "" if math.isinf(low) else " from 0" if math.isinf(high) else " from 0 to 1"
                raise ValueError(f"{name} is {value!r}; allowed is a finite number{within}")
        self.kind, self.threshold, self.noise, self.seed = kind, float(threshold), float(noise), seed
        self.nodes = 0

    def forward(self, x: Tensor) -> Tensor:
        """Which nodes emit.

        Args:
            x: what drives them, floating-point of shape (batch, ...), a node for each element of a sample.

        Returns:
            0 or 1, of its shape and dtype.

        Raises:
            TypeError: for a tensor of another kind of numbers.
            ValueError: for one without samples' dimension.
        """
        if not x.is_floating_point():
            raise TypeError(f"the input of threshold nodes is {x.dtype}; allowed is floating-point")
        if x.dim() == 0:
            raise ValueError("the input of threshold nodes has no dimension; allowed is (batch, ...)")
        self.nodes = math.prod(x.shape[1:])
        drive = x if self.kind == "amplitude" else torch.sin(0.5 * math.pi * x).square()
        if self.noise > 0.0:
            drive = drive + self.noise * (torch.randn_like(drive) if self.training else _noise(drive, self.seed))
        step: Tensor = _Step.apply(drive - self.threshold)  # type: ignore[no-untyped-call]
        return step

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"kind={self.kind!r}, threshold={self.threshold:g}, noise={self.noise:g}"


# A generator is no part of a compiler's graph.
@outside_of_graphs
def _noise(like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator(like.device).manual_seed(seed)
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, above: Tensor) -> Tensor:
        ctx.save_for_backward(above)
        return (above >= 0.0).to(above.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (above,) = ctx.saved_tensors
        passed: Tensor = gradients[0] * (above.abs() <= _REACH)
        return passed
