"""The one list of the storages and error models that the operator accepts, from which the tests take their cases."""

from collections.abc import Callable
from typing import Any

import torch
from operator_grid import operator_arguments
from torch import Tensor

import eden

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
}
"""Of tensors that are stored as they are."""

QUANTIZED = {
    "int16": 16,
    "int8": 8,
    "uint8": 8,
    "int4": 4,
    "int16_sign_magnitude": 16,
    "int8_sign_magnitude": 8,
    "int4_sign_magnitude": 4,
    "sign": 1,
}
"""Storages that float32 tensors are quantized to, and the bits of an element."""

DISPERSION = 0.1
"""Of the lines' probabilities in Models 1 and 2: the intra-class correlation."""

MODELS: dict[str, Callable[[float], Any]] = {
    "Uniform": lambda ber: eden.Uniform(ber),
    # Ten times the rate for stored ones, except where that would pass 1.
    "DataDependent": lambda ber: eden.DataDependent(
        ber_zero=max(2 * ber / 11, 2 * ber - 1), ber_one=min(20 * ber / 11, 1.0)
    ),
    "Bitline": lambda ber: eden.Bitline(ber=ber, dispersion=DISPERSION),
    "Wordline": lambda ber: eden.Wordline(ber=ber, dispersion=DISPERSION),
}


def read_quantized(x: Tensor, errors: Any, storage: str, scale: float, **arguments: Any) -> Tensor:
    """Float32 values by way of a quantized storage."""
    scales = torch.tensor(scale)
    result: Tensor = torch.ops.eden.corrupt(**operator_arguments(x, errors, storage=storage, scale=scales, **arguments))
    return result
