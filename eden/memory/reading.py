"""Reading a tensor from a faulty memory, by checked arguments; the numbers of reads, and the memory kept for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from eden.common.torch_internals import below_autograd, plain, takes_own_operators, transformed
from eden.memory import library
from eden.memory.gradient import clipped_gradient
from eden.memory.registration import POSITION, backward_of_read, batching_rule, gradient_through, setup_context
from eden.memory.storage import CODE_BITS, STORAGES, code_range, has_operators, measure_range

_NAMES = {number: name for name, number in STORAGES.items()}


class _Read(torch.autograd.Function):
    """The operator for torch.func's transforms and forward-mode gradients, which its registered one cannot serve."""

    setup_context = staticmethod(setup_context)
    backward = staticmethod(backward_of_read)

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        result: Tensor = torch.ops.eden.corrupt(*arguments)
        return result

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *others: Any) -> Tensor:
        through = gradient_through(ctx, tangent)
        return through.view_as(through) if through is tangent else through

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        return batching_rule(_Read.apply, in_dims, arguments)


class _PlainRead(torch.autograd.Function):
    """The operator in eager mode: the registered gradient is made from Python too, but costs several times as much."""

    backward = staticmethod(backward_of_read)

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        setup_context(ctx, arguments, None)
        with below_autograd():
            result: Tensor = torch.ops.eden.corrupt(*arguments)
        return result


def _check_whole(x: Tensor) -> None:
    """Refuse one rank's part of a tensor: the addresses of its elements are those in the whole."""
    if type(x) not in (Tensor, Parameter) and hasattr(x, "placements"):
        raise TypeError(
            f"a tensor of shape {tuple(x.shape)} is spread over ranks by tensor parallelism (a DTensor): found "
            f"placements {tuple(x.placements)}; allowed are DistributedDataParallel, FSDP and FSDP2, and tensor "
            "parallelism of layers that are not under faults"
        )


def read(x: Tensor, *arguments: Any) -> Tensor:
    """``torch.ops.eden.corrupt``, also under ``torch.func``'s transforms and forward-mode gradients.

    Args:
        x: the tensor to read.
        arguments: the others of the operator's schema (``csrc/ops/schema.cpp``), all of them, in order.

    Where operators of others are not taken (``torch.jit.trace``, ONNX) it is what reliable memory gives.

    Raises:
        RuntimeError: for what the operator refuses.
        TypeError: for a tensor that is spread over ranks.
    """
    result: Tensor
    if not torch.compiler.is_compiling():
        _check_whole(x)
        if x.is_neg():
            x = x.resolve_neg()
        if transformed():
            result = _Read.apply(x, *arguments)  # type: ignore[no-untyped-call]
            return result
        if plain():
            if x.requires_grad and torch.is_grad_enabled():
                result = _PlainRead.apply(x, *arguments)  # type: ignore[no-untyped-call]
                return result
            # The registered gradient is a Python function: it takes longer than the read of a small tensor.
            with below_autograd():
                result = torch.ops.eden.corrupt(x, *arguments)
            return result
    if not takes_own_operators():
        return _stored(x, *arguments)
    result = torch.ops.eden.corrupt(x, *arguments)
    return result


def check_reads(device: torch.device) -> None:
    """Wait for a CUDA device and raise RuntimeError for a read that it could not do; of others nothing is left open.

    A device's kernel finds rows of regions that cannot be followed only after the call of the operator. What it then
    returns is NaN, or integers whose bits are all ones.
    """
    if device.type == "cuda" and library.OPS_CUDA.exists():
        torch.ops.eden.check_reads(torch.empty(0, device=device))


def _stored(x: Tensor, *arguments: Any) -> Tensor:
    """``x`` as reliable memory gives it back, in torch's own operators."""
    given = dict(zip(POSITION, (x, *arguments), strict=True))
    storage = _NAMES[given["storage"]]
    scale, zero_point = given["scale"], given["zero_point"]
    shape = [-1 if dim == given["channel_dim"] else 1 for dim in range(x.dim())]
    if given["channel_dim"] >= 0:
        scale = None if scale is None else scale.reshape(shape)
        zero_point = None if zero_point is None else zero_point.reshape(shape)
    if storage == "sign":
        return torch.where(torch.signbit(x), -scale, scale).to(x.dtype)
    if storage not in CODE_BITS:
        values = x.to(getattr(torch, storage)) if hasattr(torch, storage) else _protected(x, *storage.split("_"))
        return values.to(x.dtype)
    lowest, highest = code_range(storage, zero_point is not None)
    point = 0 if zero_point is None else zero_point
    values = torch.where(x.isnan(), 0.0, x.float())
    codes = torch.round(values / torch.where(scale == 0, 1.0, scale)) + point
    decoded: Tensor = (codes.clamp(lowest, highest) - point) * scale
    return decoded.to(x.dtype)


