"""Layers whose loads of weights and input feature maps go through a faulty memory.

A layer is not wrapped: its class is exchanged for a subclass, so the object, its Parameters, its hooks and its keys in
the state_dict stay what they were. Everything that changes while a network runs (rates, chip, access number) is a
tensor in a non-persistent buffer, so that a compiled network need not be compiled again.
"""

from __future__ import annotations

import copy
import dataclasses
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from eden import _core
from eden.common.torch_internals import (
    checkpointed,
    outside_of_graphs,
    recomputing,
    takes_own_operators,
    version_of,
)
from eden.faults import classes
from eden.faults.layers import stored
from eden.faults.layers.functions import reads_around
from eden.faults.network import named_modules
from eden.faults.operand import Operand
from eden.faults.packed import codes_of, with_codes
from eden.memory import reading
from eden.memory import storage as quantization
from eden.memory.reading import advance_, read_measured
from eden.memory.region import REGION_ADDRESS
from eden.memory.storage import STORAGES, stored_bits, whole_rows

COMPUTED = (torch.float32, torch.float16, torch.bfloat16)
"""The formats that layers under faults compute with."""


class Observer(Protocol):
    """What calibration is told while a network runs on reliable memory."""

    def called(self, layer: FaultyLayer) -> None:
        """A layer's forward pass begins."""

    def read(self, layer: FaultyLayer, operand: Operand, x: Tensor) -> Tensor | None:
        """An operand of a layer is read; what is returned is what the read gives, None leaves it to the memory."""


