"""Whether operands under faults are read through their memory: what every step that speaks of accuracy asks.

Two things are looked at. The access numbers of the layers, which the layers themselves advance where they lie, tell in
every pass which layers were called: in eager mode, compiled, and inside of wrappers. One pass of a step is watched
besides, operator by operator and not compiled: it tells which operands a called layer reads from their regions, and
whether an operator elsewhere is given the values of an operand, past its memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eden.common.torch_internals import StorageKey, TorchDispatchMode, eager
from eden.faults.chips import accesses
from eden.faults.faulty_layers import FaultyLayer, faulty_layers
from eden.faults.operand import Operand
from eden.faults.watch import tensors_in


class Reads:
    """What was read of a network's operands in the passes of a step.

    Args:
        model: a network, under faults or not.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = faulty_layers(model)
        self._watch: _Watch | None = None
        self._before: Tensor | None = None
        self._passes = 0
        self._last: dict[str, int] = {}  # by layer, the number of the latest pass that called it

    @property
    def watched(self) -> bool:
        """Whether a pass was watched already."""
        return self._watch is not None

    def call(self, forward: Callable[..., Any], *inputs: Any) -> Any:
        """A forward pass, the first one watched: its outputs are the same, to the rounding of a compiler."""
        if self.watched or not self._layers:
            return forward(*inputs)
        self._watch = _Watch(self._layers)
        with self._watch.on(), eager():
            return forward(*inputs)

    def begin(self) -> None:
        """A pass begins that is to be counted: over all samples, or one observation."""
        self._before = self._accesses()

    def end(self) -> None:
        """It has ended, access numbers not having been set back meanwhile."""
        if self._before is None or not self._layers:
            return
        # One number for all layers is waited for, on a GPU too.
        advanced = (self._accesses() - self._before).sum(1).tolist()
        self._passes += 1
        self._last |= {name: self._passes for name, by in zip(self._layers, advanced, strict=True) if by}

    def forget(self) -> None:
        """Count passes anew; what the watched one showed is kept."""
        self._passes, self._last = 0, {}

    def check(self) -> None:
        """Raise ValueError for operands with an error model that were not read through their memory.

        Each is to be read by a layer that was called after the first half of the passes that were counted: one that is
        called for some samples alone is, and one whose outcome is kept from the first pass on is not.
        """
        readers: dict[str, list[tuple[str, Operand]]] = {}
        for name, layer in self._layers.items():
            for operand in layer.eden_faults.operands():
                if operand.faulty:
                    readers.setdefault(operand.name, []).append((name, operand))
        unread = [
            name
            for name, own in readers.items()
            if self._passes and not any(2 * self._last.get(layer, 0) > self._passes for layer, _ in own)
        ]
        if self._watch is not None:
            seen = self._watch
            unread += [
                name
                for name, own in readers.items()
                if name not in unread
                and name not in seen.read
                and any(layer in seen.called and not operand.role.optional for layer, operand in own)
            ]
            past = [f"{name} (by {seen.past[name]})" for name in readers if name in seen.past and name not in unread]
            if past and not unread:
                raise ValueError(
                    f"{', '.join(past)}: read in a forward pass past the memory that makes errors, outside of any "
                    "layer that reads it from there, so nothing can be said of what it stands; read it in such a "
                    "layer, or leave it out with inject_'s filter_fn"
                )
        if unread:
            raise ValueError(
                f"{', '.join(unread)}: never read in a forward pass through the memory that makes errors, so nothing "
                "can be said of what they stand; leave them out with inject_'s filter_fn"
            )

    def _accesses(self) -> Tensor:
        """int64 [layers, 2] on the device of the first layer."""
        buffers = [held for layer in self._layers.values() for held in (layer.eden_access, layer.eden_training_access)]
        if not buffers:
            return torch.zeros(0, 2, dtype=torch.int64, device="cpu")
        return torch.stack([held.to(buffers[0].device) for held in buffers]).reshape(-1, 2)


