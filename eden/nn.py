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

from eden import _core, ops, quantization
from eden.ops import Memory

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
        errors: error model of the memory, None for reliable; or the pieces of memory that it lies in, each with an
            address of its own.
        storage: form in which the memory keeps it.
        correction: what replaces implausible values.
        sample_numel: elements of an input's sample, None before calibration.
        affine: whether its codes have a zero point.
        channels: whether each output channel of a weight has a scale of its own.
        flips: while `counting`, int64 [bits of an element, 2, 2]: by bit position and stored value, the cells read and
            those flipped.
        most_elements: elements that its memory holds from its place on (of an input's sample), None where only
            addresses end. Follows the others at each `write_region`.
    """

    name: str
    kind: str
    address: int
    errors: Memory
    storage: str
    correction: str
    sample_numel: int | None = None
    affine: bool = False
    channels: bool = False
    flips: Tensor | None = None
    most_elements: int | None = None

    @property
    def needs_range(self) -> bool:
        """Whether it cannot be read without a known range of its values."""
        return self.storage in quantization.CODE_BITS or self.correction != "none"

    @property
    def zero_pointed(self) -> bool:
        """Whether its codes are made with a zero point."""
        # uint8 has no symmetric form: its zero point is 0 where no value is negative.
        return self.affine or self.storage == "uint8"

    @property
    def failures(self) -> list[float]:
        """Failure probabilities of the memories that it lies in."""
        if isinstance(self.errors, tuple):
            return [model.failure for model, _, _ in self.errors if model is not None]
        return [] if self.errors is None else [self.errors.failure]

    def quantizer(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scale and zero point of its codes for a range of values, both of the range's shape."""
        return quantization.quantization(low, high, self.storage, self.zero_pointed)

    def rows(self, reliable: bool, numel: int | None) -> tuple[list[list[int]], Any]:
        """The rows and the table (an int64 array or None) for its region.

        Raises:
            ValueError: for a memory that does not hold it, ``numel`` being the number of its elements where known.
        """
        width = ops.STORAGE_BITS[self.storage]
        size = 0 if numel is None else numel * width
        pieces = self.errors if isinstance(self.errors, tuple) else ((self.errors, self.address, size),)
        rows, table = ops.regions(pieces, size, width, self.correction)
        if reliable:
            # As many rows, and the same table: nothing is to be compiled again for a moment.
            rows, _ = ops.regions([(None, address, bits) for _, address, bits in pieces], size, width)
        return rows, table


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
    magnitude: float | None = None  # mean magnitude of the input's values, as calibrated

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
        changing = [x.name for x in self.operands() if any(failure < 1.0 for failure in x.failures)]
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
    eden_weight_table: Tensor
    eden_input_region: Tensor
    eden_input_table: Tensor
    eden_input_bounds: Tensor
    eden_input_scale: Tensor
    eden_input_zero_point: Tensor
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
            weight = self._eden_read_weight(faults.weight, weight, chip, number)
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
        faults = self._eden
        _check_computed(operand, x)
        scale = zero_point = bounds = None
        if faults.observer is not None and x.numel() > 0:
            if operand.needs_range:
                low, high = torch.aminmax(x.detach())
                bounds = _bounds(operand, low, high)
                scale, zero_point = _codes(operand, low, high)
            if operand.storage == "sign":
                scale = quantization.mean_magnitude(x)
        elif operand.needs_range or operand.storage == "sign":
            if not faults.calibrated and faults.observer is None:
                raise RuntimeError(
                    f"{operand.name} has no calibrated range, which storage {operand.storage!r} with correction "
                    f"{operand.correction!r} needs; call eden.calibrate_(model, loader) first"
                )
            if operand.storage == "sign" and faults.magnitude is None and faults.observer is None:
                raise RuntimeError(
                    f"{operand.name} has no calibrated mean magnitude, which storage 'sign' needs beside a range; call "
                    "eden.calibrate_(model, loader) first"
                )
            if operand.correction != "none":
                bounds = self.eden_input_bounds
            if operand.storage == "sign" or operand.storage in quantization.CODE_BITS:
                scale = self.eden_input_scale
                if operand.zero_pointed:
                    zero_point = self.eden_input_zero_point
        batch_dim = -1 if self.unbatched(x) else faults.batch_dim
        if operand.most_elements is not None:
            _check_held(operand, x, batch_dim)
        region, table = self.eden_input_region, self.eden_input_table
        return _read(operand, x, region, table, chip, access, scale, zero_point, bounds, -1, batch_dim)

    def _eden_read_weight(self, operand: Operand, weight: Tensor, chip: Tensor, access: Tensor) -> Tensor:
        _check_computed(operand, weight)
        region, table = self.eden_weight_region, self.eden_weight_table
        channel_dim = 0 if operand.channels else -1
        bounded = operand.correction != "none"
        if operand.flips is None and operand.storage != "sign":
            memory = region, table if table.numel() else None, chip, access
            return ops.read_measured(weight, *memory, operand.storage, operand.zero_pointed, bounded, channel_dim)
        scale, zero_point, bounds = quantization.measure_range(
            weight, operand.storage, operand.zero_pointed, bounded, channel_dim
        )
        if operand.storage == "sign":
            scale = quantization.mean_magnitude(weight, channel_dim)
        return _read(operand, weight, region, table, chip, access, scale, zero_point, bounds, channel_dim, -1)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        exact = [(name, getattr(self, name)) for name in ("eden_input_bounds", "eden_input_scale")]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # A network that is moved to a shorter floating-point format keeps its exact ranges.
        for name, value in exact:
            setattr(self, name, value.to(getattr(self, name).device))
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._eden.reliable:
            # The copy would stay on reliable memory for ever: no `clean` block ends for it.
            raise RuntimeError("a network on reliable memory cannot be copied or pickled; do it outside of eden.clean")
        state = object.__reduce_ex__(self, 2)[2]
        return _restore, (original_class(self),), state


def _check_computed(operand: Operand, x: Tensor) -> None:
    if x.dtype not in _COMPUTED:
        allowed = ", ".join(str(dtype) for dtype in _COMPUTED)
        raise TypeError(f"{operand.name} has the dtype {x.dtype}; allowed are {allowed}")


def _check_held(operand: Operand, x: Tensor, batch_dim: int) -> None:
    samples = x.shape[batch_dim] if batch_dim >= 0 else 1
    elements = x.numel() // samples if samples else 0
    if elements > (operand.most_elements or 0):
        _refuse_read(operand.name, elements, batch_dim >= 0, operand.most_elements)


# Outside of graphs: an exception that the compiler meets would keep it from compiling this layer ever again.
@torch.compiler.disable(reason="an input is larger than what its memory holds")  # type: ignore[no-untyped-call, untyped-decorator]
def _refuse_read(name: str, elements: int, in_sample: bool, most: int | None) -> None:
    raise ValueError(
        f"{name} has {elements} elements{' in a sample' if in_sample else ''}; allowed in its memory, from its address "
        f"to where its map, geometry or pieces end, is {most} or fewer"
    )


def _bounds(operand: Operand, low: Tensor, high: Tensor) -> Tensor | None:
    return torch.stack((low, high)).float() if operand.correction != "none" else None


def _codes(operand: Operand, low: Tensor, high: Tensor) -> tuple[Tensor | None, Tensor | None]:
    if operand.storage not in quantization.CODE_BITS:
        return None, None
    return operand.quantizer(low, high)


def _read(
    operand: Operand,
    x: Tensor,
    region: Tensor,
    table: Tensor,
    chip: Tensor,
    access: Tensor,
    scale: Tensor | None,
    zero_point: Tensor | None,
    bounds: Tensor | None,
    channel_dim: int,
    batch_dim: int,
) -> Tensor:
    if operand.flips is not None:
        # On the CPU whatever the network is on: an account, not the ordinary path.
        arguments = (x, region, table if table.numel() else None, chip, access, scale, zero_point, bounds)
        on_host = [None if tensor is None else tensor.detach().cpu() for tensor in arguments]
        operand.flips += torch.ops.eden.count_flips(*on_host, ops.STORAGES[operand.storage], channel_dim, batch_dim)
    # Under autocast too the memory holds its own storage, whatever format the layer computes with.
    return ops.read(
        x,
        region,
        table if table.numel() else None,
        chip,
        access,
        scale,
        zero_point,
        bounds,
        ops.STORAGES[operand.storage],
        channel_dim,
        batch_dim,
    )


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


def operand_numel(layer: FaultyLayer, operand: Operand) -> int | None:
    """Elements of a weight or of an input's sample, None where they are not known."""
    return layer.weight.numel() if operand is layer._eden.weight else operand.sample_numel


def write_region(layer: FaultyLayer, operand: Operand) -> None:
    """Bring a layer's region and table buffers to what its operand says, in place where their size stays.

    Raises:
        ValueError: naming the operand, for a memory that does not hold it.
    """
    reliable = layer._eden.reliable > 0
    try:
        rows, entries = operand.rows(reliable, operand_numel(layer, operand))
    except ValueError as error:
        raise ValueError(f"the errors of {operand.name}: {error}") from error
    held = None if reliable else ops.held_bits(operand.errors, operand.address)
    operand.most_elements = None if held is None else held // ops.STORAGE_BITS[operand.storage]
    role = "weight" if operand is layer._eden.weight else "input"
    _write(layer, f"eden_{role}_region", torch.tensor(rows, dtype=torch.int64))
    table = torch.empty(0, dtype=torch.int64) if entries is None else torch.from_numpy(entries)
    _write(layer, f"eden_{role}_table", table)


def _write(layer: FaultyLayer, name: str, value: Tensor) -> None:
    buffer = getattr(layer, name)
    if buffer.shape == value.shape:
        buffer.copy_(value)
    else:
        setattr(layer, name, value.to(buffer.device, copy=True))


def set_range(layer: FaultyLayer, low: float, high: float, magnitude: float | None) -> None:
    """Set what is known of a layer's input, in place: its range and, for one bit, its values' mean magnitude."""
    faults = layer._eden
    faults.calibrated, faults.magnitude = True, magnitude
    layer.eden_input_bounds.copy_(torch.tensor([low, high]))
    operand = faults.input
    if operand is None:
        return
    if operand.storage == "sign":
        layer.eden_input_scale.fill_(torch.nan if magnitude is None else magnitude)
    elif operand.storage in quantization.CODE_BITS:
        scale, zero_point = operand.quantizer(*layer.eden_input_bounds)
        layer.eden_input_scale.copy_(scale)
        if zero_point is not None:
            layer.eden_input_zero_point.copy_(zero_point)


def _buffers(seed: int) -> dict[str, Tensor]:
    number = torch.int64
    return {
        "eden_weight_region": torch.zeros((1, _core.REGION_FIELDS), dtype=number),
        "eden_weight_table": torch.empty(0, dtype=number),
        "eden_input_region": torch.zeros((1, _core.REGION_FIELDS), dtype=number),
        "eden_input_table": torch.empty(0, dtype=number),
        "eden_input_bounds": torch.full((2,), torch.nan, dtype=torch.float32),
        "eden_input_scale": torch.tensor(torch.nan, dtype=torch.float32),
        "eden_input_zero_point": torch.tensor(0, dtype=torch.int32),
        "eden_chip": torch.tensor(seed, dtype=number),
        "eden_access": torch.tensor(0, dtype=number),
        "eden_training_chip": torch.tensor(seed, dtype=number),
        "eden_training_access": torch.tensor(0, dtype=number),
    }


def make_faulty(module: nn.Module, faults: LayerFaults, seed: int) -> FaultyLayer:
    """Exchange the class of a layer and give it its buffers."""
    module.__class__ = faulty_class(type(module))
    layer = cast(FaultyLayer, module)
    device = layer.weight.device
    layer._eden = faults
    for name, value in _buffers(seed).items():
        layer.register_buffer(name, value.to(device), persistent=False)
    for operand in faults.operands():
        write_region(layer, operand)
    return layer


def make_original(layer: FaultyLayer) -> nn.Module:
    """Give a layer its own class back and take its buffers away."""
    module: nn.Module = layer
    original = original_class(module)
    for name in _buffers(0):
        delattr(module, name)
    del module.__dict__["_eden"]
    module.__class__ = original
    return module
