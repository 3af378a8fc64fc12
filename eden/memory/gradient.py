"""The gradient of reading a tensor from memory: through its storage and its correction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eden.common.torch_internals import below_autograd
from eden.memory.storage import CODE_BITS, STORAGES, by_operator, code_range


def _along(numbers: Tensor, x: Tensor, channel_dim: int) -> Tensor:
    if numbers.numel() == 1 or channel_dim < 0:
        return numbers.reshape(())
    return numbers.reshape([-1 if dim == channel_dim else 1 for dim in range(x.dim())])


def _one_pass(grad: Tensor, x: Tensor) -> bool:
    return by_operator(grad) and x.device == grad.device and x.dtype == grad.dtype


def _clipped(grad: Tensor, *arguments: Any) -> Tensor:
    """``eden::clip_gradient``."""
    with below_autograd():
        # As a rule nothing is clipped, and to see that costs a third of a pass that writes. A GPU would be waited for.
        if grad.is_cpu and not torch.ops.eden.clips(*arguments):
            return grad
        result: Tensor = torch.ops.eden.clip_gradient(grad, *arguments)
    return result


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
    if _one_pass(grad, x):
        return _clipped(grad, x, scale, zero_point, STORAGES[storage], channel_dim, None)
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
    if _one_pass(grad, x):
        return _clipped(grad, x, None, None, STORAGES["float32"], -1, bounds)
    values = x.float()  # else the bounds would be rounded to the type of x
    return torch.where((values >= bounds[0]) & (values <= bounds[1]) | bounds[0].isnan(), grad, 0.0)