def _protected(x: Tensor, format_: str, code: str) -> Tensor:
    """``x`` in a format with a code, as it is without errors: what protects it takes the lowest bits of its words."""
    values = x.to(getattr(torch, format_))
    if code == "secded":
        return values
    bits = 8 * values.element_size()
    words = values.view(torch.int32 if bits == 32 else torch.int16)
    if code == "cep":
        return (words & -(1 << bits // 4)).view(values.dtype)
    return ((words & -4) | (words >> bits - 2 & 1) * 3).view(values.dtype)


class _MeasuredRead(torch.autograd.Function):
    """Like _PlainRead, with the range of the values themselves, which the gradient measures again if it needs it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, storage: str, affine: bool, channel_dim: int, *memory: Tensor | None) -> Tensor:
        with below_autograd():
            result: Tensor
            result, flag = torch.ops.eden.corrupt_measured(x, *memory, STORAGES[storage], affine, channel_dim)
        clips = bool(flag)
        ctx.codes = (storage, affine, channel_dim) if clips else None
        if clips:
            ctx.save_for_backward(x)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.codes is not None:
            storage, affine, channel_dim = ctx.codes
            (x,) = ctx.saved_tensors
            scale, zero_point, _ = measure_range(x, storage, affine, False, channel_dim)
            gradient = clipped_gradient(gradient, x, scale, zero_point, storage, channel_dim)
        return gradient, *[None] * 7


def read_measured(
    x: Tensor,
    region: Tensor,
    table: Tensor | None,
    chip: Tensor,
    access: Tensor,
    storage: str,
    affine: bool,
    bounded: bool,
    channel_dim: int,
) -> Tensor:
    """``read`` with the scale, zero point and bounds that ``quantization.measure_range`` gives for ``x`` itself.

    Args:
        x: the tensor to read, of at least one element: float32, float16 or bfloat16.
        region: where it lies and how its cells fail, as the operator takes it (``csrc/ops/schema.cpp``).
        table: of the region's lines and maps, or None.
        chip: int64 scalar, the seed of the chip.
        access: int64 scalar, the number of this read.
        storage: name of a storage; not "sign".
        affine: whether its codes have a zero point.
        bounded: whether values are corrected.
        channel_dim: dimension whose channels have scales of their own, -1 for none.

    Raises:
        RuntimeError: for what the operator refuses.
        TypeError: for a tensor that is spread over ranks.
    """
    result: Tensor
    if not torch.compiler.is_compiling():
        _check_whole(x)
    learns = x.requires_grad and torch.is_grad_enabled()
    # With a gradient, a GPU would be waited for to see whether anything is clipped: there the codes are kept.
    if plain() and has_operators(x) and x.numel() > 0 and not x.is_neg() and not (learns and x.is_cuda):
        if learns:
            result = _MeasuredRead.apply(  # type: ignore[no-untyped-call]
                x, storage, affine, channel_dim, region, table, chip, access
            )
            return result
        with below_autograd():
            result, _ = torch.ops.eden.corrupt_measured(
                x, region, table, chip, access, STORAGES[storage], affine, channel_dim
            )
        return result
    codes = measure_range(x, storage, affine, bounded, channel_dim)
    return read(x, region, table, chip, access, *codes, STORAGES[storage], channel_dim, -1)


def advance_(access: Tensor) -> None:
    """Add 1 in place to an access number, int64 of any shape.

    An operator of EDEN's, because AOTInductor takes the sum of a one-element buffer and 1 for a constant.

    Raises:
        RuntimeError: for another dtype.
    """
    torch.ops.eden.advance_(access)


def empty_cache() -> None:
    """Return to the system what reads on the CPU have kept for the next ones.

    The results of ``corrupt`` and of layers under faults lie in memory that is used again once they are gone. The weak
    cells of an operand that is read again (same chip, region, table and size) are kept, too, where to find them would
    cost more. All of it takes at most the number of bytes in the environment variable ``EDEN_CACHE_BYTES``, read at the
    first call: 2**30 where it is not set, 0 to keep nothing. Weak cells take up to a thirty-second of them.

    Raises:
        RuntimeError: if ``EDEN_CACHE_BYTES`` is no whole number.
    """
    torch.ops.eden.empty_cache()


def cached_bytes() -> int:
    """Bytes that ``empty_cache`` would return to the system."""
    count: int = torch.ops.eden.cached_bytes()
    return count
