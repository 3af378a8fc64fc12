"""The operator: read a tensor from a faulty memory.

``torch.ops.eden.corrupt`` and its variants are C++ and CUDA; here are their fake and autograd registrations, which
``torch.compile`` and training need, and the functions for users who want no module.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

from eden import _core
from eden.common.arguments import check_int
from eden.memory import library as _library
from eden.memory.errors import Bitline, CellMap, DataDependent, ErrorModel, LineModel, Uniform, Wordline
from eden.memory.storage import CODE_BITS, SYMMETRIC, clipped_gradient, code_range, measure_range, plausible_gradient

_library.load()

STORAGES: dict[str, int] = {name: value.value for name, value in _core.Storage.__members__.items()}
"""Names of the storages and the numbers by which the operators know them."""

STORAGE_BITS: dict[str, int] = {name: _core.storage_bits(value) for name, value in _core.Storage.__members__.items()}
"""Bits that an element takes in each storage."""

CORRECTIONS: tuple[str, ...] = tuple(_core.Correction.__members__)

_NATIVE_STORAGE = {
    getattr(torch, name): name for name in STORAGES if hasattr(torch, name) and name not in ("int4", "sign")
}

_CONVERTED = (torch.float32, torch.float16, torch.bfloat16)

# Storages whose words are made with a scale, by their numbers.
_SCALED = {STORAGES[name]: name for name in (*CODE_BITS, "sign")}


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


REGION_ADDRESS: int = next(
    field for field, (here, there) in enumerate(zip(region(None, 0), region(None, 1), strict=True)) if here != there
)
"""The field of a region's row that holds the operand's address."""

Piece = tuple[ErrorModel | None, int, int]
"""A piece of memory that an operand lies in: its error model (None: reliable), the first bit, the number of bits."""

Memory = ErrorModel | tuple[Piece, ...] | None
"""What an operand lies in: one memory of an error model (None: reliable), or several pieces."""

_MODELS = (Uniform, DataDependent, Bitline, Wordline, CellMap)
_ADDRESSES = 2**63
_LARGEST = torch.finfo(torch.float32).max


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
        One row of fields (csrc/memory/region.h) for each piece, and the table of their lines and maps, one-dimensional
        int64, or None if no piece needs one. Pieces of equal models share their part of the table.

    Raises:
        TypeError: for a type of argument that is not allowed.
        ValueError: for one out of range: a misplaced address, pieces that do not hold the operand, a piece that does
            not lie in the cells that its model's geometry or map describes.
    """
    if correction not in CORRECTIONS:
        raise ValueError(f"correction is {correction!r}; allowed are {', '.join(CORRECTIONS)}")
    mode = _core.Correction.__members__[correction]
    check_int("width", width, 1)
    if check_int("bits", bits, 0) % width:
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


def _check_piece(name: str, errors: Any, address: Any, size: Any, width: int) -> None:
    if errors is not None and not isinstance(errors, _MODELS):
        raise TypeError(f"errors of {name} is a {type(errors).__name__}; allowed is one of eden's error models or None")
    for which, value in (("address", address), ("bits", size)):
        if check_int(f"{which} of {name}", value, 0) % width:
            raise ValueError(f"{which} of {name} is {value}; allowed is a multiple of the element's {width} bits")
    end, what = _last(errors)
    if address + size > end:
        raise ValueError(
            f"address of {name} is {address}, of {size} bits; allowed is a piece that ends at {end} or before, where "
            f"{what}"
        )


def _last(errors: ErrorModel | None) -> tuple[int, str]:
    """The first bit that a model does not describe, and what ends there."""
    if isinstance(errors, LineModel):
        return errors.geometry.end, "the geometry of its model ends"
    if isinstance(errors, CellMap):
        return errors.bits, "its map ends"
    return _ADDRESSES, "addresses end"


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


_POSITION = {argument.name: i for i, argument in enumerate(torch.ops.eden.corrupt.default._schema.arguments)}


def _check_devices(x: Tensor, *arguments: Any, out: Tensor | None = None) -> None:
    # A meta tensor among real ones leads here, too, where no kernel looks at the others.
    for name, value in (*zip(_POSITION, (x, *arguments), strict=False), ("out", out)):
        if isinstance(value, Tensor) and value.device != x.device:
            raise ValueError(f"{name} is on {value.device}; allowed is the device of x, {x.device}")


def _fake_corrupt(x: Tensor, *arguments: Any) -> Tensor:
    _check_devices(x, *arguments)
    return torch.empty_like(x)


