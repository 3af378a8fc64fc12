"""The operator: read a tensor from a faulty memory.

``torch.ops.eden.corrupt`` and its variants are C++ and CUDA; here are their fake and autograd registrations, which
``torch.compile`` and training need, and the functions for users who want no module.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

from eden import _core, _library
from eden.errors import Bitline, CellMap, DataDependent, ErrorModel, LineModel, Uniform, Wordline

_library.load()

STORAGES: dict[str, int] = {name: value.value for name, value in _core.Storage.__members__.items()}
"""Names of the storages and the numbers by which the operators know them."""

STORAGE_BITS: dict[str, int] = {name: _core.storage_bits(value) for name, value in _core.Storage.__members__.items()}
"""Bits that an element takes in each storage."""

CORRECTIONS: tuple[str, ...] = tuple(_core.Correction.__members__)

_NATIVE_STORAGE = {torch.float32: "float32", torch.int8: "int8"}


def region(errors: ErrorModel | None, address: int = 0, correction: str = "none") -> list[int]:
    """The fields of the int64 vector that tells the operators where an operand lies and how its cells fail.

    Args:
        errors: error model of the memory, None for a reliable one.
        address: first bit of the operand.
        correction: "none", "zero" or "clamp".

    Raises:
        ValueError: naming the argument that is out of range.
    """
    if correction not in CORRECTIONS:
        raise ValueError(f"correction is {correction!r}; allowed are {', '.join(CORRECTIONS)}")
    mode = _core.Correction.__members__[correction]
    if errors is None:
        return list(_core.make_region(0.0, 0.0, 1.0, address, mode))
    return list(_core.make_region(errors.ber_zero, errors.ber_one, errors.failure, address, mode))


Piece = tuple[ErrorModel | None, int, int]
"""A piece of memory that an operand lies in: its error model (None: reliable), the first bit, the number of bits."""

_MODELS = (Uniform, DataDependent, Bitline, Wordline, CellMap)


def regions(
    pieces: Sequence[Piece], bits: int, width: int, correction: str = "none"
) -> tuple[list[list[int]], NDArray[np.int64] | None]:
    """The int64 rows and table that tell the operators where an operand lies and how its cells fail.

    Args:
        pieces: the pieces of memory that hold the operand, in order; the last one may be longer than what is left.
        bits: size of the operand, in bits.
        width: bits of an element.
        correction: "none", "zero" or "clamp".

    Returns:
        One row of fields (csrc/core/region.h) for each piece, and the table of their lines and maps, one-dimensional
        int64, or None if no piece needs one. Pieces of equal models share their part of the table.

    Raises:
        TypeError: for a type of argument that is not allowed.
        ValueError: for one out of range: a misplaced address, pieces that do not hold the operand, a piece that does
            not lie in the cells that its model's geometry or map describes.
    """
    if correction not in CORRECTIONS:
        raise ValueError(f"correction is {correction!r}; allowed are {', '.join(CORRECTIONS)}")
    mode = _core.Correction.__members__[correction]
    _check_count("width", width, 1)
    if _check_count("bits", bits, 0) % width:
        raise ValueError(f"bits is {bits}; allowed is a multiple of the element's {width} bits")
    if not pieces:
        raise ValueError("pieces is empty; allowed is one piece or more")
    rows: list[list[int]] = []
    parts: list[NDArray[np.int64]] = []
    places: dict[LineModel | CellMap, tuple[int, int]] = {}
    used = end = 0
    for i, (errors, address, size) in enumerate(pieces):
        _check_piece(f"pieces[{i}]", errors, address, size, width)
        if errors not in places and isinstance(errors, (LineModel, CellMap)):
            part, length = _table_part(errors)
            parts.append(part)
            places[errors] = used, length
            used += part.size
        row = _row(errors, address, mode, places)
        end += size
        if i + 1 < len(pieces):
            row[_core.REGION_END] = end
        rows.append(row)
    if end < bits:
        raise ValueError(f"pieces hold {end} bits; allowed is what the operand takes, {bits}, or more")
    return rows, np.concatenate(parts) if parts else None


def _check_count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is an int")
    if value < least:
        raise ValueError(f"{name} is {value}; allowed is {least} or more")
    return value


def _check_piece(name: str, errors: Any, address: Any, size: Any, width: int) -> None:
    if errors is not None and not isinstance(errors, _MODELS):
        raise TypeError(f"errors of {name} is a {type(errors).__name__}; allowed is one of eden's error models or None")
    for which, value in (("address", address), ("bits", size)):
        if _check_count(f"{which} of {name}", value, 0) % width:
            raise ValueError(f"{which} of {name} is {value}; allowed is a multiple of the element's {width} bits")
    end, what = 2**63, "addresses end"
    if isinstance(errors, LineModel):
        end, what = errors.geometry.end, "the geometry of its model ends"
    elif isinstance(errors, CellMap):
        end, what = errors.bits, "its map ends"
    if address + size > end:
        raise ValueError(
            f"address of {name} is {address}, of {size} bits; allowed is a piece that ends at {end} or before, where "
            f"{what}"
        )


def _table_part(errors: LineModel | CellMap) -> tuple[NDArray[np.int64], int]:
    """What the table holds for a model, and the number of its entries."""
    if isinstance(errors, CellMap):
        return errors.entries(), errors.cells.size
    probabilities = errors.line_probabilities()
    return _core.make_line_table(probabilities), probabilities.size


def _row(
    errors: ErrorModel | None,
    address: int,
    mode: _core.Correction,
    places: dict[LineModel | CellMap, tuple[int, int]],
) -> list[int]:
    if errors is None:
        return list(_core.make_region(0.0, 0.0, 1.0, address, mode))
    if isinstance(errors, CellMap):
        return list(_core.make_map_region(errors.failure, address, mode, *places[errors]))
    if isinstance(errors, LineModel):
        kind = _core.ModelKind.__members__[errors.KIND]
        form = _core.TableKind.population if errors.rates is None else _core.TableKind.measured
        geometry = errors.geometry
        return list(
            _core.make_lines_region(
                kind, form, errors.failure, address, mode, *places[errors], geometry.row_bits, geometry.subarray_rows
            )
        )
    return list(_core.make_region(errors.ber_zero, errors.ber_one, errors.failure, address, mode))


def _fake_corrupt(
    x: Tensor,
    region: Tensor,
    chip: Tensor,
    access: Tensor,
    scale: Tensor | None,
    bounds: Tensor | None,
    storage: int,
    batch_dim: int,
) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


_POSITION = {argument.name: i for i, argument in enumerate(torch.ops.eden.corrupt.default._schema.arguments)}


def _fake_corrupt(x: Tensor, *arguments: Any) -> Tensor:
    return torch.empty_like(x)


def _fake_mutation(*arguments: Any, **keywords: Any) -> None:
    return None


torch.library.register_fake("eden::corrupt", _fake_corrupt)
torch.library.register_fake("eden::corrupt_", _fake_mutation)
torch.library.register_fake("eden::corrupt_out", _fake_mutation)
torch.library.register_fake("eden::advance_", _fake_mutation)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale = inputs[_POSITION["x"]], inputs[_POSITION["scale"]]
    ctx.quantized = scale is not None
    if ctx.quantized:
        ctx.save_for_backward(x, scale)
        ctx.save_for_forward(x, scale)


def _through(ctx: Any, gradient: Tensor) -> Tensor:
    # Straight through the flips and corrections; clipped where quantization clips (Hubara et al., JMLR 2018).
    if not ctx.quantized:
        return gradient
    x, scale = ctx.saved_tensors
    clipped = x.abs() <= (_core.INT8_LARGEST_CODE + 0.5) * scale
    return torch.where(clipped, gradient, torch.zeros_like(gradient))


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return _through(ctx, gradient), *[None] * (len(_POSITION) - 1)


torch.library.register_autograd("eden::corrupt", _backward, setup_context=_setup_context)


def _batching_rule(
    call: Callable[..., Tensor], in_dims: Sequence[int | None], arguments: Sequence[Any]
) -> tuple[Tensor, int]:
    """One read for the examples of ``torch.vmap``, each of which is to read the cells that it would read alone."""
    for name, position in _POSITION.items():
        if name != "x" and in_dims[position] is not None:
            raise RuntimeError(
                f"eden::corrupt under torch.vmap: {name} is batched; allowed is a batched x, with the same {name} for "
                "all examples"
            )
    x, *rest = arguments
    mapped = in_dims[_POSITION["x"]]
    assert mapped is not None
    at = _POSITION["batch_dim"] - 1
    batch_dim = rest[at]
    # Either way the numbers of the example's own dimensions stay right, should another argument name one.
    if batch_dim < 0 or x.dim() == 1:
        rest[at] = x.dim() - 1
        return call(x.movedim(mapped, -1), *rest), x.dim() - 1
    x = x.movedim(mapped, batch_dim)
    examples, samples = x.shape[batch_dim : batch_dim + 2]
    y = call(x.flatten(batch_dim, batch_dim + 1), *rest)
    return y.reshape(*y.shape[:batch_dim], examples, samples, *y.shape[batch_dim + 1 :]), batch_dim


def _register_vmap(library: torch.library.Library) -> None:
    operator = torch.ops.eden.corrupt.default
    torch.library.register_vmap(
        "eden::corrupt",
        lambda info, in_dims, *arguments: _batching_rule(operator, in_dims, arguments),
        lib=library,
    )

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise RuntimeError(_NOT_IN_PLACE)

    for name in ("corrupt_", "corrupt_out"):
        library.impl(name, refuse, "FuncTorchBatched")  # type: ignore[no-untyped-call]


_NOT_IN_PLACE = "eden::corrupt_ and out= cannot be used under torch.vmap; allowed is eden.corrupt without out"
# Its registrations last as long as it does.
_REGISTRATIONS = torch.library.Library("eden", "IMPL")  # type: ignore[no-untyped-call]
_register_vmap(_REGISTRATIONS)


class _Read(torch.autograd.Function):
    """The operator for torch.func's transforms and forward-mode gradients, which its registered one cannot serve."""

    setup_context = staticmethod(_setup_context)
    backward = staticmethod(_backward)

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        result: Tensor = torch.ops.eden.corrupt(*arguments)
        return result

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *others: Any) -> Tensor:
        through = _through(ctx, tangent)
        return through if ctx.quantized else through.view_as(through)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        return _batching_rule(_Read.apply, in_dims, arguments)


