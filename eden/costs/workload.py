"""What the layers of a network read, in the order in which they run, traced from one forward pass."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from eden import _core
from eden.costs.planes import whole_operands
from eden.faults.faulty_layers import faulty_layers
from eden.faults.forward import Arguments, ForwardFn, call, most_by_place
from eden.faults.layers import base_of, layer_class, stored
from eden.faults.memories import operands
from eden.faults.network import evaluating
from eden.faults.reliable import clean
from eden.memory.storage import STORAGE_BITS, stored_bytes

Pair = tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """A layer as a convolution over channels-last maps. A matrix product has one sample per row, of 1 by 1."""

    groups: int
    samples: int
    channels: int
    """Of one group."""
    size: Pair
    """Height and width of the input, without padding."""
    filters: int
    """Of one group."""
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def core(self, batch: int = 1) -> _core.ConvolutionShape:
        """One group, with so many times the samples."""
        return _core.ConvolutionShape(
            self.samples * batch,
            self.channels,
            self.size,
            self.filters,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
        )


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer in a forward pass of one sample."""

    layer: str
    inputs: tuple[str, ...]
    """Names of the feature maps that it reads."""
    weights: tuple[str, ...]
    loops: Convolution | None
    """None: a layer that is not counted by its loops."""
    looped: frozenset[str] = frozenset()
    """The operands that the loops speak of; others, such as a bias, are read once."""
    new: tuple[str, ...] = ()
    """Of its inputs, those that were written since a layer read them: a layer that reads one again reads a new map."""


@dataclass(frozen=True)
class StoredOperand:
    """An operand in memory."""

    kind: Literal["weight", "input"]
    bytes: int
    """Of an input, one sample's."""
    bits: int
    """Of one element."""


@dataclass(frozen=True)
class Workload:
    """The calls of a forward pass of one sample, in order, and the operands that they read."""

    calls: tuple[LayerCall, ...]
    operands: dict[str, StoredOperand]
    unread: frozenset[str] = frozenset()
    """The operands under faults that no call read; of a network without faults the layers that were not called."""