def reads_of(model: nn.Module) -> dict[str, tuple[int, int, int]]:
    """By layer, how often it was called in training and in evaluation, and how often these numbers were set back."""
    resets = {name: layer.eden_faults.resets for name, layer in faulty_layers(model).items()}
    return {name: (training, evaluation, resets[name]) for name, (training, evaluation) in accesses(model).items()}


def reads_since(model: nn.Module, before: Mapping[str, tuple[int, int, int]]) -> dict[str, tuple[bool, bool]]:
    """By layer, whether it was called in training and in evaluation since ``reads_of`` gave ``before``."""
    found = {}
    for name, (training, evaluation, resets) in reads_of(model).items():
        was = before.get(name, (0, 0, -1))
        since = (0, 0) if resets != was[2] else was[:2]
        found[name] = training != since[0], evaluation != since[1]
    return found


def _place(tensor: Tensor) -> int:
    """Where a tensor's values are, the same of all its views; 0 for one without memory of its own."""
    key = StorageKey.of(tensor)
    return 0 if key is None else key.number


def _held(layer: nn.Module, operand: Operand) -> list[Tensor]:
    """What a weight is stored in: its Parameter or buffer, or those that a parametrization makes it of."""
    path, _, name = operand.role.name.rpartition(".")
    owner = layer.get_submodule(path)
    found: Tensor | None = owner._parameters.get(name)
    found = owner._buffers.get(name) if found is None else found
    if found is not None:
        return [found]
    made = getattr(owner, "parametrizations", None)
    return list(made[name].parameters()) if isinstance(made, nn.ModuleDict) and name in made else []


def _looks_only(function: Any) -> bool:
    """Whether an operator reads no value of its tensors: a view of one, or a new tensor of its form."""
    name = function.__name__.partition(".")[0]
    if name.startswith("new_") or name.endswith("_like"):
        return True
    returns = function._schema.returns
    return bool(returns) and all(one.alias_info is not None and not one.alias_info.is_write for one in returns)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees what operators are given in a pass; layers under faults ask it for outputs, so it knows which compute."""

    def __init__(self, layers: dict[str, FaultyLayer]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.called: set[str] = set()
        self.read: set[str] = set()
        self.past: dict[str, str] = {}
        self._layers = layers
        self._name_of = {id(layer): name for name, layer in layers.items()}
        self._inside: list[FaultyLayer] = []
        self._regions: dict[int, tuple[int, str]] = {}  # by place: layer and operand
        self._stored: dict[int, list[tuple[int, str]]] = {}
        self._kept: list[Tensor] = []  # what lies there, so that nothing else comes to lie there
        for layer in layers.values():
            for operand in layer.eden_faults.operands():
                region = layer._buffers[operand.buffers.region]
                assert region is not None
                self._regions[_place(region)] = id(layer), operand.name
                self._kept.append(region)
                if operand.kind == "weight" and operand.faulty:
                    for held in _held(layer, operand):
                        self._stored.setdefault(_place(held), []).append((id(layer), operand.name))
                        self._kept.append(held)
        self._stored.pop(0, None)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watch for a moment."""
        before = {name: layer.eden_faults.reuse for name, layer in self._layers.items()}
        try:
            for layer in self._layers.values():
                layer.eden_faults.reuse = self
            with self:
                yield
        finally:
            for name, layer in self._layers.items():
                layer.eden_faults.reuse = before[name]
            self._kept.clear()

    def output(self, layer: FaultyLayer, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """What a layer computes."""
        self.called.add(self._name_of[id(layer)])
        self._inside.append(layer)
        try:
            return layer.eden_forward(*args, **options)
        finally:
            self._inside.pop()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        inside = {id(layer) for layer in self._inside}
        for layer in self._inside:  # whose functions read what other layers hold
            functions = layer.__dict__.get("eden_functions")
            inside |= set() if functions is None else {id(owner) for owner, *_ in functions.owners}
        for tensor in tensors_in((args, options)):
            place = _place(tensor)
            reader, name = self._regions.get(place, (0, ""))
            if reader in inside:
                self.read.add(name)
            readers = self._stored.get(place)
            if readers and not any(reader in inside for reader, _ in readers) and not _looks_only(function):
                for _, name in readers:
                    self.past.setdefault(name, function.__name__)
        return function(*args, **options)