def _fake_mutation(x: Tensor, *arguments: Any, out: Tensor | None = None) -> None:
    _check_devices(x, *arguments, out=out)


def _fake_count(x: Tensor, region: Tensor, *others: Any) -> Tensor:
    _check_devices(x, region, *others)
    bits = _BITS_OF_NUMBER[others[_POSITION["storage"] - 2]]
    return region.new_empty((bits, 2, 2))


_BITS_OF_NUMBER = {STORAGES[name]: bits for name, bits in STORAGE_BITS.items()}
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


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor | None) -> None:
    x = inputs[_POSITION["x"]]
    # Integer tensors are codes already, and no gradient goes through them.
    ctx.storage = _SCALED.get(inputs[_POSITION["storage"]]) if x.is_floating_point() else None
    ctx.channel_dim = inputs[_POSITION["channel_dim"]]
    bounds = inputs[_POSITION["bounds"]]
    ctx.bounded = ctx.storage is None and bounds is not None and x.is_floating_point()
    saved: tuple[Tensor | None, ...]
    if ctx.storage is not None:
        saved = (x, inputs[_POSITION["scale"]], inputs[_POSITION["zero_point"]])
    elif ctx.bounded:
        # Both can be changed in place before the backward pass: a network leaves eden.clean, or a curriculum steps.
        correction = inputs[_POSITION["region"]].reshape(-1)[_core.REGION_CORRECTION]
        saved = (x, bounds.masked_fill(correction == _core.Correction.none.value, math.nan))
    else:
        return
    ctx.save_for_backward(*saved)
    ctx.save_for_forward(*saved)


def _through(ctx: Any, gradient: Tensor) -> Tensor:
    if ctx.bounded:
        return plausible_gradient(gradient, *ctx.saved_tensors)
    if ctx.storage is None:
        return gradient
    x, scale, zero_point = ctx.saved_tensors
    return clipped_gradient(gradient, x, scale, zero_point, ctx.storage, ctx.channel_dim)


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
        return through.view_as(through) if through is tangent else through

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        return _batching_rule(_Read.apply, in_dims, arguments)


class _PlainRead(torch.autograd.Function):
    """The operator in eager mode: the registered gradient is made from Python too, but costs several times as much."""

    backward = staticmethod(_backward)

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        _setup_context(ctx, arguments, None)
        with torch._C._AutoDispatchBelowAutograd():
            result: Tensor = torch.ops.eden.corrupt(*arguments)
        return result


