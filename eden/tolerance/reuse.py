"""Outputs of layers that are the same in trial after trial: kept once, and handed out instead of being computed.

While each operand is raised alone, the others stay at one rate, and the same few chips and samples come again. So every
layer that is called before the raised operand is read does what it did before. Its output is taken from what was kept
where its inputs, rates, chip, access number and parameters are the same, bit for bit; nothing else of the network is
left out, so whatever it computes between its layers, keeps or counts stays as it is.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from eden.faults.faulty_layers import faulty_layers
from eden.faults.samples import map_tensors

if TYPE_CHECKING:
    from eden.faults.faulty_layers import FaultyLayer

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PLAIN = (type(None), bool, int, float, str, torch.dtype)
_MOST_MISSES = 8


def _same(one: Any, other: Any) -> bool:
    """Whether two nested values are equal, tensors to the bit, their layout included."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if (one.dtype, one.shape, one.stride(), one.device) != (
            *(other.dtype, other.shape, other.stride(), other.device),
        ):
            return False
        if one.is_floating_point():
            # Zeros of either sign differ in what is stored, and a NaN equals itself.
            bits = _INTEGERS[one.element_size()]
            one, other = one.view(bits), other.view(bits)
        return torch.equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(itertools.starmap(_same, zip(one, other, strict=True)))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    return bool(one == other)


def _leaves(value: Any) -> Iterator[Any]:
    if type(value) in (tuple, list) or hasattr(value, "_fields"):
        for item in value:
            yield from _leaves(item)
    elif type(value) is dict:
        for item in value.values():
            yield from _leaves(item)
    else:
        yield value


def _keepable(inputs: Any, output: Any) -> bool:
    """Whether a copy of a layer's output stands for it: nothing unknown, and no memory shared with anything."""
    places: set[int] = set()
    for leaf in itertools.chain(_leaves(inputs), _leaves(output)):
        if not isinstance(leaf, Tensor):
            if not isinstance(leaf, _PLAIN):
                return False
        elif leaf.layout != torch.strided or leaf.is_complex() or leaf.is_quantized:
            return False
    for leaf in _leaves(inputs):
        if isinstance(leaf, Tensor):
            places.add(leaf.untyped_storage().data_ptr())
    for leaf in _leaves(output):
        if isinstance(leaf, Tensor):
            place = leaf.untyped_storage().data_ptr()
            if place in places:
                return False
            places.add(place)
    return True


def _bytes(value: Any) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in _leaves(value) if isinstance(leaf, Tensor))


def _copy(value: Any) -> Any:
    # Layers that write in place behind this one must not write into what is kept.
    return map_tensors(value, torch.clone)


def _versions(layer: nn.Module) -> tuple[tuple[int, int], ...] | None:
    """What changes when a parameter or buffer is written to or exchanged; None where that cannot be told."""
    own = (buffer for name, buffer in layer.named_buffers() if not name.rpartition(".")[2].startswith("eden_"))
    tensors = list(itertools.chain(layer.parameters(), own))
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return tuple((id(tensor), tensor._version) for tensor in tensors)


@dataclasses.dataclass
class _Kept:
    rates: tuple[float, ...]  # of the layer's operands
    versions: tuple[tuple[int, int], ...]
    inputs: Any
    output: Any


class Reuse:
    """Keeps outputs of a network's layers under faults; while it is on, they ask it for theirs.

    Args:
        model: the network, in evaluation mode. One that is compiled, or whose functions read operands, computes
            everything.
        names: its operands that have rates, in the order in which rates are given.
        most_bytes: of inputs and outputs, that are kept.

    Attributes:
        calls: calls of layers under faults since it was made.
        reused: those of them that were not computed.
    """

    def __init__(self, model: nn.Module, names: list[str], most_bytes: int) -> None:
        self.calls = self.reused = 0
        layers = list(faulty_layers(model).values())
        compiled = any(
            hasattr(module, "_orig_mod") or module._compiled_call_impl is not None for module in model.modules()
        )
        # A module whose functions read operands holds layers with operands of their own.
        nested = any("eden_functions" in layer.__dict__ for layer in layers)
        self._layers: dict[int, FaultyLayer] = {} if compiled or nested else {id(layer): layer for layer in layers}
        self._operands = {
            id(layer): [
                names.index(place.name)
                for operand in layer.eden_faults.operands()
                for place in operand.places
                if place.name in names
            ]
            for layer in layers
        }
        self._most_bytes = most_bytes
        self._kept: dict[tuple[int, ...], _Kept] = {}
        self._held = self._misses = 0
        self._key: tuple[int, ...] | None = None
        self._rates: list[float] = []
        self._raised: int | None = None
        self._accesses: dict[int, int] = {}
        self._before = False

    def __enter__(self) -> Reuse:
        for layer in self._layers.values():
            layer.eden_faults.reuse = self
        return self

    def __exit__(self, *error: object) -> None:
        for layer in self._layers.values():
            layer.eden_faults.reuse = None
        self.clear()

    def clear(self) -> None:
        """Forget everything that was kept."""
        self._kept.clear()
        self._held, self._key = 0, None

    def begin_trial(self, chip: int, draw_seed: int, rates: list[float], raised: int | None) -> None:
        """A trial begins, access numbers being 0: with operand ``raised`` above the rate of all others, or None."""
        self._accesses = {}
        self._rates, self._raised = rates, raised
        if raised is None:
            self.clear()  # the phase is over
        useful = raised is not None and self._most_bytes > 0 and self._misses < _MOST_MISSES
        self._key = (chip, draw_seed) if useful else None

    def begin_forward(self) -> None:
        """A forward pass begins."""
        self._before = self._key is not None

    def output(self, layer: FaultyLayer, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """What a layer makes of its inputs."""
        self.calls += 1
        identity = id(layer)
        access = self._accesses.get(identity, 0)
        self._accesses[identity] = access + 1
        if not self._before or self._key is None:
            return layer.eden_forward(*args, **options)
        if self._raised in self._operands[identity]:
            # From here on everything may differ.
            self._before = False
            return layer.eden_forward(*args, **options)
        key = (*self._key, identity, access)
        inputs = (args, dict(options))
        rates = tuple(self._rates[operand] for operand in self._operands[identity])
        versions = _versions(layer)
        found = self._kept.get(key)
        if found is not None:
            if versions == found.versions and rates == found.rates and _same(inputs, found.inputs):
                self.reused += 1
                return _copy(found.output)
            # This network does not do the same each time. Nothing is wrong by that, but little is to be won.
            self._misses += 1
            self._before = False
            return layer.eden_forward(*args, **options)
        output = layer.eden_forward(*args, **options)
        size = _bytes(inputs) + _bytes(output)
        room = self._held + size <= self._most_bytes
        if room and versions is not None and versions == _versions(layer) and _keepable(inputs, output):
            self._held += size
            self._kept[key] = _Kept(rates, versions, _copy(inputs), _copy(output))
        return output
