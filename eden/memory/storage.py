"""Scales and zero points of the storages that keep codes instead of values, and the gradient through them.

A value v is kept as the code ``clip(round(v / scale) + zero_point)``, halves rounded to even, and read as
``(code - zero_point) * scale``. Without a zero point a signed storage is symmetric and leaves its lowest code out; with
one it uses all of them. The operator quantizes by itself, in the same pass as flips and corrections; here is what it
needs to know. Everything can be computed with tensors, without looking at their values, so it can be compiled and costs
no synchronization; in eager mode on the CPU one pass of an operator does it, to the same bits.
"""

from __future__ import annotations

import math
import struct

import torch
from torch import Tensor

from eden import _core
from eden.memory import library as _library

SYMMETRIC: tuple[str, ...] = ("int16_sign_magnitude", "int8_sign_magnitude", "int4_sign_magnitude")
"""The storages whose codes have no zero point: a sign, in the highest bit, and a magnitude."""

CODE_BITS: dict[str, int] = {
    name: _core.storage_bits(_core.Storage.__members__[name]) for name in ("int16", "int8", "uint8", "int4", *SYMMETRIC)
}
"""The storages that keep codes, and the bits of a code."""

_NUMBERS = {name: value.value for name, value in _core.Storage.__members__.items()}
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def code_range(storage: str, affine: bool = False) -> tuple[int, int]:
    """The lowest and highest code that quantization makes; a flip can make any that the bits can hold.

    Args:
        storage: a key of ``CODE_BITS``.
        affine: whether there is a zero point.

    Raises:
        ValueError: for a storage that keeps no codes, or a zero point that its codes cannot have.
    """
    if storage not in CODE_BITS:
        raise ValueError(f"storage is {storage!r}; allowed are {', '.join(CODE_BITS)}")
    if affine and storage in SYMMETRIC:
        raise ValueError(f"affine is True; allowed for {storage!r}, a sign and a magnitude, is False")
    if storage.startswith("u"):
        return 0, 2 ** CODE_BITS[storage] - 1
    highest = 2 ** (CODE_BITS[storage] - 1) - 1
    return (-highest - 1 if affine else -highest), highest


def _others(x: Tensor, channel_dim: int) -> list[int]:
    if not -1 <= channel_dim < x.dim():
        raise ValueError(f"channel_dim is {channel_dim}; allowed are -1 for none and 0 to {x.dim() - 1}")
    return [dim for dim in range(x.dim()) if dim != channel_dim]


def ranges(x: Tensor, channel_dim: int = -1) -> tuple[Tensor, Tensor]:
    """The smallest and largest value of a tensor or of each of its channels.

    Args:
        x: floating-point tensor of at least one element.
        channel_dim: dimension of the channels, -1 for one range of all.

    Returns:
        Two float32 tensors, of shape (channels,), or () without channels. They carry no gradient. NaN where a value is.

    Raises:
        ValueError: for a dimension that ``x`` does not have.
    """
    others = _others(x, channel_dim)
    values = x.detach()
    if not others:
        return values.float(), values.float()
    return values.amin(others).float(), values.amax(others).float()


def mean_magnitude(x: Tensor, channel_dim: int = -1) -> Tensor:
    """The mean of ``abs(x)``, of all values or of each channel: the scale at which one bit, the sign, loses least.

    ``scale * sign(x)`` is nearest to ``x`` in squared error at this scale (Rastegari et al., ECCV 2016).

    Args:
        x: floating-point tensor.
        channel_dim: dimension of the channels, -1 for one scale of all.

    Returns:
        float32 tensor of shape (channels,), or () without channels, without a gradient.

    Raises:
        ValueError: for a dimension that ``x`` does not have.
    """
    others = _others(x, channel_dim)
    magnitudes = x.detach().float().abs()
    return magnitudes.mean(others) if others else magnitudes