def read(x: Tensor, *arguments: Any) -> Tensor:
    """``torch.ops.eden.corrupt``, also under ``torch.func``'s transforms and forward-mode gradients.

    Args:
        x: the tensor to read.
        arguments: the others of the operator's schema (``csrc/ops/schema.cpp``), all of them, in order.

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
        if _library.plain():
            if x.requires_grad and torch.is_grad_enabled():
                result = _PlainRead.apply(x, *arguments)  # type: ignore[no-untyped-call]
                return result
            # The registered gradient is a Python function: it takes longer than the read of a small tensor.
            with torch._C._AutoDispatchBelowAutograd():
                result = torch.ops.eden.corrupt(x, *arguments)
            return result
    result = torch.ops.eden.corrupt(x, *arguments)
    return result


class _MeasuredRead(torch.autograd.Function):
    """Like _PlainRead, with the range of the values themselves, which the gradient measures again if it needs it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, storage: str, affine: bool, channel_dim: int, *memory: Tensor | None) -> Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            result: Tensor
            result, clips = torch.ops.eden.corrupt_measured(x, *memory, STORAGES[storage], affine, channel_dim)
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
    """
    result: Tensor
    if _library.plain() and x.is_cpu and x.numel() > 0 and not x.is_neg():
        if x.requires_grad and torch.is_grad_enabled():
            result = _MeasuredRead.apply(  # type: ignore[no-untyped-call]
                x, storage, affine, channel_dim, region, table, chip, access
            )
            return result
        with torch._C._AutoDispatchBelowAutograd():
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


def _check_dense(name: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} has the layout {tensor.layout}; allowed is torch.strided")
    if tensor.is_nested:
        raise TypeError(f"{name} is a nested tensor; allowed is one of a single shape")


def _scalar(name: str, value: int | Tensor, device: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        _check_dense(name, value)
        if value.is_meta and device.type != "meta":
            raise ValueError(f"{name} is on meta; allowed is the device of x, {device}, or another that has values")
        if value.dtype != torch.int64 or value.numel() != 1:
            raise TypeError(
                f"{name} is a {value.dtype} tensor of {value.numel()} elements; allowed is one int64 or an int"
            )
        return value.to(device)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is an int or an int64 tensor")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} is {value}; allowed is a 64-bit integer")
    if _library.plain():
        return _kept_scalar(value, device)
    return torch.tensor(value, dtype=torch.int64, device=device)


# Making a small tensor takes longer than reading one. These are never given out, so nobody can change them; made
# outside of inference mode, they serve in and out of it.
@functools.lru_cache(maxsize=64)
def _kept_scalar(value: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(value, dtype=torch.int64, device=device)


class _Identity:
    """A key for a model of many numbers: comparing them would take longer than a read."""

    __slots__ = ("errors",)

    def __init__(self, errors: ErrorModel) -> None:
        self.errors = errors

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.errors is self.errors

    def __hash__(self) -> int:
        return id(self.errors)


def _key(errors: Memory) -> Any:
    if isinstance(errors, CellMap) or (isinstance(errors, LineModel) and errors.rates is not None):
        return _Identity(errors)
    if errors is None or isinstance(errors, ErrorModel):
        return errors
    return tuple((_key(model), address, bits) for model, address, bits in errors)


def _model_of(key: Any) -> ErrorModel | None:
    return key.errors if isinstance(key, _Identity) else key


def _unkeyed(key: Any) -> Memory:
    if isinstance(key, tuple):
        return tuple((_model_of(model), address, bits) for model, address, bits in key)
    return _model_of(key)


def _located(
    errors: Memory, address: int, width: int, correction: str
) -> tuple[list[list[int]], NDArray[np.int64] | None]:
    """Rows and table of a memory; whether it holds an operand says ``_capacity``."""
    if errors is None or isinstance(errors, ErrorModel):
        return regions(((errors, address, 0),), 0, width, correction)
    return regions(tuple(errors), 0, width, correction)


def _capacity(errors: Memory, address: int) -> int:
    """Bits of an operand that a memory holds from an address on."""
    if errors is None or isinstance(errors, ErrorModel):
        return _last(errors)[0] - address
    return sum(bits for _, _, bits in errors)


def held_bits(errors: Memory, address: int) -> int | None:
    """Bits of an operand that a memory holds from an address on, None where nothing but addresses ends.

    Args:
        errors: error model of the memory, None for a reliable one; or the pieces of memory, which have their own
            addresses.
        address: first bit of the operand.
    """
    one = errors is None or isinstance(errors, ErrorModel)
    return None if one and address + _capacity(errors, address) == _ADDRESSES else _capacity(errors, address)


@functools.lru_cache(maxsize=16)
def _kept_table(key: tuple[Any, ...], device: torch.device) -> Tensor:
    models: list[Any] = [_model_of(model) for model in key]
    parts = [_table_part(model)[0] for model in models]
    with torch.inference_mode(False):
        return torch.from_numpy(np.concatenate(parts)).to(device)


@functools.lru_cache(maxsize=256)
def _kept_memory(
    key: Any, address: int, width: int, correction: str, device: torch.device
) -> tuple[Tensor, Tensor | None, int]:
    errors = _unkeyed(key)
    rows, table = _located(errors, address, width, correction)
    with torch.inference_mode(False):
        region = torch.tensor(rows, dtype=torch.int64, device=device)
    return region, None if table is None else _kept_table(_tabled(errors), device), _capacity(errors, address)


def _tabled(errors: Memory) -> tuple[Any, ...]:
    """Keys of the models that have a part in a table, in the order of their parts."""
    models = [errors] if errors is None or isinstance(errors, ErrorModel) else [model for model, _, _ in errors]
    return tuple(_key(model) for model in dict.fromkeys(models) if isinstance(model, (LineModel, CellMap)))


def _joined(parts: tuple[Any, ...]) -> tuple[Memory, int]:
    """A memory and an address, of which ``parts`` are those of a model alone or of one piece after another."""
    if len(parts) == 2:
        return parts[0], parts[1]
    return tuple((parts[i], parts[i + 1], parts[i + 2]) for i in range(0, len(parts), 3)), 0


# torch.compile calls these while tracing, and compiles again for another error model. A model among the arguments can
# be a constant, a tuple that holds one cannot.
@_library.assume_constant
def _constant_region(width: int, correction: str, *parts: Any) -> tuple[int, ...]:
    return tuple(field for row in _located(*_joined(parts), width, correction)[0] for field in row)


@_library.assume_constant
def _constant_has_table(*parts: Any) -> bool:
    return len(_tabled(_joined(parts)[0])) > 0


@_library.assume_constant
def _constant_table(*parts: Any) -> Tensor:
    # A constant of the graph: 27 kB for a population of lines, 8 bytes for each cell of a map.
    return _kept_table(_tabled(_joined(parts)[0]), torch.device("cpu"))


@_library.assume_constant
def _constant_capacity(*parts: Any) -> int:
    return _capacity(*_joined(parts))


def _memory(
    errors: Memory, address: int, width: int, correction: str, device: torch.device
) -> tuple[Tensor, Tensor | None, int]:
    """Rows and table of a memory as tensors, and the bits of an operand that it holds."""
    if torch.compiler.is_compiling():
        parts: list[Any] = []
        if isinstance(errors, tuple):
            for piece in errors:
                parts.extend(piece)
        else:
            parts.extend((errors, address))
        fields = torch.tensor(_constant_region(width, correction, *parts), dtype=torch.int64, device=device)
        table = _constant_table(*parts).to(device) if _constant_has_table(*parts) else None
        return fields.view(-1, _core.REGION_FIELDS), table, _constant_capacity(*parts)
    if isinstance(errors, tuple):
        for i, (model, first, bits) in enumerate(errors):
            _check_piece(f"pieces[{i}]", model, first, bits, width)
    if _library.plain():
        return _kept_memory(_key(errors), address, width, correction, device)
    rows, entries = _located(errors, address, width, correction)
    table = None if entries is None else torch.tensor(entries, dtype=torch.int64, device=device)
    return torch.tensor(rows, dtype=torch.int64, device=device), table, _capacity(errors, address)


def _storage(x: Tensor, name: str | None) -> str:
    own = _NATIVE_STORAGE.get(x.dtype)
    if own is None:
        allowed = ", ".join(str(dtype) for dtype in _NATIVE_STORAGE)
        raise TypeError(f"x has the dtype {x.dtype}; allowed are {allowed}")
    if name is None:
        return own
    if not isinstance(name, str):
        raise TypeError(f"storage is a {type(name).__name__}; allowed is a name or None")
    if name not in STORAGES:
        raise ValueError(f"storage is {name!r}; allowed are {', '.join(STORAGES)}")
    if name != own and (x.dtype not in _CONVERTED or name == "int32"):
        allowed = ", ".join(name for name in STORAGES if name != "int32") if x.dtype in _CONVERTED else own
        raise TypeError(f"storage is {name!r}, which cannot hold {x.dtype}; allowed for x are {allowed}")
    return name


def _dimension(name: str, x: Tensor, dim: int | None) -> int:
    if dim is None:
        return -1
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise TypeError(f"{name} is a {type(dim).__name__}; allowed is an int or None")
    if not -x.dim() <= dim < x.dim():
        raise ValueError(f"{name} is {dim}; allowed is a dimension of x, which has {x.dim()}, or None")
    return dim % x.dim()


def _numbers(name: str, value: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number or the numbers of channels, as the one-dimensional tensor that the operators take."""
    if isinstance(value, Tensor):
        _check_dense(name, value)
        if value.dtype != dtype or value.dim() > 1 or value.numel() == 0:
            raise TypeError(
                f"{name} is a {value.dtype} tensor of the shape {tuple(value.shape)}; allowed is {dtype}, of one "
                "element or one for each channel, or a number"
            )
        if value.device != device:
            raise ValueError(f"{name} is on {value.device}; allowed is the device of x, {device}")
        return value.detach().contiguous()
    allowed: tuple[type, ...] = (int, float) if dtype == torch.float32 else (int,)
    if isinstance(value, bool) or not isinstance(value, allowed):
        what = "a number" if dtype == torch.float32 else "an int"
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is {what} or a {dtype} tensor")
    return torch.tensor(value, dtype=dtype, device=device)