def _plain() -> bool:
    """Whether nothing stands between a call and the operator: no transform, no mode that sees or replaces tensors."""
    return not torch._C._are_functorch_transforms_active() and torch._C._len_torch_dispatch_stack() == 0


def read(x: Tensor, *arguments: Any) -> Tensor:
    """``torch.ops.eden.corrupt``, also under ``torch.func``'s transforms and forward-mode gradients.

    Args:
        x: the tensor to read.
        arguments: the others of the operator's schema (``csrc/ops/corrupt.cpp``), all of them, in order.

    Raises:
        RuntimeError: for what the operator refuses, such as another batched argument than ``x`` under ``torch.vmap``.
    """
    result: Tensor
    if not torch.compiler.is_compiling():
        if x.is_neg():
            x = x.resolve_neg()
        if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
            result = _Read.apply(x, *arguments)  # type: ignore[no-untyped-call]
            return result
        if not (x.requires_grad and torch.is_grad_enabled()) and _plain():
            # The registered gradient is a Python function: it takes longer than the read of a small tensor.
            with torch._C._AutoDispatchBelowAutograd():
                result = torch.ops.eden.corrupt(x, *arguments)
            return result
    result = torch.ops.eden.corrupt(x, *arguments)
    return result


def advance_(access: Tensor) -> None:
    """Add 1 in place to an access number, int64 of any shape.

    An operator of EDEN's, because AOTInductor takes the sum of a one-element buffer and 1 for a constant.

    Raises:
        RuntimeError: for another dtype.
    """
    torch.ops.eden.advance_(access)