def quantization(low: Tensor, high: Tensor, storage: str, affine: bool = False) -> tuple[Tensor, Tensor | None]:
    """Scale and zero point at which a storage's codes just cover a range of values.

    Symmetric codes of a signed storage cover the range from minus to plus the larger magnitude of the two ends. uint8
    without a zero point covers 0 to ``high``, and keeps what is negative as 0. Affine codes cover the range from
    ``low`` to ``high``, widened to hold 0, which is always kept exactly.

    Args:
        low: float32, the smallest value, of shape () or (channels,).
        high: float32, the largest value, of the same shape.
        storage: a key of ``CODE_BITS``.
        affine: whether to use a zero point.

    Returns:
        The scale, float32, and the zero point, int32, or None; both of the shape of the range. The scale of a range
        that holds nothing but 0 is 0, which the operator takes for 1; that of a range with a NaN or an infinity is
        not finite, and all that is read with it is NaN.

    Raises:
        ValueError: for a storage that keeps no codes, or ends of different shapes.
    """
    lowest, highest = code_range(storage, affine)
    if low.shape != high.shape:
        raise ValueError(f"low has the shape {tuple(low.shape)} and high {tuple(high.shape)}; allowed are equal ones")
    if not affine:
        # torch.maximum keeps a NaN of either end.
        magnitude = torch.maximum(low.abs(), high.abs()) if lowest < 0 else torch.maximum(low * 0.0, high)
        return magnitude.float() / highest, None
    steps = highest - lowest
    zero = torch.zeros_like(low)
    low, high = torch.minimum(low, zero).float(), torch.maximum(high, zero).float()
    # Divided one by one: the width of a range can exceed the largest float32.
    scale = high / steps - low / steps
    point = torch.round(lowest - low / torch.where(scale == 0, 1.0, scale))
    return scale, torch.nan_to_num(point, nan=0.0).clamp(lowest, highest).to(torch.int32)


def _on_host(x: Tensor) -> bool:
    """Whether an operator on the CPU may take a tensor in place of formulas, which autograd and transforms follow."""
    if not _library.plain():
        return False
    return x.is_cpu and x.dtype in _FLOATS and not (x.requires_grad and torch.is_grad_enabled())


