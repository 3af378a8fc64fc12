"""Nested values as JSON and tensors, without pickling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """JSON form of nested dictionaries, lists, tuples, numbers, texts and tensors; the tensors go into ``tensors``.

    Args:
        value: what to pack.
        name: how the tensors' names begin.
        tensors: takes each tensor under its place in ``value``.

    Raises:
        TypeError: naming the place of a value of another type.

    """
    if isinstance(value, Tensor):
        if type(value) not in (Tensor, nn.Parameter):
            raise TypeError(
                f"{name} is a {type(value).__name__}; allowed are whole tensors, which FSDP does not leave a network"
            )
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, np.ndarray):
        tensors[name] = torch.from_numpy(value.astype(np.int64) if value.dtype.kind == "u" else value)
        return {"$array": name, "dtype": value.dtype.str}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, (list, tuple)):
        parts = [pack(item, f"{name}.{index}", tensors) for index, item in enumerate(value)]
        return parts if isinstance(value, list) else {"$tuple": parts}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: pack(item, f"{name}.{key}", tensors) for key, item in value.items()}
        return {
            "$items": [[pack(key, name, tensors), pack(item, f"{name}.{key}", tensors)] for key, item in value.items()]
        }
    raise TypeError(
        f"{name} is a {type(value).__name__}; allowed are numbers, texts, tensors, and lists and dictionaries of them"
    )


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What ``pack`` packed. Raises KeyError, TypeError or ValueError for what is damaged."""
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$array" in value:
        return tensors[value["$array"]].numpy().astype(value["dtype"])
    if "$float" in value:
        return _FLOATS[value["$float"]]
    if "$tuple" in value:
        return tuple(unpack(item, tensors) for item in value["$tuple"])
    if "$items" in value:
        return {unpack(key, tensors): unpack(item, tensors) for key, item in value["$items"]}
    return {key: unpack(item, tensors) for key, item in value.items()}