def _quantization(
    x: Tensor, storage: str, scale: Any, zero_point: Any, channel_dim: int
) -> tuple[Tensor | None, Tensor | None]:
    scaled = STORAGES[storage] in _SCALED and x.is_floating_point()
    if not scaled:
        for name, value in (("scale", scale), ("zero_point", zero_point)):
            if value is not None:
                raise ValueError(
                    f"{name} is given, but {storage} storage of {x.dtype} quantizes nothing; allowed is None"
                )
        if channel_dim >= 0:
            raise ValueError(f"channel_dim is given, but {storage} storage of {x.dtype} has no scales; allowed is None")
        return None, None
    if scale is None:
        also = ", and zero_point is given" if zero_point is not None else ""
        raise ValueError(f"scale is None{also}; allowed for {storage} storage of {x.dtype} is a number or a tensor")
    if isinstance(scale, (int, float)) and not isinstance(scale, bool) and not 0.0 <= scale <= _LARGEST:
        raise ValueError(f"scale is {scale}; allowed is 0 to {_LARGEST}, the largest float32")
    scales = _numbers("scale", scale, torch.float32, x.device)
    points = None
    if zero_point is not None:
        if storage == "sign" or storage in SYMMETRIC:
            raise ValueError(f"zero_point is given; allowed for {storage} storage is None")
        if isinstance(zero_point, int) and not isinstance(zero_point, bool):
            lowest, highest = code_range(storage, affine=True)
            if not lowest <= zero_point <= highest:
                raise ValueError(f"zero_point is {zero_point}; allowed for {storage} storage is {lowest} to {highest}")
        points = _numbers("zero_point", zero_point, torch.int32, x.device)
        if points.numel() != scales.numel():
            raise ValueError(
                f"zero_point has {points.numel()} elements and scale {scales.numel()}; allowed are equal numbers"
            )
    if scales.numel() > 1:
        if channel_dim < 0:
            raise ValueError(f"scale has {scales.numel()} elements; allowed without channel_dim is one")
        if scales.numel() != x.shape[channel_dim]:
            raise ValueError(
                f"scale has {scales.numel()} elements; allowed is one, or {x.shape[channel_dim]}, as many as x has "
                f"channels in dimension {channel_dim}"
            )
    return scales, points


