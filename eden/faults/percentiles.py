"""Percentiles of values that are seen batch by batch."""

from __future__ import annotations

import math
import struct
from typing import Any

import torch
from torch import Tensor

from eden.common.arguments import number


def check_percentile(name: str, value: Any) -> None:
    """Raise ValueError, naming it, for a share in percent that is not above 50 to 100."""
    if not (number(value) and 50.0 < value <= 100.0):
        raise ValueError(f"{name} is {value}; allowed is above 50 to 100")


class ValueCounts:
    """Counts of the values of a tensor that is seen batch by batch, from which its percentiles are read.

    Values are told apart by the upper half of their float32 form, its sign, exponent and first seven bits of the
    significand, so that a percentile is met to one part in 128, in memory that does not grow.
    """

    _BINS = 1 << 16

    def __init__(self) -> None:
        self._counts = torch.zeros(self._BINS, dtype=torch.int64, device="cpu")

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