class Outputs(Protocol):
    """What knows outputs that need not be computed."""

    def output(self, layer: FaultyLayer, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """What a layer's own computation would return for these arguments."""


@dataclasses.dataclass
class LayerFaults:
    """What a faulty layer knows about its operands beside its buffers.

    Attributes:
        by_role: its operands, by the name of their role.
        batch_dim: -1 where each sample has cells of its own, else the dimension of the samples in the network around.
        reliable: how many `clean` blocks are around.
        observer: who is told of calls and reads, during calibration.
        reuse: who is asked for outputs, in a profile.
        reads: under activation checkpointing, since the last recomputation.
        recomputed: whether a recomputation came since the last counted read.
        resets: how often its access numbers were set back.
        before_forward: called before the next forward pass in training that is no recomputation.
        repeatable: whether a backward pass may compute a forward pass again; whoever waits for that takes it back.
        seed: of the chip that it was put on last.
        source: the layer that it is a copy of.
        versions: of a copy, how often its regions were written when EDEN last did so.
        read_elsewhere: whether functions of another module read its parameters, too.
        reading: whether it is being called, if that is so.
        inside: whether it belongs to a module whose functions read operands, and reads for itself when it is called.
        idle: whether the call at hand, in evaluation, is of no sample, as behind a closed gate: it reads nothing.
    """

    by_role: dict[str, Operand]
    batch_dim: int
    reliable: int = 0
    observer: Observer | None = None
    reuse: Outputs | None = None
    reads: int = 0
    recomputed: bool = False
    resets: int = 0
    read_elsewhere: bool = False
    reading: bool = False
    inside: bool = False
    idle: bool = False
    before_forward: Callable[[], None] | None = None
    repeatable: bool = False
    seed: int = 0
    source: weakref.ref[FaultyLayer] | None = None
    versions: dict[str, int] = dataclasses.field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        # A copy's training is not that which waits here.
        return {**self.__dict__, "before_forward": None, "repeatable": False, "source": None}

    def own_buffers(self, layer: FaultyLayer) -> None:
        """Take the regions that a copy has as written by EDEN."""
        if self.source is not None:
            regions = [operand.buffers.region for operand in self.by_role.values()]
            self.versions = {region: version_of(getattr(layer, region)) for region in regions}

    def begin(self, layer: FaultyLayer) -> None:
        """Give a layer that was on the meta device its buffers' values, of which that device kept none."""
        from eden.faults.buffers import new_buffers, write_regions

        for chip in (layer.eden_chip, layer.eden_training_chip):
            chip.fill_(self.seed)
        for operand in self.by_role.values():
            operand.calibrated = False
            for name, value in new_buffers(operand).items():
                setattr(layer, name, value.to(layer.eden_chip.device))
        write_regions(layer)

    def count_read(self, recomputing: bool) -> None:
        """Count a checkpointed read, or refuse a recomputation that cannot tell which of several reads it repeats."""
        if not recomputing:
            if self.before_forward is not None:
                self.before_forward()
            checkpointing = checkpointed()
            # Reentrant checkpoints begin without gradients.
            self.repeatable = self.repeatable or checkpointing or not torch.is_grad_enabled()
            if checkpointing:
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

    def require_reliable(self) -> None:
        """Refuse what cannot hold faults, on memory that has some."""
        if not self.reliable:
            names = ", ".join(operand.name for operand in self.operands())
            raise RuntimeError(
                f"{names}: torch.jit.trace and ONNX cannot hold faults; call them inside eden.clean(model), which "
                "keeps the storage, or after eden.remove_(model). torch.export and torch.compile keep the faults"
            )

    def operands(self) -> list[Operand]:
        """The operands that are under faults, without those that calibration found absent."""
        return [operand for operand in self.by_role.values() if not operand.absent]


class FaultyLayer(nn.Module):
    """What `inject_` adds to a layer's class. Not to be made by hand."""

    eden_faults: LayerFaults
    eden_forward: Callable[..., Any]
    eden_chip: Tensor
    eden_access: Tensor
    eden_training_chip: Tensor
    eden_training_access: Tensor

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Read every operand from the memory it is in, and compute as the original layer does."""
        try:
            faults = self.eden_faults
        except AttributeError:
            # Kept by another tool's wrapper from when the layer was under faults.
            return type(self).forward(self, *args, **kwargs)
        if not takes_own_operators():
            faults.require_reliable()
            return self.eden_forward(*args, **kwargs)
        if faults.source is not None and not torch.compiler.is_compiling():
            follow_source(self)
        faults.idle = not self.training and not torch.compiler.is_compiling() and _is_empty(args, kwargs)
        again = self.eden_begin()
        faults.reading = faults.read_elsewhere
        around = reads_around() if faults.inside else ()
        for reads in around:
            reads.nested += 1
        try:
            reuse = None if faults.idle else faults.reuse
            output = self.eden_forward(*args, **kwargs) if reuse is None else reuse.output(self, args, kwargs)
        finally:
            idle, faults.idle, faults.reading = faults.idle, False, False
            for reads in around:
                reads.nested -= 1
        if not again and not idle:
            self.eden_end()
        return output

    def eden_begin(self) -> bool:
        """A call of the layer begins. Returns whether it repeats one, under activation checkpointing."""
        faults = self.eden_faults
        if faults.observer is not None and not faults.idle:
            faults.observer.called(self)
        again = recomputing()
        if self.training and not torch.compiler.is_compiling():
            faults.count_read(again)
        return again

    def eden_end(self) -> None:
        """A call of the layer, not one that repeats another, ends."""
        advance_(self.eden_training_access if self.training else self.eden_access)

    def eden_read(self, role: str, x: Tensor | None) -> Any:
        """An operand as read from its memory; the tensor itself, or None, where it is not under faults."""
        operand = self.eden_faults.by_role.get(role)
        if operand is None or x is None:
            return x
        if self.eden_faults.idle and not operand.packed:
            # Nothing is computed from a weight, but the output's shape.
            return x if operand.kind == "input" else torch.zeros(x.shape, dtype=x.dtype, device=x.device)
        observer = self.eden_faults.observer
        if observer is not None:
            _check_computed(operand, x)
            seen = observer.read(self, operand, x)
            if seen is not None:
                return seen
        if operand.role.part == "input":
            return self._eden_read_input(operand, x)
        return self._eden_read_stored(operand, x)

    def eden_read_inputs(self, **inputs: Tensor) -> list[Tensor]:
        """Several inputs by role, as ``eden_read``; those that are one tensor in one place are read once."""
        read: list[tuple[Tensor, Operand | None, Tensor]] = []
        for role, x in inputs.items():
            operand = self.eden_faults.by_role.get(role)
            result = None
            if operand is not None and self.eden_faults.observer is None:
                for other, at, value in read:
                    if other is x and at is not None and at.places == operand.places:
                        result = value
            read.append((x, operand, self.eden_read(role, x) if result is None else result))
        return [value for _, _, value in read]

    def _eden_chip_and_access(self) -> tuple[Tensor, Tensor]:
        held: Any = self._buffers
        if self.training:
            chip, access = held["eden_training_chip"], held["eden_training_access"]
        else:
            chip, access = held["eden_chip"], held["eden_access"]
        return chip, access - 1 if recomputing() else access

    def _eden_read_input(self, operand: Operand, x: Tensor) -> Tensor:
        faults, buffers = self.eden_faults, operand.buffers
        held: Any = self._buffers  # an attribute of a module is looked up in several places
        if operand.absent:
            raise RuntimeError(
                f"{operand.name} is read, but calibration saw the layer without it; call eden.calibrate_ with a loader "
                "whose forward passes have it"
            )
        _check_computed(operand, x)
        if operand.clamp is not None and self.training:
            x = operand.clamp(x)
        scale = zero_point = bounds = None
        if faults.observer is not None and x.numel() > 0:
            if operand.needs_range:
                low, high = torch.aminmax(x.detach())
                bounds = _bounds(operand, low, high)
                scale, zero_point = _codes(operand, low, high)
            if operand.storage == "sign":
                scale = quantization.mean_magnitude(x)
        elif operand.needs_range or operand.storage == "sign":
            if not operand.calibrated and faults.observer is None:
                raise RuntimeError(
                    f"{operand.name} has no calibrated range, which storage {operand.storage!r} with correction "
                    f"{operand.correction!r} needs; call eden.calibrate_(model, loader) first"
                )
            if operand.storage == "sign" and operand.magnitude is None and faults.observer is None:
                raise RuntimeError(
                    f"{operand.name} has no calibrated mean magnitude, which storage 'sign' needs beside a range; call "
                    "eden.calibrate_(model, loader) first"
                )
            if operand.correction != "none":
                bounds = held[operand.bounds_for(x)]
            if operand.storage == "sign" or operand.storage in quantization.CODE_BITS:
                scale = held[buffers.scale]
                if operand.zero_pointed:
                    zero_point = held[buffers.zero_point]
        shape = x.shape
        x, batch_dim = (x, -1) if operand.contiguous else operand.samples_of(x)
        x, batch_dim, first = operand.positions_first(x, batch_dim)
        if operand.most_elements is not None:
            _check_held(operand, x, batch_dim)
        region, table = _rows(operand, held)
        chip, access = self._eden_chip_and_access()
        y = _read(operand, x, region, table, chip, access, scale, zero_point, bounds, -1, batch_dim)
        y = y if first < 0 else y.movedim(first, -2)
        return y if y.dim() == len(shape) else y.reshape(shape)

    def _eden_read_stored(self, operand: Operand, x: Tensor) -> Tensor:
        _check_computed(operand, x)
        held: Any = self._buffers
        region, table = _rows(operand, held)
        chip, access = self._eden_chip_and_access()
        if operand.role.indices:
            return _read(operand, x, region, table, chip, access, None, None, None, -1, -1)
        if operand.packed:
            packed = codes_of(x)
            assert packed is not None
            return with_codes(x, _read(operand, packed, region, table, chip, access, None, None, None, -1, -1))
        if x.layout is not torch.strided:
            _refuse_kind(operand, x)
        channel_dim = operand.channel_dim
        if operand.flips is None and operand.storage != "sign":
            memory = region, table if table.numel() else None, chip, access
            bounded = operand.correction != "none"
            try:
                return read_measured(x, *memory, operand.storage, operand.zero_pointed, bounded, channel_dim)
            except NotImplementedError as error:
                _refuse_kind(operand, x, error)
        codes = _own_codes(operand, x)
        return _read(operand, x, region, table, chip, access, *codes, channel_dim, -1)

    def eden_reads_rows(self, role: str, lookups: int, sparse: bool = False) -> bool:
        """Whether to read single rows of a table from where they are: not one in several pieces of memory.

        Args:
            role: of the table.
            lookups: how many rows are to be read.
            sparse: whether the gradient is to be sparse, which that of a whole table is not.
        """
        operand = self.eden_faults.by_role.get(role)
        if operand is None or self.eden_faults.observer is not None or self.eden_faults.read_elsewhere:
            return False
        if operand.planes or getattr(self, operand.buffers.region).shape[0] != 1 or not takes_own_operators():
            return False
        table = stored(self, operand.role.name)
        if not whole_rows(operand.storage, table.shape[1:].numel()):
            if sparse:
                _refuse_rows(operand)
            return False
        # On a GPU the whole table takes less time than to look for the row of every element.
        return sparse or (not table.is_cuda and lookups * operand.row_elements <= table.numel())

    def eden_read_rows(self, role: str, table: Tensor, rows: Tensor, indices: Tensor) -> Tensor:
        """Rows of a table, each read from its own cells; what reading the whole table would give for them.

        Args:
            role: of the table.
            table: of shape (rows, ...).
            rows: what was taken from the table, of shape (*indices.shape, ...).
            indices: int32 or int64, which row each is.
        """
        operand = self.eden_faults.by_role[role]
        _check_computed(operand, table)
        if rows.numel() == 0:
            return rows
        scale, zero_point, bounds = _own_codes(operand, table)
        places = indices.reshape(-1).long()
        if operand.channels:
            scale = None if scale is None else scale[places]
            zero_point = None if zero_point is None else zero_point[places]
        bits = stored_bits(operand.storage, table.shape[1:].numel())
        held: Any = self._buffers
        region = held[operand.buffers.region].repeat(places.shape[0], 1)
        region[:, REGION_ADDRESS] += places * bits
        region[:-1, _core.REGION_END] = torch.arange(1, places.shape[0], device=places.device) * bits
        chip, access = self._eden_chip_and_access()
        entries = held[operand.buffers.table]
        flat = rows.reshape(places.shape[0], *table.shape[1:])
        codes = scale, zero_point, bounds
        return _read(operand, flat, region, entries, chip, access, *codes, operand.channel_dim, -1).reshape(rows.shape)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        before = {name: getattr(self, name) for name in self._buffers if name.startswith("eden_")}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # Only the device is others' to choose: a network that is moved to another format keeps its exact ranges, and
        # one that gets uninitialized Parameters its faults.
        for name, value in before.items():
            moved = getattr(self, name)
            if moved.dtype != value.dtype:
                # It computes otherwise now, also what single layers of it get in a longer format.
                for operand in self.eden_faults.by_role.values():
                    operand.arithmetic = None
            setattr(
                self, name, torch.zeros_like(value, device=moved.device) if value.is_meta else value.to(moved.device)
            )
        if any(value.is_meta for value in before.values()) and not self.eden_chip.is_meta:
            self.eden_faults.begin(self)
        self.eden_faults.own_buffers(self)
        return self

    def __prepare_scriptable__(self) -> Any:
        names = ", ".join(operand.name for operand in self.eden_faults.operands())
        raise RuntimeError(f"{names}: torch.jit.script cannot hold faults; call it after eden.remove_(model)")

    def __deepcopy__(self, memo: dict[int, Any]) -> FaultyLayer:
        self._eden_refuse_copy()
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        copied.eden_faults.source = weakref.ref(self)
        copied.eden_faults.own_buffers(copied)
        return copied

    def _eden_refuse_copy(self) -> None:
        if self.eden_faults.reliable:
            # The copy would stay on reliable memory for ever: no `clean` block ends for it.
            raise RuntimeError("a network on reliable memory cannot be copied or pickled; do it outside of eden.clean")

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._eden_refuse_copy()
        state = object.__reduce_ex__(self, 2)[2]
        return _restore, (classes.original_class(type(self)),), state


def _is_empty(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether the first that a layer is called with is a tensor without elements."""
    first = args[0] if args else next(iter(options.values()), None)
    return isinstance(first, Tensor) and first.numel() == 0


def _rows(operand: Operand, held: Any) -> tuple[Tensor, Tensor]:
    """An operand's rows and their table; the shape of rows says whether they are of planes."""
    region, table = held[operand.buffers.region], held[operand.buffers.table]
    return region.unsqueeze(0) if operand.planes else region, table


def _check_computed(operand: Operand, x: Tensor) -> None:
    formats = (torch.int32,) if operand.role.indices else COMPUTED
    if x.dtype not in formats:
        allowed = ", ".join(str(dtype) for dtype in formats)
        raise TypeError(f"{operand.name} has the dtype {x.dtype}; allowed are {allowed}")


def _refuse_kind(operand: Operand, x: Tensor, cause: Exception | None = None) -> NoReturn:
    if type(x) not in (Tensor, nn.Parameter) or x.layout is not torch.strided or x.is_quantized:
        what = f"is a {type(x).__name__} of the layout {x.layout}" if x.layout is not torch.strided else ""
        what = what or f"is a {type(x).__name__}"
        raise TypeError(
            f"{operand.name} {what}, which no memory holds; allowed are plain tensors of the layout torch.strided, or, "
            "of a quantizer's class of weights, what inject_ takes: call it again"
        ) from cause
    raise cause or TypeError(operand.name)


def _check_held(operand: Operand, x: Tensor, batch_dim: int) -> None:
    samples = x.shape[batch_dim] if batch_dim >= 0 else 1
    elements = x.numel() // samples if samples else 0
    if elements > (operand.most_elements or 0):
        _refuse_read(operand.name, elements, batch_dim >= 0, operand.most_elements)


@outside_of_graphs
def _refuse_rows(operand: Operand) -> NoReturn:
    raise ValueError(
        f"{operand.name} is read by rows for a sparse gradient, but storage {operand.storage!r} has a code that joins "
        "words of several; allowed is sparse=False, or a storage whose rows have cells of their own"
    )


# Outside of graphs: an exception that the compiler meets would keep it from compiling this layer ever again.
@outside_of_graphs
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


def _own_codes(operand: Operand, x: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Scale, zero point and bounds of a parameter, from its own values."""
    bounded = operand.correction != "none"
    scale, zero_point, bounds = quantization.measure_range(
        x, operand.storage, operand.zero_pointed, bounded, operand.channel_dim
    )
    if operand.storage == "sign":
        scale = quantization.mean_magnitude(x, operand.channel_dim)
    return scale, zero_point, bounds


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
        operand.flips += torch.ops.eden.count_flips(*on_host, STORAGES[operand.storage], channel_dim, batch_dim)
    # Under autocast too the memory holds its own storage, whatever format the layer computes with.
    try:
        return reading.read(
            x,
            region,
            table if table.numel() else None,
            chip,
            access,
            scale,
            zero_point,
            bounds,
            STORAGES[operand.storage],
            channel_dim,
            batch_dim,
        )
    except NotImplementedError as error:
        _refuse_kind(operand, x, error)


def faulty_class(original: type[nn.Module]) -> type[nn.Module]:
    """The subclass of a layer class whose loads go through a memory; always the same one of a class with a name."""
    return classes.faulty_class(original, FaultyLayer)


def _restore(original: type[nn.Module]) -> nn.Module:
    cls = faulty_class(original)
    return cls.__new__(cls)


def faulty_layers(model: nn.Module) -> dict[str, FaultyLayer]:
    """The layers of a network that are under faults, by name, in ``named_modules`` order."""
    return {name: layer for name, layer in named_modules(model) if isinstance(layer, FaultyLayer)}


def require_faults(model: nn.Module) -> dict[str, FaultyLayer]:
    """``faulty_layers``. Raises ValueError for a network without any."""
    layers = faulty_layers(model)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no layer under faults; call eden.inject_ first")
    for layer in layers.values():
        follow_source(layer)
    return layers


def follow_source(layer: FaultyLayer) -> None:
    """Let a copy whose buffers others wrote, as averages of networks do, have the faults of the layer it is a copy of.

    A copy that nobody else writes to has faults of its own, and so has one whose source is gone.
    """
    from eden.faults.buffers import write_regions, written

    faults = layer.eden_faults
    if faults.source is None or all(version_of(getattr(layer, x)) == n for x, n in faults.versions.items()):
        return
    source = faults.source()
    if not all(written(layer, operand) for operand in faults.by_role.values()):
        if isinstance(source, FaultyLayer) and source.eden_faults.by_role.keys() == faults.by_role.keys():
            theirs = source.eden_faults
            faults.by_role = {
                role: dataclasses.replace(operand, flips=None, clamp=None) for role, operand in theirs.by_role.items()
            }
            for name, value in source._buffers.items():
                if name.startswith("eden_") and value is not None:
                    setattr(layer, name, value.to(layer.eden_chip.device, copy=True))
            faults.seed = theirs.seed
        write_regions(layer)
    faults.own_buffers(layer)


def layer_operands(
    model: nn.Module, kind: str | None = None, absent: bool = False
) -> Iterator[tuple[FaultyLayer, Operand]]:
    """The operands of a network, each with the layer that reads it; one that layers share comes once for each.

    Args:
        model: a network, under faults or not.
        kind: "weight" or "input" for those alone.
        absent: whether also inputs that calibration found the layer to do without.
    """
    for layer in faulty_layers(model).values():
        for operand in layer.eden_faults.by_role.values():
            if kind in (None, operand.kind) and (absent or not operand.absent):
                yield layer, operand
