"""The one list of the storages and error models that the tests expect of the operator, and what it accepts of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import eden
from eden import ops

EXPECTED_DTYPES = {
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

EXPECTED_QUANTIZED = {"int16": 16, "int8": 8, "uint8": 8, "int4": 4, "sign": 1}
"""Storages that float32 tensors are quantized to, and the bits of an element."""

DISPERSION = 0.1
"""Of the lines' probabilities in Models 1 and 2: the intra-class correlation."""

EXPECTED_MODELS: dict[str, Callable[[float], Any]] = {
    "Uniform": lambda ber: eden.Uniform(ber),
    # Ten times the rate for stored ones, except where that would pass 1.
    "DataDependent": lambda ber: eden.DataDependent(
        ber_zero=max(2 * ber / 11, 2 * ber - 1), ber_one=min(20 * ber / 11, 1.0)
    ),
    "Bitline": lambda ber: eden.Bitline(ber=ber, dispersion=DISPERSION),
    "Wordline": lambda ber: eden.Wordline(ber=ber, dispersion=DISPERSION),
}

# What other branches bring; to be emptied as they are merged. The test of this list fails for an entry of it that the
# operator accepts, as it does for anything else that it does not accept.
NOT_YET_ACCEPTED: set[str] = set()


def operator_arguments(
    x: Tensor, errors: Any, seed: int = 0, address: int = 0, access: int = 0, **changes: Any
) -> dict[str, Any]:
    """Arguments by name of ``torch.ops.eden.corrupt``, which knows more than ``eden.corrupt`` above it does.

    Args:
        x: the tensor to be read.
        errors: the error model.
        seed: the chip.
        address: first bit, a multiple of x's own width.
        access: number of the read.
        changes: arguments of the schema that differ from what ``eden.corrupt`` would pass; storage by its name.
    """
    names = [argument.name for argument in torch.ops.eden.corrupt.default._schema.arguments]
    given = dict(zip(names, (x, *ops._arguments(x, errors, seed, address, access)), strict=True))
    if "storage" in changes:
        changes["storage"] = ops.STORAGES[changes["storage"]]
    unknown = changes.keys() - given.keys()
    if unknown:
        raise TypeError(f"{', '.join(sorted(unknown))}: no argument of eden::corrupt")
    return given | changes


def read_quantized(x: Tensor, errors: Any, storage: str, scale: float, **arguments: Any) -> Tensor:
    """Float32 values by way of a quantized storage."""
    scales = torch.tensor(scale)
    result: Tensor = torch.ops.eden.corrupt(**operator_arguments(x, errors, storage=storage, scale=scales, **arguments))
    return result


def _accepts(call: Callable[[], Any]) -> bool:
    try:
        call()
    # What is not there yet shows as a missing class, a missing storage or a refused dtype.
    except (AttributeError, KeyError, TypeError, RuntimeError):
        return False
    return True


def accepted() -> set[str]:
    """Which of the expected storages and models the operator accepts, by trying each."""
    errors = eden.Uniform(0.0)
    found = {
        f"dtype {name}"
        for name, dtype in EXPECTED_DTYPES.items()
        if _accepts(lambda dtype=dtype: eden.corrupt(torch.zeros(4, dtype=dtype), errors))
    }
    found |= {
        f"quantized {name}"
        for name in EXPECTED_QUANTIZED
        if _accepts(lambda name=name: read_quantized(torch.zeros(4), errors, name, 1.0))
    }
    found |= {
        f"model {name}"
        for name, model in EXPECTED_MODELS.items()
        if _accepts(lambda model=model: eden.corrupt(torch.zeros(4), model(1e-3)))
    }
    return found


def expected() -> set[str]:
    """All that is expected once every branch is merged."""
    return (
        {f"dtype {name}" for name in EXPECTED_DTYPES}
        | {f"quantized {name}" for name in EXPECTED_QUANTIZED}
        | {f"model {name}" for name in EXPECTED_MODELS}
    )
