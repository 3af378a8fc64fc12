"""What torch.compile, autograd and torch.vmap need to know of the operators: fake tensors, gradients, batching."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from eden import _core
from eden.common.torch_internals import argument_names
from eden.memory import library
from eden.memory.gradient import clipped_gradient, plausible_gradient
from eden.memory.storage import CELL_UNITS, CODE_BITS, STORAGES

library.load()

# Storages whose words are made with a scale, by their numbers.
SCALED = {STORAGES[name]: name for name in (*CODE_BITS, "sign")}


POSITION = {name: i for i, name in enumerate(argument_names(torch.ops.eden.corrupt))}


def _check_devices(x: Tensor, *arguments: Any, out: Tensor | None = None) -> None:
    # A meta tensor among real ones leads here, too, where no kernel looks at the others.
    for name, value in (*zip(POSITION, (x, *arguments), strict=False), ("out", out)):
        if isinstance(value, Tensor) and value.device != x.device:
            raise ValueError(f"{name} is on {value.device}; allowed is the device of x, {x.device}")


def _fake_corrupt(x: Tensor, *arguments: Any) -> Tensor:
    _check_devices(x, *arguments)
    return torch.empty_like(x)


def _fake_mutation(x: Tensor, *arguments: Any, out: Tensor | None = None) -> None:
    _check_devices(x, *arguments, out=out)


def _fake_count(x: Tensor, region: Tensor, *others: Any) -> Tensor:
    _check_devices(x, region, *others)
    bits = _BITS_OF_NUMBER[others[POSITION["storage"] - 2]]
    return region.new_empty((bits, 2, 2))


_BITS_OF_NUMBER = {STORAGES[name]: bits for name, bits in CELL_UNITS.items()}
torch.library.register_fake("eden::corrupt", _fake_corrupt)
torch.library.register_fake("eden::corrupt_", _fake_mutation)
torch.library.register_fake("eden::count_flips", _fake_count)
torch.library.register_fake("eden::corrupt_out", _fake_mutation)
torch.library.register_fake("eden::advance_", _fake_mutation)


def _fake_range(x: Tensor, storage: int, affine: bool, bounded: bool, channel_dim: int) -> tuple[Tensor, ...]:
    shape: list[Any] = [x.shape[channel_dim]] if channel_dim >= 0 else []
    coded = storage in _CODED
    scale = x.new_empty(shape if coded else [0], dtype=torch.float32)
    zero_point = x.new_empty(shape if coded and affine else [0], dtype=torch.int32)
    return scale, zero_point, x.new_empty([2 if bounded else 0], dtype=torch.float32)


_CODED = {STORAGES[name] for name in CODE_BITS}
torch.library.register_fake("eden::measure_range", _fake_range)
torch.library.register_fake("eden::clip_gradient", lambda grad, *others: torch.empty_like(grad))


def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor | None) -> None:
    """Keep what the gradient of a read needs."""
    x = inputs[POSITION["x"]]
    # Integer tensors are codes already, and no gradient goes through them.
    ctx.storage = SCALED.get(inputs[POSITION["storage"]]) if x.is_floating_point() else None
    ctx.channel_dim = inputs[POSITION["channel_dim"]]
    bounds = inputs[POSITION["bounds"]]
    ctx.bounded = ctx.storage is None and bounds is not None and x.is_floating_point()
    saved: tuple[Tensor | None, ...]
    if ctx.storage is not None:
        saved = (x, inputs[POSITION["scale"]], inputs[POSITION["zero_point"]])
    elif ctx.bounded:
        # Both can be changed in place before the backward pass: a network leaves eden.clean, or a curriculum steps.
        # A plane's mask lies above it, in the same field.
        correction = inputs[POSITION["region"]].reshape(-1)[_core.REGION_CORRECTION] % 2**_core.PLANE_SHIFT
        saved = (x, bounds.masked_fill(correction == _core.Correction.none.value, math.nan))
    else:
        return
    ctx.save_for_backward(*saved)
    ctx.save_for_forward(*saved)


def gradient_through(ctx: Any, gradient: Tensor) -> Tensor:
    """The gradient with respect to ``x``, of what ``setup_context`` kept."""
    if ctx.bounded:
        return plausible_gradient(gradient, *ctx.saved_tensors)
    if ctx.storage is None:
        return gradient
    x, scale, zero_point = ctx.saved_tensors
    return clipped_gradient(gradient, x, scale, zero_point, ctx.storage, ctx.channel_dim)


def backward_of_read(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients with respect to all arguments, of which ``x`` alone has one."""
    return gradient_through(ctx, gradient), *[None] * (len(POSITION) - 1)


torch.library.register_autograd("eden::corrupt", backward_of_read, setup_context=setup_context)


def batching_rule(
    call: Callable[..., Tensor], in_dims: Sequence[int | None], arguments: Sequence[Any]
) -> tuple[Tensor, int]:
    """One read for the examples of ``torch.vmap``, each of which is to read the cells that it would read alone."""
    x, *rest = arguments
    mapped = in_dims[POSITION["x"]]
    others = [value.shape[dim] for value, dim in zip(rest, in_dims[1:], strict=True) if dim is not None]
    if mapped is None or others:  # memories of their own, such as those of an ensemble's members
        examples = others[0] if mapped is None else x.shape[mapped]
        each = [
            call(*(y if dim is None else y.select(dim, i) for y, dim in zip(arguments, in_dims, strict=True)))
            for i in range(examples)
        ]
        return torch.stack(each), 0
    at = POSITION["batch_dim"] - 1
    batch_dim = rest[at]
    # Either way the numbers of the example's own dimensions stay right, should another argument name one.
    if batch_dim < 0 or x.dim() == 1:
        rest[at] = x.dim() - 1
        return call(x.movedim(mapped, -1), *rest), x.dim() - 1
    x = x.movedim(mapped, batch_dim)
    examples, samples = x.shape[batch_dim : batch_dim + 2]
    y = call(x.flatten(batch_dim, batch_dim + 1), *rest)
    return y.reshape(*y.shape[:batch_dim], examples, samples, *y.shape[batch_dim + 1 :]), batch_dim


def _register_vmap(registrations: torch.library.Library) -> None:
    operator = torch.ops.eden.corrupt.default
    torch.library.register_vmap(
        "eden::corrupt",
        lambda info, in_dims, *arguments: batching_rule(operator, in_dims, arguments),
        lib=registrations,
    )

    # Any shape of it is counted.
    advance = torch.ops.eden.advance_.default
    torch.library.register_vmap("eden::advance_", lambda info, dims, access: (advance(access), None), lib=registrations)

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise RuntimeError(NOT_IN_PLACE)

    for name in ("corrupt_", "corrupt_out"):
        registrations.impl(name, refuse, "FuncTorchBatched")  # type: ignore[no-untyped-call]


NOT_IN_PLACE = "eden::corrupt_ and out= cannot be used under torch.vmap; allowed is eden.corrupt without out"
# Its registrations last as long as it does.
_REGISTRATIONS = torch.library.Library("eden", "IMPL")  # type: ignore[no-untyped-call]
_register_vmap(_REGISTRATIONS)
