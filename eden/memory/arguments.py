"""The operator's arguments: what a user gives is checked and brought to what the schema takes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eden import _core
from eden.common.torch_internals import plain
from eden.memory import library as _library
from eden.memory.errors import ErrorModel
from eden.memory.region import Piece, memory_end, region_tensors
from eden.memory.registration import SCALED
from eden.memory.storage import CELL_UNITS, CORRECTIONS, STORAGES, SYMMETRIC, code_range, stored_bits

_NATIVE_STORAGE = {
    getattr(torch, name): name for name in STORAGES if hasattr(torch, name) and name not in ("int4", "sign")
}

_CONVERTED = (torch.float32, torch.float16, torch.bfloat16)
_LARGEST = torch.finfo(torch.float32).max


def check_dense(name: str, tensor: Tensor) -> None:
    """Raise TypeError, naming the tensor, for one that is not strided or has no single shape."""
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} has the layout {tensor.layout}; allowed is torch.strided")
    if tensor.is_nested:
        raise TypeError(f"{name} is a nested tensor; allowed is one of a single shape")


def _scalar(name: str, value: int | Tensor, device: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        check_dense(name, value)
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
    if plain():
        return _kept_scalar(value, device)
    return torch.tensor(value, dtype=torch.int64, device=device)


# Making a small tensor takes longer than reading one. These are never given out, so nobody can change them; made
# outside of inference mode, they serve in and out of it.
@functools.lru_cache(maxsize=64)
def _kept_scalar(value: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(value, dtype=torch.int64, device=device)


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
        check_dense(name, value)
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
    scaled = STORAGES[storage] in SCALED and x.is_floating_point()
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
        check_dense("bounds", bounds)
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


def operator_arguments(
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
    """The operator's arguments after ``x``, in the order of its schema. Raises as ``eden.corrupt``."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x is a {type(x).__name__}; allowed is a tensor")
    check_dense("x", x)
    stored = _storage(x, storage)
    if x.device.type not in ("cpu", "cuda", "meta"):
        raise TypeError(f"x is on {x.device}; allowed are cpu and cuda")
    if x.is_cuda and not torch.compiler.is_compiling() and plain():
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
    width = CELL_UNITS[stored]
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
    region, table, capacity = region_tensors(memory, address, width, correction, x.device)
    elements = x.numel() if batch < 0 or x.shape[batch] == 0 else x.numel() // x.shape[batch]
    bits = stored_bits(stored, elements)
    if bits > capacity:
        if isinstance(errors, ErrorModel):
            what = memory_end(errors, address)[1]
            where = f", at {address + capacity}, where {what}" if what else ""
            raise ValueError(f"address is {address}; {_allowed_address(width)}{where}")
        raise ValueError(f"errors holds pieces of {capacity} bits in all; allowed is what x takes, {bits}, or more")
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
