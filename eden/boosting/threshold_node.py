"""Binarized nodes of optical networks: activations that are light or none, with the noise of the node itself."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from eden.common.arguments import check_choice, check_fields, check_seed, number

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
        seed: of the noise in evaluation, which follows from it and from what drives a sample's nodes: a sample has the
            same noise wherever in a batch it is, until an error changes what drives it. In training it is new at every
            pass, of torch's own generator.

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
        self.kind, self.threshold, self.noise, self.seed = kind, threshold, noise, seed
        amplitude = kind == "amplitude"
        reachable = number(threshold) and (amplitude or 0.0 <= threshold <= 1.0)
        check_fields(
            self,
            ("threshold", reachable, "a finite number" if amplitude else "a finite number from 0 to 1"),
            ("noise", number(noise, 0.0), "a finite number from 0"),
        )
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


def _mixed(x: Tensor) -> Tensor:
    """Whole numbers of 64 bits, every bit of which depends on all of x's (D. Stafford's mix 13, as in SplitMix64)."""
    x = (x ^ (x >> 30 & (1 << 34) - 1)) * -0x40A7B892E31B1A47
    x = (x ^ (x >> 27 & (1 << 37) - 1)) * -0x6B2FB644ECCEEE15
    return x ^ (x >> 31 & (1 << 33) - 1)


def _noise(drive: Tensor, seed: int) -> Tensor:
    """Normal numbers that follow from the seed and each sample's own drive, wherever in a batch the sample is."""
    whole = {8: torch.int64, 4: torch.int32}.get(drive.element_size(), torch.int16)
    bits = drive.detach().contiguous().view(whole).flatten(1).long()
    index = torch.arange(1, bits.shape[1] + 1, device=drive.device)
    sample = _mixed(bits + _mixed(index)).sum(1, keepdim=True) + seed
    drawn = _mixed(_mixed(sample) + _mixed(-index))
    low, high = (drawn & 0xFFFFFFFF, drawn >> 32 & 0xFFFFFFFF)
    first, second = ((half.double() + 0.5) / 2.0**32 for half in (low, high))
    normal = (-2.0 * first.log()).sqrt() * torch.cos(2.0 * math.pi * second)  # Box and Muller, 1958
    return normal.reshape(drive.shape).to(drive.dtype)


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
