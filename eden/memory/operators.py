"""The operator: read a tensor from a faulty memory.

``torch.ops.eden.corrupt`` and its variants are C++ and CUDA; here are the functions for users who want no module.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eden.common.torch_internals import is_batched, overlaps_itself, same_storage
from eden.memory.arguments import check_dense, operator_arguments
from eden.memory.errors import ErrorModel
from eden.memory.reading import read
from eden.memory.region import Piece
from eden.memory.registration import NOT_IN_PLACE


def _check_written(name: str, tensor: Tensor) -> None:
    if torch.compiler.is_compiling():
        return
    if is_batched(tensor):
        raise RuntimeError(NOT_IN_PLACE)
    if overlaps_itself(tensor):
        raise ValueError(f"{name} has elements that share memory, as an expanded tensor has; allowed is {name}.clone()")


def _changed(tensor: Tensor) -> None:
    # So that a backward pass that saved the old values says so instead of using the new ones.
    if not torch.compiler.is_compiling() and not tensor.is_inference():
        torch.autograd.graph.increment_version(tensor)


def _is_negated(tensor: Tensor) -> bool:
    # A view such as the imaginary part of a conjugate: its memory holds the negative of its values.
    return not torch.compiler.is_compiling() and tensor.is_neg()


def _span(tensor: Tensor) -> tuple[int, int]:
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    first = int(tensor.storage_offset())
    return first, first + int(reach) + 1


def _share_memory(a: Tensor, b: Tensor) -> bool:
    (first, end), (other, other_end) = _span(a), _span(b)
    return same_storage(a, b) and first < other_end and other < end


def corrupt(
    x: Tensor,
    errors: ErrorModel | Sequence[Piece],
    seed: int | Tensor = 0,
    address: int = 0,
    access: int | Tensor = 0,
    out: Tensor | None = None,
    *,
    storage: str | None = None,
    scale: float | Tensor | None = None,
    zero_point: int | Tensor | None = None,
    channel_dim: int | None = None,
    bounds: Sequence[float] | Tensor | None = None,
    correction: str = "none",
    batch_dim: int | None = None,
) -> Tensor:
    """Read ``x`` from a faulty memory: the same tensor with its stored bits flipped as the error model says.

    Args:
        x: tensor of any shape, float32, float16, bfloat16, float8_e4m3fn, float8_e5m2, int8, uint8, int16 or int32, on
            the CPU or a CUDA device. Element i, in row-major order whatever the strides, occupies the bits from
            ``address + i * width`` on, the width being that of an element in its storage.
        errors: the error model; or a list of the pieces of memory that hold the tensor, in order, each a tuple of its
            error model (None: reliable), its first bit and its number of bits, both multiples of the element's width.
        seed: which chip; a chip's weak cells are the same for every call, and those at a lower rate are a subset of
            those at a higher one.
        address: first bit of the tensor in the memory, a multiple of the element's width; 0 where ``errors`` are
            pieces, which have their own.
        access: number of this read; only failures of weak cells with ``errors.failure < 1`` depend on it.
        out: where the result goes, of the shape, dtype and device of ``x``; may not lie in the memory of
            ``x`` (see ``corrupt_``).
        storage: name of the form in which memory keeps ``x``, a key of ``STORAGES``; None for its own bits.
            float32, float16 and bfloat16 can be kept in every storage but int32, other dtypes in their own alone.
        scale: of the storages of codes (``eden.memory.storage.CODE_BITS``) and "sign" of floating-point values, which
            need it: a number, or float32 of one element or of one for each channel. A value is kept as the code
            round(value / scale) + ``zero_point``, halves to even, clipped; "sign" keeps the sign bit and reads plus or
            minus the scale.
        zero_point: int, or int32 of as many elements as ``scale``; if None there is none, and codes are symmetric where
            the storage has a sign. What no code can be is clipped.
        channel_dim: dimension of ``x`` whose elements have scales of their own, None for one scale of all.
        bounds: (low, high) of plausible values, numbers or float32 of shape (2,), for a correction.
        correction: what becomes of a loaded value outside of ``bounds`` or NaN: "none", "zero" (0), or "clamp" (the
            nearer bound; 0 for NaN). A value of ``x`` beyond a bound is stored as the bound, so that only errors are
            corrected. With "zero", so are all words of a block in which SECDED detects errors that it cannot correct.
            Floating-point tensors only.
        batch_dim: dimension whose samples are all read from the cells of the first; None to give each its own.

    Returns:
        The tensor as read, with the strides of ``torch.empty_like(x)``. Its gradient goes straight through to ``x``,
        except where quantization clips (``eden.memory.gradient.clipped_gradient``) or ``x`` itself would be corrected
        (``eden.memory.gradient.plausible_gradient``).
        On the CPU its memory is used again for later results when it is gone (``empty_cache``), and cannot be resized.

    Raises:
        TypeError: for a dtype, layout, device or type of argument that is not allowed, or a storage that cannot hold
            the dtype.
        ImportError: for a tensor on a CUDA device, if this build of EDEN has no CUDA operators.
        ValueError: for an argument out of range, a memory that does not hold the tensor, or an ``out`` that does not
            fit.
        RuntimeError: under ``torch.vmap``, for an ``out``.

    Under ``torch.compile`` and ``torch.export`` the error model is a constant of the graph, so another object compiles
    again; it must be made outside of the compiled function. So is its table: 27 kB for a population of lines, 16 bytes
    for each measured line, 8 for each cell of a map. Seed and access given as tensors are inputs of the graph.
    """
    arguments = operator_arguments(
        x, errors, seed, address, access, storage, scale, zero_point, channel_dim, bounds, correction, batch_dim
    )
    if out is None:
        return read(x, *arguments)
    if not isinstance(out, Tensor):
        raise TypeError(f"out is a {type(out).__name__}; allowed is a tensor")
    check_dense("out", out)
    if out.shape != x.shape or out.dtype != x.dtype or out.device != x.device:
        raise ValueError(
            f"out has shape {tuple(out.shape)}, dtype {out.dtype} and device {out.device}; allowed are those of x: "
            f"{tuple(x.shape)}, {x.dtype} and {x.device}"
        )
    if torch.is_grad_enabled() and (x.requires_grad or out.requires_grad):
        raise ValueError("out was given, but x or out requires a gradient; allowed is out under torch.no_grad()")
    _check_written("out", out)
    if not torch.compiler.is_compiling() and x.numel() > 0 and _share_memory(x, out):
        raise ValueError("out shares its memory with x; use corrupt_ to work in place")
    if _is_negated(x) or _is_negated(out):
        out.copy_(read(x, *arguments))
    else:
        torch.ops.eden.corrupt_out(x, *arguments, out=out)
        _changed(out)
    return out


def corrupt_(
    x: Tensor,
    errors: ErrorModel | Sequence[Piece],
    seed: int | Tensor = 0,
    address: int = 0,
    access: int | Tensor = 0,
    *,
    storage: str | None = None,
    scale: float | Tensor | None = None,
    zero_point: int | Tensor | None = None,
    channel_dim: int | None = None,
    bounds: Sequence[float] | Tensor | None = None,
    correction: str = "none",
    batch_dim: int | None = None,
) -> Tensor:
    """Like ``corrupt``, in place; returns ``x``.

    Raises:
        TypeError, ValueError: as ``corrupt``; also for a tensor that requires a gradient outside ``torch.no_grad()``,
            or whose elements share memory.
        RuntimeError: under ``torch.vmap``.
    """
    arguments = operator_arguments(
        x, errors, seed, address, access, storage, scale, zero_point, channel_dim, bounds, correction, batch_dim
    )
    if torch.is_grad_enabled() and x.requires_grad:
        raise ValueError("x requires a gradient and cannot be changed in place; allowed under torch.no_grad()")
    _check_written("x", x)
    if _is_negated(x):
        x.copy_(read(x, *arguments))
    else:
        torch.ops.eden.corrupt_(x, *arguments)
        _changed(x)
    return x