def _range(x: Tensor, bounds: Any, correction: str) -> Tensor | None:
    if correction not in CORRECTIONS:
        raise ValueError(f"correction is {correction!r}; allowed are {', '.join(CORRECTIONS)}")
    if correction == "none":
        if bounds is not None:
            raise ValueError("bounds is given, but correction is 'none'; allowed with bounds are zero, clamp")
        return None
    if not x.is_floating_point():
        raise ValueError(f"correction is {correction!r}; allowed for codes, as {x.dtype} holds, is none")
    if bounds is None:
        raise ValueError(f"bounds is None; allowed with correction {correction!r} is (low, high)")
    if isinstance(bounds, Tensor):
        _check_dense("bounds", bounds)
        if bounds.dtype != torch.float32 or bounds.shape != (2,):
            raise TypeError(
                f"bounds is a {bounds.dtype} tensor of the shape {tuple(bounds.shape)}; allowed is float32 of shape "
                "(2,), or two numbers"
            )
        if bounds.device != x.device:
            raise ValueError(f"bounds is on {bounds.device}; allowed is the device of x, {x.device}")
        return bounds.detach().contiguous()
    if not isinstance(bounds, Sequence) or isinstance(bounds, str) or len(bounds) != 2:
        raise TypeError(f"bounds is {bounds!r}; allowed is (low, high) or a float32 tensor of shape (2,)")
    low, high = bounds
    for value in bounds:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"bounds holds a {type(value).__name__}; allowed are two numbers")
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise ValueError(f"bounds holds {value}; allowed are numbers that float32 has, infinities among them")
    if not low <= high:
        raise ValueError(f"bounds is ({low}, {high}); allowed is low at most high")
    return torch.tensor([low, high], dtype=torch.float32, device=x.device)


