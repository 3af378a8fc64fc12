"""Parameters that keep codes of their own: tensors of a quantizer's class, such as torchao's of 8 bits.

What memory holds of such a Parameter are its codes. Its scales and zero points are few, and reliable.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eden.common.torch_internals import inner_tensors, keeps_other_numbers


def _context(tensor: Any) -> Any:
    return tensor.__tensor_flatten__()[1]


def _place(tensor: Tensor) -> str | None:
    """The name of the inner tensor that has the codes, or has them inside; None where no one or several could be."""
    found = [
        name
        for name, inner in inner_tensors(tensor).items()
        if (_place(inner) if keeps_other_numbers(inner) else inner.dtype == torch.int8 and inner.shape == tensor.shape)
    ]
    return found[0] if len(found) == 1 else None


def codes_of(tensor: Tensor) -> Tensor | None:
    """The codes of a tensor, int8 of its shape, a code for each value; None where it is not kept so."""
    while keeps_other_numbers(tensor):
        name = _place(tensor)
        if name is None:
            return None
        tensor = inner_tensors(tensor)[name]
    return tensor


def packed_weights(module: nn.Module) -> dict[str, Tensor]:
    """The weights, by name, that a layer of torch's own quantization keeps in a form that only its kernels read."""
    if type(module).__module__.startswith("torch.ao.nn.") and not hasattr(module, "eden_faults"):
        if callable(several := getattr(module, "get_weight", None)):
            return dict(several())
        if callable(one := getattr(module, "weight", None)):
            return {"weight": one()}
    return {}


def with_codes(tensor: Tensor, codes: Tensor) -> Tensor:
    """The same tensor with other codes."""
    if not keeps_other_numbers(tensor):
        return codes
    name, inner, context = _place(tensor), inner_tensors(tensor), _context(tensor)
    assert name is not None
    made: Any = type(tensor)
    found: Tensor = made.__tensor_unflatten__(
        {**inner, name: with_codes(inner[name], codes)}, context, tensor.shape, tensor.stride()
    )
    return found
