"""Layers whose loads of weights and input feature maps go through a faulty memory.

A layer is not wrapped: its class is exchanged for a subclass, so the object, its Parameters, its hooks and its keys in
the state_dict stay what they were. Everything that changes while a network runs (rates, chip, access number) is a
tensor in a non-persistent buffer, so that a compiled network need not be compiled again.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eden import _core, ops
from eden.errors import ErrorModel

BASES: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Classes of layers whose weights and inputs can be put under faults."""

_COMPUTED = (torch.float32, torch.float16, torch.bfloat16)

OPERAND_SPACING_BITS = 2**40
"""Without a placement, operand k begins at bit k x 2^40."""


@dataclasses.dataclass
class Operand:
    """One memory-resident tensor role of one layer, as configured; the buffers of the layer follow it.

    Attributes:
        name: ``layer.weight`` or ``layer.input``; of the first layer where several share one.
        kind: "weight" or "input".
        address: first bit in the memory.
        errors: error model of the memory, None for reliable.
        storage: form in which the memory keeps it.
        correction: what replaces implausible values.
        sample_numel: elements of an input's sample, None before calibration.
    """

    name: str
    kind: str
    address: int
    errors: ErrorModel | None
    storage: str
    correction: str
    sample_numel: int | None = None

    @property
    def needs_range(self) -> bool:
        """Whether it cannot be read without a known range of its values."""
        return self.storage != "float32" or self.correction != "none"


def _checkpointed() -> bool:
    """Whether the forward pass at hand will be run again by torch.utils.checkpoint (in its non-reentrant form)."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    return hooks is not None and "checkpoint" in getattr(hooks[0], "__qualname__", "")


@dataclasses.dataclass
class LayerFaults:
    """What a faulty layer knows about its operands beside its buffers."""

    weight: Operand | None
    input: Operand | None
    batch_dim: int
    spatial_dims: int  # of a convolution; 0 for Linear
    calibrated: bool = False
    reliable: int = 0  # how many `clean` blocks are around
    observer: Any = None  # during calibration, called with (layer, input)
    reads: int = 0  # under activation checkpointing, since the last recomputation
    recomputed: bool = False
    own_input: tuple[str, int] = ("", 0)  # name and address of its input where no other layer reads it

    def __post_init__(self) -> None:
        if self.input is not None:
            self.own_input = self.input.name, self.input.address

    def count_read(self, recomputing: bool) -> None:
        """Count a checkpointed read, or refuse a recomputation that cannot tell which of several reads it repeats."""
        if not recomputing:
            if _checkpointed():
                self.reads = 1 if self.recomputed else self.reads + 1
                self.recomputed = False
            return
        self.recomputed = True
        changing = [x.name for x in self.operands() if x.errors is not None and x.errors.failure < 1.0]
        if self.reads > 1 and changing:
            raise RuntimeError(
                f"{', '.join(changing)}: read {self.reads} times under activation checkpointing since the last "
                "backward pass, so recomputation cannot tell which read to repeat; allowed is one forward pass per "
                "backward pass, or errors with failure=1"
            )

    def operands(self) -> list[Operand]:
        """The operands that are under faults."""
        return [operand for operand in (self.weight, self.input) if operand is not None]


class FaultyLayer(nn.Module):
    """What `inject_` adds to a layer's class. Not to be made by hand."""

    _eden: LayerFaults
    weight: Tensor
    bias: Tensor | None
    eden_weight_region: Tensor
    eden_input_region: Tensor
    eden_input_bounds: Tensor
    eden_chip: Tensor
    eden_access: Tensor
    eden_training_chip: Tensor
    eden_training_access: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Read weight and input from the memory they are in, then compute as the original layer does."""
        faults = self._eden
        if faults.observer is not None:
            faults.observer(self, input)
        if self.training:
            chip, access = self.eden_training_chip, self.eden_training_access
        else:
            chip, access = self.eden_chip, self.eden_access
        # A checkpointed segment that is recomputed in the backward pass repeats the read that it recomputes.
        recomputing = not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
        if self.training and not torch.compiler.is_compiling():
            faults.count_read(recomputing)
        number = access - 1 if recomputing else access
        weight = self.weight
        if faults.weight is not None:
            weight = _read_weight(faults.weight, weight, self.eden_weight_region, chip, number)
        if faults.input is not None:
            input = self._eden_read_input(faults.input, input, chip, number)
        if not recomputing:
            ops.advance_(access)
        if faults.spatial_dims == 0:
            return F.linear(input, weight, self.bias)
        output: Tensor = self._conv_forward(input, weight, self.bias)  # type: ignore[operator]
        return output

    def unbatched(self, x: Tensor) -> bool:
        """Whether an input is a single sample without a batch dimension."""
        # In a sequence-first layer the sequence is a dimension more.
        return x.dim() < self._eden.spatial_dims + 2 + max(self._eden.batch_dim, 0)

    def _eden_read_input(self, operand: Operand, x: Tensor, chip: Tensor, access: Tensor) -> Tensor:
        scale = bounds = None
        if operand.needs_range:
            if not self._eden.calibrated and self._eden.observer is None:
                raise RuntimeError(
                    f"{operand.name} has no calibrated range, which storage {operand.storage!r} with correction "
                    f"{operand.correction!r} needs; call eden.calibrate_(model, loader) first"
                )
            known = self._eden.observer is None or x.numel() == 0
            bounds = self.eden_input_bounds if known else _bounds(x)
            scale = _scale(operand, bounds)
        batch_dim = -1 if self.unbatched(x) else self._eden.batch_dim
        return _read(operand, x, self.eden_input_region, chip, access, scale, bounds, batch_dim)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        bounds = self.eden_input_bounds
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # A network that is moved to a shorter floating-point format keeps its exact ranges.
        self.eden_input_bounds = bounds.to(self.eden_input_bounds.device)
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._eden.reliable:
            # The copy would stay on reliable memory for ever: no `clean` block ends for it.
            raise RuntimeError("a network on reliable memory cannot be copied or pickled; do it outside of eden.clean")
        state = object.__reduce_ex__(self, 2)[2]
        return _restore, (original_class(self),), state


def _bounds(x: Tensor) -> Tensor:
    return torch.stack(torch.aminmax(x.detach())).float()


def _scale(operand: Operand, bounds: Tensor) -> Tensor | None:
    if operand.storage != "int8":
        return None
    scale: Tensor = bounds.abs().amax() / _core.INT8_LARGEST_CODE
    return scale


def _read(
    operand: Operand,
    x: Tensor,
    region: Tensor,
    chip: Tensor,
    access: Tensor,
    scale: Tensor | None,
    bounds: Tensor | None,
    batch_dim: int,
) -> Tensor:
    if x.dtype not in _COMPUTED:
        allowed = ", ".join(str(dtype) for dtype in _COMPUTED)
        raise TypeError(f"{operand.name} has the dtype {x.dtype}; allowed are {allowed}")
    correction = bounds if operand.correction != "none" else None
    # Under autocast the values that the memory holds in its own storage are computed with in a shorter format.
    result = ops.read(x.float(), region, chip, access, scale, correction, ops.STORAGES[operand.storage], batch_dim)
    return result.to(x.dtype)


def _read_weight(operand: Operand, weight: Tensor, region: Tensor, chip: Tensor, access: Tensor) -> Tensor:
    scale = bounds = None
    if operand.needs_range:
        bounds = _bounds(weight)
        scale = _scale(operand, bounds)
    return _read(operand, weight, region, chip, access, scale, bounds, -1)


_faulty_classes: dict[type[nn.Module], type[nn.Module]] = {}


def faulty_class(original: type[nn.Module]) -> type[nn.Module]:
    """The subclass of a layer class whose loads go through a memory; always the same one."""
    if original not in _faulty_classes:
        _faulty_classes[original] = type(
            f"Faulty{original.__name__}", (FaultyLayer, original), {"__doc__": original.__doc__}
        )
    return _faulty_classes[original]


def original_class(layer: nn.Module) -> type[nn.Module]:
    """The class that a faulty layer had before."""
    for original, faulty in _faulty_classes.items():
        if type(layer) is faulty:
            return original
    raise TypeError(f"{type(layer).__name__} is no layer under faults")


def _restore(original: type[nn.Module]) -> nn.Module:
    cls = faulty_class(original)
    return cls.__new__(cls)


def write_region(layer: FaultyLayer, operand: Operand) -> None:
    """Bring a layer's region buffer to what its operand says, in place."""
    buffer = layer.eden_weight_region if operand is layer._eden.weight else layer.eden_input_region
    if layer._eden.reliable:
        fields = ops.region(None, operand.address)
    else:
        fields = ops.region(operand.errors, operand.address, operand.correction)
    buffer.copy_(torch.tensor(fields, dtype=torch.int64))