def _padding(layer: Any) -> tuple[int, ...]:
    if layer.padding == "valid":
        return (0,) * len(layer.kernel_size)
    if layer.padding == "same":
        # Of an even kernel the map is padded by one more on one side, which reads nothing more.
        return tuple(d * (k - 1) // 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True))
    return tuple(layer.padding)


def _pair(values: Sequence[int], before: int) -> Pair:
    return (before, int(values[0])) if len(values) == 1 else (int(values[0]), int(values[1]))


def _convolution(layer: Any, x: Tensor) -> Convolution | None:
    if isinstance(layer, nn.Linear):
        rows = x.numel() // layer.in_features
        return Convolution(1, rows, layer.in_features, (1, 1), layer.out_features, (1, 1))
    if isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        filters = layer.out_channels // layer.groups * math.prod(layer.kernel_size)
        pixels = x.numel() // layer.in_channels
        return Convolution(layer.groups, pixels, layer.in_channels // layer.groups, (1, 1), filters, (1, 1))
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        dims = len(layer.kernel_size)
        return Convolution(
            layer.groups,
            x.shape[0] if x.dim() == dims + 2 else 1,
            layer.in_channels // layer.groups,
            _pair(x.shape[-dims:], 1),
            layer.out_channels // layer.groups,
            _pair(layer.kernel_size, 1),
            _pair(layer.stride, 1),
            _pair(_padding(layer), 0),
            _pair(layer.dilation, 1),
        )
    return None


def _stored(kind: Any, elements: int, storage: str) -> StoredOperand:
    return StoredOperand(kind, stored_bytes(storage, elements), STORAGE_BITS[storage])


class _Trace:
    """Gathers the calls of a forward pass by hooks on the layers."""

    def __init__(self, model: nn.Module, storage: str) -> None:
        self.calls: list[LayerCall] = []
        self.operands: dict[str, StoredOperand] = {}
        self._storage = storage
        self._names: dict[int, str] = {}  # by the id of a tensor that is kept
        self._readers: dict[str, set[str]] = {}  # by feature map, the layers that read it as it is now
        self._kept: list[Any] = []
        self._layers: list[str] = []
        self._faulty = {id(layer): name for name, layer in faulty_layers(model).items()}
        if self._faulty:
            # Layers read whole words, whatever planes these lie in.
            words = {info.operand: info.storage for info in operands(model).values()}
            for name, info in whole_operands(operands(model)).items():
                if info.bytes is None:
                    raise ValueError(f"operand {name}: its size is not known yet; run calibrate_ on the model first")
                self.operands[name] = StoredOperand(
                    "weight" if info.kind == "weight" else "input", info.bytes, STORAGE_BITS[words[name]]
                )

    def hooks(self, model: nn.Module) -> list[Any]:
        found = []
        for name, layer in model.named_modules():
            watched = id(layer) in self._faulty if self._faulty else self._simple(name, layer)
            if watched:
                self._layers.append(name)
                found.append(layer.register_forward_hook(self._hook(name)))
        return found

    def workload(self) -> Workload:
        """What was gathered."""
        read = {name for call in self.calls for name in (*call.inputs, *call.weights)}
        of = {name: info for name, info in self.operands.items() if name in read}
        unread = (
            self.operands.keys() - read if self._faulty else set(self._layers) - {call.layer for call in self.calls}
        )
        return Workload(tuple(self.calls), of, frozenset(unread))

    def _simple(self, name: str, layer: nn.Module) -> bool:
        """Whether a layer of a network without faults has operands. Raises ValueError for one that cannot be traced."""
        if base_of(layer) is None:
            return False
        roles = [role.name for role in layer_class(layer).roles(layer) if role.part in ("weight", "input")]
        if roles and roles != ["weight", "input"]:
            raise ValueError(
                f"layer {name} is of {type(layer).__name__}, whose operands are {', '.join(roles)}; allowed without "
                "faults are layers with a weight and an input: call inject_ and calibrate_ first"
            )
        return bool(roles)

    def _hook(self, name: str) -> Any:
        def hook(layer: Any, args: tuple[Any, ...], output: Any) -> None:
            x = args[0] if args and isinstance(args[0], Tensor) else None
            if x is not None and x.numel() == 0:  # behind a closed gate
                return
            found = self._of_faulty(layer) if self._faulty else self._of_plain(name, layer, x)
            loops = None if x is None else _convolution(layer, x)
            of_kind = {
                kind: tuple(dict.fromkeys(operand for operand, of, _ in found if of == kind))
                for kind in ("input", "weight")
            }
            looped = frozenset(operand for operand, _, role in found if role in ("input", "weight"))
            new = tuple(operand for operand in of_kind["input"] if self._is_new(operand, name))
            self.calls.append(LayerCall(name, of_kind["input"], of_kind["weight"], loops, looped, new))

        return hook

    def _is_new(self, operand: str, layer: str) -> bool:
        readers = self._readers.setdefault(operand, set())
        new = not readers or layer in readers
        if new:
            readers.clear()
        readers.add(layer)
        return new

    def _of_faulty(self, layer: Any) -> list[tuple[str, str, str]]:
        found = [(operand.name, operand.kind, operand.role.name) for operand in layer.eden_faults.operands()]
        functions = layer.__dict__.get("eden_functions")
        for owner, *_ in () if functions is None else functions.owners:
            # Its functions read what layers hold that need not be called.
            if id(owner) in self._faulty:
                found += [(each.name, each.kind, "") for each in owner.eden_faults.operands()]
        return found

    def _of_plain(self, name: str, layer: Any, x: Tensor | None) -> list[tuple[str, str, str]]:
        if x is None:
            raise ValueError(f"layer {name} was called without a tensor as its first argument; allowed is one")
        prefix = f"{name}." if name else ""
        weight = self._named(stored(layer, "weight"), f"{prefix}weight", "weight")
        return [(weight, "weight", "weight"), (self._named(x, f"{prefix}input", "input"), "input", "input")]

    def _named(self, tensor: Tensor, name: str, kind: str) -> str:
        """The operand that a tensor is: that of the first layer that reads it."""
        if id(tensor) not in self._names:
            self._kept.append(tensor)  # so that its id stays its own
            self._names[id(tensor)] = name
            self.operands[name] = _stored(kind, tensor.numel(), self._storage)
        return self._names[id(tensor)]


def trace(
    model: nn.Module,
    inputs: Tensor | Mapping[str, Tensor] | Sequence[Any] | Arguments,
    storage: str = "float32",
    forward_fn: ForwardFn | None = None,
) -> Workload:
    """Trace one forward pass of one sample.

    Args:
        model: a network after ``inject_`` and ``calibrate_``, traced on reliable memory; or one without faults, also
            on the meta device, where no weights are needed.
        inputs: one sample with its batch dimension, shape (1, ...); a tuple or a dictionary holds the arguments, or
            they are ``Arguments``.
        storage: of a network without faults, the form in which the memory keeps weights and maps.
        forward_fn: runs the network on ``inputs``, whatever they are then.

    Raises:
        ValueError: for more than one sample, an unknown storage, a network without layers that read operands, and
            layers whose operands cannot be told.

    """
    if storage not in STORAGE_BITS:
        raise ValueError(f"storage is {storage!r}; allowed are {', '.join(map(repr, STORAGE_BITS))}")
    if isinstance(inputs, Tensor) and (inputs.dim() == 0 or inputs.shape[0] != 1):
        raise ValueError(f"inputs has the shape {tuple(inputs.shape)}; allowed is one sample, (1, ...)")
    watch = _Trace(model, storage)
    hooks = watch.hooks(model)
    if not hooks:
        raise ValueError(f"{type(model).__name__} has no layer with a weight and an input; allowed is one or more")
    try:
        reliable = clean(model) if faulty_layers(model) else contextlib.nullcontext()
        with evaluating(model), torch.no_grad(), reliable:
            if forward_fn is not None or isinstance(inputs, Arguments):
                call(model, inputs, forward_fn)
            elif isinstance(inputs, Tensor):
                model(inputs)
            elif isinstance(inputs, Mapping) or len(inputs) > most_by_place(model):
                call(model, inputs)
            else:
                model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return watch.workload()
