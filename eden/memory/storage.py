"""The storages in which memory keeps values, and the scales and zero points of those that keep codes instead.

A value v is kept as the code ``clip(round(v / scale) + zero_point)``, halves rounded to even, and read as
``(code - zero_point) * scale``. Without a zero point a signed storage is symmetric and leaves its lowest code out; with
one it uses all of them. The operator quantizes by itself, in the same pass as flips and corrections; here is what it
needs to know. Everything can be computed with tensors, without looking at their values, so it can be compiled and costs
no synchronization; in eager mode one pass of an operator does it, to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eden import _core
from eden.common.torch_internals import below_autograd, plain
from eden.memory import library

STORAGES: dict[str, int] = {name: value.value for name, value in _core.Storage.__members__.items()}
"""Names of the storages and the numbers by which the operators know them."""

_WHOLE = 64  # elements that are whole blocks of every code

STORAGE_BITS: dict[str, int] = {
    name: _core.cells_of(value, _WHOLE) // _WHOLE for name, value in _core.Storage.__members__.items()
}
"""Bits of memory that an element takes in each storage; of blocks, those of a block / its elements."""

_BLOCK_BITS = {name: _core.cells_of(value, 1) for name, value in _core.Storage.__members__.items()}

CELL_UNITS: dict[str, int] = {name: _core.cell_unit(value) for name, value in _core.Storage.__members__.items()}
"""Bits of what addresses and pieces of memory are multiples of: an element, or a byte of coded words."""

CODED: tuple[str, ...] = tuple(name for name, value in _core.Storage.__members__.items() if _core.is_coded(value))
"""The storages with a code of several words: SECDED, Hamming, a tripled sign. No element has cells of its own."""

CORRECTIONS: tuple[str, ...] = tuple(_core.Correction.__members__)

_CODES, _AFFINE_CODES = (
    {
        name: codes
        for name, value in _core.Storage.__members__.items()
        if (codes := _core.storage_codes(value, affine)) is not None
    }
    for affine in (False, True)
)

CODE_BITS: dict[str, int] = {name: STORAGE_BITS[name] for name in _CODES}
"""The storages that keep codes, and the bits of a code."""

UNSIGNED: tuple[str, ...] = tuple(name for name, (lowest, _) in _CODES.items() if lowest == 0)
"""The storages of codes without a sign, which always have a zero point: 0 where no value is negative."""

SYMMETRIC: tuple[str, ...] = tuple(name for name in _CODES if name not in _AFFINE_CODES)
"""The storages whose codes have no zero point: a sign, in the highest bit, and a magnitude."""

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def stored_bits(storage: str, elements: int) -> int:
    """Bits of memory that so many elements of one sample take. The last block of a code is filled up."""
    of_block = _BLOCK_BITS[storage]
    return -(-elements // (of_block // STORAGE_BITS[storage])) * of_block


def stored_bytes(storage: str, elements: int) -> int:
    """Whole bytes of ``stored_bits``."""
    return plane_bytes((), storage, elements)


def plane_bits(plane: Sequence[int], storage: str, elements: int) -> int:
    """Likewise, of a plane of so many bit positions; of whole words for none."""
    return elements * len(plane) if plane else stored_bits(storage, elements)


def plane_bytes(plane: Sequence[int], storage: str, elements: int) -> int:
    """Whole bytes of ``plane_bits``."""
    return -(-plane_bits(plane, storage, elements) // 8)


def most_elements(storage: str, bits: int) -> int:
    """How many elements of one sample so many bits hold."""
    unit = stored_bits(storage, 1)  # a block, where there are blocks
    return bits // unit * (unit // STORAGE_BITS[storage])


def whole_rows(storage: str, elements: int) -> bool:
    """Whether rows of so many elements each, one after another, have cells of their own, also read by themselves."""
    if storage == "int8_sign_tripled":  # joins what is far apart
        return False
    return stored_bits(storage, elements) == elements * STORAGE_BITS[storage]


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
    return _AFFINE_CODES[storage] if affine else _CODES[storage]


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
        that holds nothing but 0 is 0, at which all is read as 0; that of a range with a NaN or an infinity is
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


def has_operators(x: Tensor) -> bool:
    """Whether this build has operators where a tensor lies."""
    return x.is_cpu or (x.is_cuda and library.OPS_CUDA.exists())


def by_operator(x: Tensor) -> bool:
    """Whether an operator may take a tensor in place of formulas, which autograd and transforms follow."""
    if not (plain() and has_operators(x)):
        return False
    return x.dtype in _FLOATS and not (x.requires_grad and torch.is_grad_enabled())


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
    if values.numel() > 0 and values.dim() > channel_dim >= -1 and by_operator(values):
        with below_autograd():
            scale, zero_point, bounds = torch.ops.eden.measure_range(
                values, STORAGES[storage], affine, bounded, channel_dim if coded else -1
            )
        return scale if coded else None, zero_point if coded and affine else None, bounds if bounded else None
    low, high = ranges(values, channel_dim) if coded and channel_dim >= 0 else torch.aminmax(values)
    scale = zero_point = None
    if coded:
        scale, zero_point = quantization(low, high, storage, affine)
    return scale, zero_point, torch.stack((low.amin(), high.amax())).float() if bounded else None