_BUFFERS = (
    "eden_weight_region",
    "eden_input_region",
    "eden_input_bounds",
    "eden_chip",
    "eden_access",
    "eden_training_chip",
    "eden_training_access",
)


def make_faulty(module: nn.Module, faults: LayerFaults, seed: int) -> FaultyLayer:
    """Exchange the class of a layer and give it its buffers."""
    module.__class__ = faulty_class(type(module))
    layer = cast(FaultyLayer, module)
    device = layer.weight.device
    layer._eden = faults
    for name in _BUFFERS[:2]:
        layer.register_buffer(
            name, torch.zeros(_core.REGION_FIELDS, dtype=torch.int64, device=device), persistent=False
        )
    bounds = torch.full((2,), torch.nan, dtype=torch.float32, device=device)
    layer.register_buffer("eden_input_bounds", bounds, persistent=False)
    for name, value in zip(_BUFFERS[3:], (seed, 0, seed, 0), strict=True):
        layer.register_buffer(name, torch.tensor(value, dtype=torch.int64, device=device), persistent=False)
    for operand in faults.operands():
        write_region(layer, operand)
    return layer


def make_original(layer: FaultyLayer) -> nn.Module:
    """Give a layer its own class back and take its buffers away."""
    module: nn.Module = layer
    original = original_class(module)
    for name in _BUFFERS:
        delattr(module, name)
    del module.__dict__["_eden"]
    module.__class__ = original
    return module
