"""Convolutions and matrix products of codes: int8 weights, uint8 inputs, int32 sums, requantization at their end."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eden.deployment.forms import Form, WeightForm

MOST_PRODUCTS = (2**31 - 1) // (255 * 128)
"""Products of codes whose sum an int32 always holds."""

_CHANNELS_LAST = torch.channels_last


@dataclasses.dataclass(frozen=True)
class Window:
    """How a convolution of two dimensions goes over its input; each pair is of rows and columns."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


@dataclasses.dataclass(frozen=True)
class Product:
    """One layer in integers, with what follows it folded in.

    Attributes:
        codes: int8 of the weight's shape, (outputs, ...).
        scale: float32 (outputs,): of a weight's code, times the factor of a normalization folded in.
        bias: float32 (outputs,).
        input: form of the codes that it takes.
        window: of a convolution of two dimensions, None for a matrix product.
        output: form of the codes that it gives, None for float32.
        activation: the least and the most of what it gives, None for no bounds.
        added: whether another feature map, float32, is added before the activation.
        overwrites: whether that feature map's memory may be used for the sum.
        weight: how its codes are read from words.
    """

    codes: Tensor
    scale: Tensor
    bias: Tensor
    input: Form
    window: Window | None
    output: Form | None = None
    activation: tuple[float, float] | None = None
    added: bool = False
    overwrites: bool = False
    weight: WeightForm | None = None

    def size(self, shape: torch.Size) -> tuple[int, ...]:
        """The shape of what a convolution gives for codes of shape (N, C, H, W)."""
        assert self.window is not None
        sides = [
            (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for side, padding, dilation, kernel, stride in zip(
                shape[2:],
                self.window.padding,
                self.window.dilation,
                self.codes.shape[2:],
                self.window.stride,
                strict=True,
            )
        ]
        return (shape[0], len(self.codes), *sides)

    def check(self, shape: torch.Size) -> None:
        """Refuse an input of other channels or features. Raises ValueError."""
        linear = self.window is None
        groups = 1 if self.window is None else self.window.groups
        wanted = self.codes.shape[1] * groups
        at = -1 if linear else -3
        if len(shape) < 1 or (not linear and len(shape) not in (3, 4)) or shape[at] != wanted:
            raise ValueError(
                f"an input has the shape {tuple(shape)}; allowed for a weight of shape {tuple(self.codes.shape)} are "
                f"{wanted} {'features last' if linear else 'channels, before rows and columns'}"
            )

    def settle(self, codes: Tensor) -> Tensor:
        """What a kernel has made in the output's form, as memory holds and corrects it."""
        assert self.output is not None
        rectified = self.activation is not None and self.activation[0] >= 0.0
        return self.output.settle(codes, self.output.zero_point if rectified else 0)

    def finish(self, y: Tensor, added: Tensor | None) -> Tensor:
        """float32 sums, what is added, the activation."""
        if added is not None:
            y = y + added
        return y if self.activation is None else y.clamp(*self.activation)


class Reference(nn.Module):
    """A product by its definition: sums in float64, which holds them exactly, on every processor."""

    def __init__(self, product: Product) -> None:
        super().__init__()
        self.product = product

    def forward(self, codes: Tensor, added: Tensor | None = None) -> Tensor:
        """uint8 codes, and a float32 feature map to add, to uint8 codes or float32."""
        return self.compute(self.product.codes, codes, added)

    def pack(self, codes: Tensor) -> Tensor:
        """Codes of the weight as ``compute`` takes them."""
        return codes

    def compute(self, packed: Tensor, codes: Tensor, added: Tensor | None = None, fused: bool = True) -> Tensor:
        """Likewise, from a weight that ``pack`` gave."""
        product = self.product
        product.check(codes.shape)
        x, weight = codes.double() - product.input.zero_point, packed.double()
        factors, bias = product.scale.double() * product.input.scale, product.bias.double()
        if product.window is None:
            y = F.linear(x, weight) * factors + bias
        else:
            at = product.window
            sums = F.conv2d(x, weight, None, at.stride, at.padding, at.dilation, at.groups)
            y = sums * factors[:, None, None] + bias[:, None, None]
        y = product.finish(y.float(), added)
        return y if product.output is None else product.output.quantize(y)


class Quantize(nn.Module):
    """float32 to uint8 codes."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        """Codes of the shape of ``x``."""
        return self.form.quantize(x)


class OneDnn(nn.Module):
    """A product by oneDNN's kernels, as torch has them for quantized networks: weights packed once, all else fused."""

    def __init__(self, product: Product) -> None:
        super().__init__()
        self.product = product
        self._zeros = torch.zeros(len(product.codes), dtype=torch.int32)
        self._window = product.window or Window((1, 1), (0, 0), (1, 1), 1)
        self._packed = self.pack(product.codes)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._packed = self.pack(self.product.codes)

    def pack(self, codes: Tensor) -> Tensor:
        """Codes of the weight in the kernel's own order."""
        product, at = self.product, self._window
        if product.window is None:
            codes = codes[:, :, None, None]
        packed: Tensor = torch.ops.onednn.qconv_prepack(
            codes,
            product.scale,
            product.input.scale,
            product.input.zero_point,
            at.stride,
            at.padding,
            at.dilation,
            at.groups,
        )
        return packed

    def forward(self, codes: Tensor, added: Tensor | None = None) -> Tensor:
        """uint8 codes, and a float32 feature map to add, to uint8 codes or float32."""
        return self.compute(self._packed, codes, added)

    def compute(self, packed: Tensor, codes: Tensor, added: Tensor | None = None, fused: bool = True) -> Tensor:
        """Likewise, from a weight that ``pack`` gave; the sum with what is added by itself where not ``fused``."""
        shape = codes.shape
        self.product.check(shape)
        if self.product.window is None:  # a matrix product is a convolution of single pixels
            y = self._convolved(packed, codes.reshape(-1, shape[-1], 1, 1), None, fused)
            return y.reshape(*shape[:-1], y.shape[1])
        if codes.dim() == 3:
            return self._convolved(packed, codes[None], None if added is None else added[None], fused)[0]
        return self._convolved(packed, codes, added, fused)

    def _convolved(self, packed: Tensor, codes: Tensor, added: Tensor | None, fused: bool) -> Tensor:
        product, to, at = self.product, self.product.output, self._window
        form = (1.0, 0, torch.float32) if to is None else (to.scale, to.zero_point, torch.uint8)
        codes = codes.contiguous(memory_format=_CHANNELS_LAST)
        given = (codes, product.input.scale, product.input.zero_point, packed, product.scale, self._zeros)
        place = (at.stride, at.padding, at.dilation, at.groups)
        after, limits, algorithm = self._after()
        y: Tensor
        if added is None:
            y = torch.ops.onednn.qconv_pointwise(*given, product.bias, *place, *form, after, limits, algorithm)
            return y if to is None else product.settle(y)
        alike = added.shape == product.size(codes.shape) and added.dtype == torch.float32
        if not (fused and alike and after in ("none", "relu")):
            y = torch.ops.onednn.qconv_pointwise(*given, product.bias, *place, *form, "none", [], "")
            return product.finish(y, added)
        if not product.overwrites:
            added = added.clone(memory_format=_CHANNELS_LAST)
        total = added.contiguous(memory_format=_CHANNELS_LAST)
        y = torch.ops.onednn.qconv2d_pointwise.binary(
            *given, total, product.bias, *place, *form, 1.0, 0, "sum", 1.0, after, limits, algorithm
        )
        return y

    def _after(self) -> tuple[str, list[float], str]:
        """The activation as the kernels name it."""
        limits = self.product.activation
        if limits is None:
            return "none", [], ""
        return ("relu", [], "") if limits == (0.0, math.inf) else ("hardtanh", list(limits), "")


ENGINES: dict[str, type[Reference | OneDnn]] = {"onednn": OneDnn, "reference": Reference}
"""By name, what computes products."""


def engine_of(name: str | None) -> str:
    """The engine of a name; for None "onednn" where its sums are exact, and else "reference".

    Raises:
        ValueError: for one that this torch or processor lacks, naming it, what is missing and what is allowed.
    """
    if name is not None and name not in ENGINES:
        raise ValueError(f"engine is {name!r}; allowed are {', '.join(map(repr, ENGINES))}")
    problem = None if name == "reference" else _problem_of_onednn()
    if name is not None and problem is not None:
        raise ValueError(f"engine is 'onednn', {problem}; allowed here is 'reference'")
    return name or ("onednn" if problem is None else "reference")


def _problem_of_onednn() -> str | None:
    """Why it cannot be used here, None where it can."""
    operators = ("qconv_prepack", "qconv_pointwise", "qconv2d_pointwise")
    missing = [one for one in operators if not hasattr(torch.ops.onednn, one)]
    if missing or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return f"and this torch has {f'no operator onednn::{missing[0]}' if missing else 'no oneDNN'}"
    if not _exact():
        return (
            "whose sums of products are not exact on this processor: without VNNI its kernels add pairs of products in "
            "16 bits, which saturate"
        )
    return None


def _exact() -> bool:
    """Whether the largest codes give the sums that they have."""
    largest = Form(1.0, 0, 0, 255, 0, 255, "none")
    ones = torch.ones(2)
    for shape in ((2, 64), (2, 16, 3, 3)):
        weight = torch.tensor([127, -128], dtype=torch.int8).reshape(-1, *[1] * (len(shape) - 1)).expand(shape)
        window = Window((1, 1), (0, 0), (1, 1), 1) if len(shape) == 4 else None
        product = Product(weight.contiguous(), ones, torch.zeros(2), largest, window)
        codes = torch.full((1, *shape[1:]), 255, dtype=torch.uint8)
        if not torch.equal(OneDnn(product)(codes), Reference(product)(codes)):
            return False
    return True