def empty_cache() -> None:
    """Return to the system the idle memory that reads on the CPU have kept for their next results.

    The results of ``corrupt`` and of layers under faults lie in memory that is used again once they are gone. What lies
    idle is at most the number of bytes in the environment variable ``EDEN_CACHE_BYTES``, read at the first call: 2**30
    where it is not set, 0 to keep none.

    Raises:
        RuntimeError: if ``EDEN_CACHE_BYTES`` is no whole number.
    """
    torch.ops.eden.empty_cache()


def cached_bytes() -> int:
    """Bytes of the idle memory that ``empty_cache`` would return to the system."""
    count: int = torch.ops.eden.cached_bytes()
    return count


def _scalar(name: str, value: int | Tensor, device: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        if value.dtype != torch.int64 or value.numel() != 1:
            raise TypeError(
                f"{name} is a {value.dtype} tensor of {value.numel()} elements; allowed is one int64 or an int"
            )
        return value.to(device)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is an int or an int64 tensor")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} is {value}; allowed is a 64-bit integer")
    if not torch.compiler.is_compiling() and _plain():
        return _kept_scalar(value, device)
    return torch.tensor(value, dtype=torch.int64, device=device)


# Making a small tensor takes longer than reading one. These are never given out, so nobody can change them; made
# outside of inference mode, they serve in and out of it.
@functools.lru_cache(maxsize=64)
def _kept_scalar(value: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(value, dtype=torch.int64, device=device)


@functools.lru_cache(maxsize=256)
def _kept_region(errors: ErrorModel, address: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(region(errors, address), dtype=torch.int64, device=device)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _constant_region(errors: ErrorModel, address: int) -> tuple[int, ...]:
    # torch.compile calls it while tracing, and compiles again for another error model.
    return tuple(region(errors, address))


def _region(errors: ErrorModel, address: int, device: torch.device) -> Tensor:
    if torch.compiler.is_compiling():
        return torch.tensor(_constant_region(errors, address), dtype=torch.int64, device=device)
    if _plain():
        return _kept_region(errors, address, device)
    return torch.tensor(region(errors, address), dtype=torch.int64, device=device)


def _arguments(
    x: Tensor, errors: ErrorModel, seed: int | Tensor, address: int, access: int | Tensor
) -> tuple[Tensor, Tensor, Tensor, None, None, int, int]:
    if not isinstance(x, Tensor):
        raise TypeError(f"x is a {type(x).__name__}; allowed is a tensor")
    if x.layout != torch.strided:
        raise TypeError(f"x has the layout {x.layout}; allowed is torch.strided")
    storage = _NATIVE_STORAGE.get(x.dtype)
    if storage is None:
        allowed = ", ".join(str(dtype) for dtype in _NATIVE_STORAGE)
        raise TypeError(f"x has the dtype {x.dtype}; allowed are {allowed}")
    if x.device.type not in ("cpu", "cuda", "meta"):
        raise TypeError(f"x is on {x.device}; allowed are cpu and cuda")
    if not isinstance(errors, ErrorModel):
        raise TypeError(
            f"errors is a {type(errors).__name__}; allowed is an error model such as eden.Uniform(ber=1e-3)"
        )
    if isinstance(address, bool) or not isinstance(address, int):
        raise TypeError(f"address is a {type(address).__name__}; allowed is an int, in bits")
    width = STORAGE_BITS[storage]
    if address < 0 or address % width or address + x.numel() * width > 2**63:
        raise ValueError(
            f"address is {address}; allowed is a multiple of the element's {width} bits, from 0 up to where "
            "the operand ends below 2**63"
        )
    if isinstance(access, int) and access < 0:
        raise ValueError(f"access is {access}; allowed is 0 or more")
    return (
        _region(errors, address, x.device),
        _scalar("seed", seed, x.device),
        _scalar("access", access, x.device),
        None,
        None,
        STORAGES[storage],
        -1,
    )


def _check_written(name: str, tensor: Tensor) -> None:
    if torch.compiler.is_compiling():
        return
    if torch._C._functorch.is_batchedtensor(tensor):
        raise RuntimeError(_NOT_IN_PLACE)
    if torch._debug_has_internal_overlap(tensor) == 1:
        raise ValueError(f"{name} has elements that share memory, as an expanded tensor has; allowed is {name}.clone()")


def _changed(tensor: Tensor) -> None:
    # So that a backward pass that saved the old values says so instead of using the new ones.
    if not torch.compiler.is_compiling() and not tensor.is_inference():
        torch.autograd.graph.increment_version(tensor)


def _is_negated(tensor: Tensor) -> bool:
    # A view such as the imaginary part of a conjugate: its memory holds the negative of its values.
    return not torch.compiler.is_compiling() and tensor.is_neg()


def _share_memory(a: Tensor, b: Tensor) -> bool:
    return not a.is_meta and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def corrupt(
    x: Tensor,
    errors: ErrorModel,
    seed: int | Tensor = 0,
    address: int = 0,
    access: int | Tensor = 0,
    out: Tensor | None = None,
) -> Tensor:
    """Read ``x`` from a faulty memory: the same tensor with its stored bits flipped as the error model says.

    Args:
        x: tensor of any shape, float32 or int8, on the CPU or a CUDA device. Element i, in row-major order whatever the
            strides, occupies the bits from ``address + i * width`` on.
        errors: the error model.
        seed: which chip; a chip's weak cells are the same for every call, and those at a lower rate are a subset of
            those at a higher one.
        address: first bit of the tensor in the memory, a multiple of the element's width.
        access: number of this read; only failures of weak cells with ``errors.failure < 1`` depend on it.
        out: where the result goes, of the shape, dtype and device of ``x``; may not be ``x`` (see ``corrupt_``).

    Returns:
        The tensor as read, with the strides of ``torch.empty_like(x)``. Its gradient goes straight through to ``x``.
        On the CPU its memory is used again for later results when it is gone (``empty_cache``), and cannot be resized.

    Raises:
        TypeError: for a dtype, layout, device or type of argument that is not allowed.
        ValueError: for an argument out of range or an ``out`` that does not fit.
        RuntimeError: under ``torch.vmap``, for an ``out`` or a batched seed or access.

    Under ``torch.compile`` and ``torch.export`` the error model is a constant of the graph, so another object compiles
    again; it must be made outside of the compiled function. Seed and access given as tensors are inputs of the graph.
    """
    arguments = _arguments(x, errors, seed, address, access)
    if out is None:
        return read(x, *arguments)
    if not isinstance(out, Tensor):
        raise TypeError(f"out is a {type(out).__name__}; allowed is a tensor")
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
    errors: ErrorModel,
    seed: int | Tensor = 0,
    address: int = 0,
    access: int | Tensor = 0,
) -> Tensor:
    """Like ``corrupt``, in place; returns ``x``.

    Raises:
        TypeError, ValueError: as ``corrupt``; also for a tensor that requires a gradient outside ``torch.no_grad()``,
            or whose elements share memory.
        RuntimeError: under ``torch.vmap``.
    """
    arguments = _arguments(x, errors, seed, address, access)
    if torch.is_grad_enabled() and x.requires_grad:
        raise ValueError("x requires a gradient and cannot be changed in place; allowed under torch.no_grad()")
    _check_written("x", x)
    if _is_negated(x):
        x.copy_(read(x, *arguments))
    else:
        torch.ops.eden.corrupt_(x, *arguments)
        _changed(x)
    return x
