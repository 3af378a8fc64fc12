"""Codes of 8 bits: the words that memory keeps them as, and what is read from words."""

from __future__ import annotations

import torch
from torch import Tensor

from eden.memory.storage import code_range

SYMMETRIC_STORAGES = ("int8", "int8_sign_magnitude")
"""The storages of weights that integer kernels compute with: a byte, and no zero point."""

FEATURE_MAP_STORAGES = (*SYMMETRIC_STORAGES, "uint8")
"""The storages of feature maps that they compute with."""


def quantized(values: Tensor, scale: Tensor, zero_point: Tensor | int, storage: str, affine: bool) -> Tensor:
    """The codes that memory keeps values as (``eden.memory.storage``).

    Args:
        values: float32.
        scale: float32, of a shape that goes with the values'; 0 where all values are 0.
        zero_point: whole number, 0 for none.
        storage: name of a storage of codes.
        affine: whether its codes have a zero point.

    Returns:
        int32, of the shape of the values. NaN is kept as 0.
    """
    lowest, highest = code_range(storage, affine)
    ratios = torch.where(values.isnan(), 0.0, values) / torch.where(scale == 0, 1.0, scale)
    return (torch.round(ratios).clamp(lowest - highest, highest - lowest) + zero_point).clamp(lowest, highest).int()


def words_of(codes: Tensor, storage: str) -> Tensor:
    """The uint8 words of codes, whole numbers that the storage holds."""
    codes = codes.int()
    if storage == "int8_sign_magnitude":
        codes = codes.abs() | torch.where(codes < 0, 128, 0)
    return (codes & 255).to(torch.uint8)


def codes_of(words: Tensor, storage: str) -> Tensor:
    """The int16 codes of uint8 words; ``words_of`` backwards, for every word that errors can make."""
    codes = words.to(torch.int16)
    if storage == "int8_sign_magnitude":
        magnitude = codes & 127
        return torch.where(codes > 127, -magnitude, magnitude)
    return codes if storage == "uint8" else torch.where(codes > 127, codes - 256, codes)


def corrected(codes: Tensor, low: Tensor | int, high: Tensor | int, correction: str, zero: int = 0) -> Tensor:
    """Codes with those below ``low`` or above ``high`` replaced, as the correction says.

    Args:
        codes: whole numbers.
        low: the code of the smallest plausible value.
        high: that of the largest one.
        correction: "none"; "zero", by the code of 0; or "clamp", by the nearer of the two.
        zero: the code of 0.
    """
    if correction == "none":
        return codes
    plausible = (codes >= low) & (codes <= high)
    if correction == "zero":
        return torch.where(plausible, codes, zero).to(codes.dtype)
    return torch.where(plausible, codes, torch.where(codes < low, low, high)).to(codes.dtype)