def measure_range(
    x: Tensor, storage: str, affine: bool, bounded: bool, channel_dim: int = -1
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """What a tensor's own values say of how it is kept: scale, zero point and bounds.

    Args:
        x: floating-point tensor of at least one element.
        storage: name of the storage.
        affine: whether its codes have a zero point.
        bounded: whether to give bounds.
        channel_dim: dimension whose channels have codes of their own, -1 for none. Bounds are of all values.

    Returns:
        Scale and zero point as ``quantization`` gives them for ``ranges``, None where the storage keeps no codes or
        they have none; and float32 (low, high), or None. Without gradients.

    Raises:
        ValueError: for a dimension that ``x`` does not have.
    """
    values = x.detach()
    coded = storage in CODE_BITS
    if not (coded or bounded):
        return None, None, None
    if values.numel() > 0 and values.dim() > channel_dim >= -1 and _on_host(values):
        with torch._C._AutoDispatchBelowAutograd():
            scale, zero_point, bounds = torch.ops.eden.measure_range(
                values, _NUMBERS[storage], affine, bounded, channel_dim if coded else -1
            )
        return scale if coded else None, zero_point if coded and affine else None, bounds if bounded else None
    low, high = ranges(values, channel_dim) if coded and channel_dim >= 0 else torch.aminmax(values)
    scale = zero_point = None
    if coded:
        scale, zero_point = quantization(low, high, storage, affine)
    return scale, zero_point, torch.stack((low.amin(), high.amax())).float() if bounded else None


def _along(numbers: Tensor, x: Tensor, channel_dim: int) -> Tensor:
    if numbers.numel() == 1 or channel_dim < 0:
        return numbers.reshape(())
    return numbers.reshape([-1 if dim == channel_dim else 1 for dim in range(x.dim())])


def clipped_gradient(
    grad: Tensor,
    x: Tensor,
    scale: Tensor | None,
    zero_point: Tensor | None,
    storage: str,
    channel_dim: int = -1,
) -> Tensor:
    """The gradient of reading ``x`` through a storage: clipped straight-through.

    Where quantization clips, the code does not depend on the value, and no gradient passes; elsewhere it passes as it
    is (Hubara et al., JMLR 2018). For one bit, the sign, the derivative is that of a hard tanh which saturates at the
    scale: it passes where ``abs(x) <= scale`` (Courbariaux et al., arXiv 1602.02830, where the scale is 1).
    Conversions between floating-point formats and flips let everything through; for corrections see
    ``plausible_gradient``.

    Args:
        grad: the gradient with respect to what was read.
        x: what was stored, of the shape of ``grad``.
        scale: float32 tensor of 1 or ``x.shape[channel_dim]`` elements; None is 1. Not looked at where values are kept
            as floating-point numbers.
        zero_point: int32 tensor of as many elements, or None.
        storage: name of the storage.
        channel_dim: dimension of the channels, -1 for none.

    Returns:
        The gradient with respect to ``x``, of the shape and dtype of ``grad``; 0 for values that are NaN.
    """
    if storage != "sign" and storage not in CODE_BITS:
        return grad
    if _on_host(grad) and x.is_cpu and x.dtype == grad.dtype:
        with torch._C._AutoDispatchBelowAutograd():
            # As a rule nothing is clipped, and to see that costs a third of a pass that writes.
            if not torch.ops.eden.clips(x, scale, zero_point, _NUMBERS[storage], channel_dim):
                return grad
            result: Tensor = torch.ops.eden.clip_gradient(grad, x, scale, zero_point, _NUMBERS[storage], channel_dim)
        return result
    if storage == "sign":
        limit = 1.0 if scale is None else _along(scale, x, channel_dim)
        return torch.where(x.float().abs() <= limit, grad, 0.0)
    lowest, highest = code_range(storage, zero_point is not None)
    ratio = x.float()
    if scale is not None:
        scale = _along(scale, x, channel_dim)
        ratio = ratio / torch.where(scale == 0, 1.0, scale)
    code = torch.round(ratio)
    if zero_point is not None:
        code = code + _along(zero_point, x, channel_dim).clamp(lowest, highest)
    return torch.where((code >= lowest) & (code <= highest), grad, 0.0)


def plausible_gradient(grad: Tensor, x: Tensor, bounds: Tensor) -> Tensor:
    """The gradient of correcting values of a floating-point storage: it passes where reliable memory gives ``x`` back.

    A value outside of the bounds is replaced whether it was hit by an error or not, so that what is read does not
    depend on it. Were its gradient passed, nothing would hold back what it is computed from: a channel whose values are
    all replaced would grow without end.

    Args:
        grad: the gradient with respect to what was read.
        x: what was stored, of the shape of ``grad``.
        bounds: float32 [lowest plausible, highest plausible], on the device of ``x``; both NaN where nothing is
            corrected.

    Returns:
        The gradient with respect to ``x``, of the shape and dtype of ``grad``; 0 for values that are NaN where there
        are bounds.
    """
    if _on_host(grad) and x.is_cpu:
        # As a rule all are plausible, and to see that costs less than a pass that writes.
        low, high = bounds.tolist()
        if x.numel() == 0 or math.isnan(low):
            return grad
        smallest, largest = torch.aminmax(x.detach().float())
        if low <= float(smallest) and float(largest) <= high:
            return grad
    values = x.float()  # else the bounds would be rounded to the type of x
    return torch.where((values >= bounds[0]) & (values <= bounds[1]) | bounds[0].isnan(), grad, 0.0)


class ValueCounts:
    """Counts of the values of a tensor that is seen batch by batch, from which its percentiles are read.

    Values are told apart by the upper half of their float32 form, its sign, exponent and first seven bits of the
    significand, so that a percentile is met to one part in 128, in memory that does not grow.
    """

    _BINS = 1 << 16

    def __init__(self) -> None:
        self._counts = torch.zeros(self._BINS, dtype=torch.int64)

    def add(self, x: Tensor) -> None:
        """Count the values of a floating-point tensor, on any device; none may be NaN."""
        bits = x.detach().float().contiguous().view(torch.int32).flatten() >> 16
        # In the order of the numbers: the negative ones, complemented, come first.
        order = torch.where(bits < 0, ~bits, bits + self._BINS // 2)
        self._counts += torch.bincount(order.to(torch.int64), minlength=self._BINS).cpu()

    def range(self, percent: float) -> tuple[float, float]:
        """A range beyond each of whose ends lie at most 100 - ``percent`` percent of the values, no wider than need be.

        Args:
            percent: from 0 to 100.

        Returns:
            The lower and the upper end, each the outer one of the values that are counted as one with it.

        Raises:
            ValueError: if nothing was counted, or ``percent`` is out of range.
        """
        total = int(self._counts.sum())
        if total == 0:
            raise ValueError("no value was counted; allowed is a range of one or more")
        if not 0.0 <= percent <= 100.0:
            raise ValueError(f"percent is {percent}; allowed is 0 to 100")
        left_out = min(math.floor(total * (100.0 - percent) / 100.0), total - 1)
        up_to = torch.cumsum(self._counts, 0)
        low, high = (int(torch.searchsorted(up_to, seen)) for seen in (left_out + 1, total - left_out))
        return self._ends(low)[0], self._ends(high)[1]

    def _ends(self, place: int) -> tuple[float, float]:
        positive = place >= self._BINS // 2
        first = (place - self._BINS // 2 if positive else self._BINS // 2 - 1 - place) << 16
        smallest, largest = (struct.unpack("<f", struct.pack("<I", bits))[0] for bits in (first, first | 0xFFFF))
        return (smallest, largest) if positive else (-largest, -smallest)