def _arguments(
    x: Tensor,
    errors: ErrorModel | Sequence[Piece],
    seed: int | Tensor = 0,
    address: int = 0,
    access: int | Tensor = 0,
    storage: str | None = None,
    scale: float | Tensor | None = None,
    zero_point: int | Tensor | None = None,
    channel_dim: int | None = None,
    bounds: Sequence[float] | Tensor | None = None,
    correction: str = "none",
    batch_dim: int | None = None,
) -> tuple[Any, ...]:
    """The operator's arguments after ``x``, in the order of its schema."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x is a {type(x).__name__}; allowed is a tensor")
    _check_dense("x", x)
    stored = _storage(x, storage)
    if x.device.type not in ("cpu", "cuda", "meta"):
        raise TypeError(f"x is on {x.device}; allowed are cpu and cuda")
    if x.is_cuda and not torch.compiler.is_compiling() and _library.plain():
        _library.require_cuda()
    if not isinstance(errors, (ErrorModel, list, tuple)):
        raise TypeError(
            f"errors is a {type(errors).__name__}; allowed is an error model such as eden.Uniform(ber=1e-3), or a list "
            "of pieces of memory (errors, address, bits)"
        )
    if isinstance(address, bool) or not isinstance(address, int):
        raise TypeError(f"address is a {type(address).__name__}; allowed is an int, in bits")
    channel = _dimension("channel_dim", x, channel_dim)
    batch = _dimension("batch_dim", x, batch_dim)
    if batch >= 0 and batch == channel:
        raise ValueError(f"batch_dim and channel_dim are both {batch}; allowed are different dimensions")
    width = STORAGE_BITS[stored]
    if isinstance(errors, ErrorModel):
        if address < 0 or address % width or address >= 2**63:
            raise ValueError(f"address is {address}; {_allowed_address(width)}")
    elif address != 0:
        raise ValueError(f"address is {address}; allowed where errors are pieces with their own addresses is 0")
    elif not errors or any(not isinstance(piece, tuple) or len(piece) != 3 for piece in errors):
        raise TypeError("errors holds what is no piece (errors, address, bits); allowed is a list of one piece or more")
    if isinstance(access, int) and not 0 <= access < 2**_core.ACCESS_BITS:
        raise ValueError(f"access is {access}; allowed is 0 to 2^{_core.ACCESS_BITS} - 1")
    scales, points = _quantization(x, stored, scale, zero_point, channel)
    limits = _range(x, bounds, correction)
    memory = errors if isinstance(errors, ErrorModel) else tuple(errors)
    region, table, capacity = _memory(memory, address, width, correction, x.device)
    elements = x.numel() if batch < 0 or x.shape[batch] == 0 else x.numel() // x.shape[batch]
    if elements * width > capacity:
        if isinstance(errors, ErrorModel):
            end, what = _last(errors)
            what = "" if end == _ADDRESSES else f", at {end}, where {what}"
            raise ValueError(f"address is {address}; {_allowed_address(width)}{what}")
        raise ValueError(
            f"errors holds pieces of {capacity} bits in all; allowed is what x takes, {elements * width}, or more"
        )
    return (
        region,
        table,
        _scalar("seed", seed, x.device),
        _scalar("access", access, x.device),
        scales,
        points,
        limits,
        STORAGES[stored],
        channel if scales is not None and scales.numel() > 1 else -1,
        batch,
    )


def _allowed_address(width: int) -> str:
    return f"allowed is a multiple of the element's {width} bits, from 0 up to where the operand ends in the memory"


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
        out: where the result goes, of the shape, dtype and device of ``x``; may not be ``x`` (see ``corrupt_``).
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
            nearer bound; 0 for NaN). Floating-point tensors only.
        batch_dim: dimension whose samples are all read from the cells of the first; None to give each its own.

    Returns:
        The tensor as read, with the strides of ``torch.empty_like(x)``. Its gradient goes straight through to ``x``,
        except where quantization clips (``eden.memory.storage.clipped_gradient``) or ``x`` itself would be corrected
        (``eden.memory.storage.plausible_gradient``).
        On the CPU its memory is used again for later results when it is gone (``empty_cache``), and cannot be resized.

    Raises:
        TypeError: for a dtype, layout, device or type of argument that is not allowed, or a storage that cannot hold
            the dtype.
        ImportError: for a tensor on a CUDA device, if this build of EDEN has no CUDA operators.
        ValueError: for an argument out of range, a memory that does not hold the tensor, or an ``out`` that does not
            fit.
        RuntimeError: under ``torch.vmap``, for an ``out`` or another batched argument than ``x``.

    Under ``torch.compile`` and ``torch.export`` the error model is a constant of the graph, so another object compiles
    again; it must be made outside of the compiled function. So is its table: 27 kB for a population of lines, 16 bytes
    for each measured line, 8 for each cell of a map. Seed and access given as tensors are inputs of the graph.
    """
    arguments = _arguments(
        x, errors, seed, address, access, storage, scale, zero_point, channel_dim, bounds, correction, batch_dim
    )
    if out is None:
        return read(x, *arguments)
    if not isinstance(out, Tensor):
        raise TypeError(f"out is a {type(out).__name__}; allowed is a tensor")
    _check_dense("out", out)
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
    arguments = _arguments(
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
