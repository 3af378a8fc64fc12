"""How a network is run on what a loader yields, as its own loop would."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.nn.utils.rnn import PackedSequence

from eden.faults.classes import original_class
from eden.faults.faulty_layers import FaultyLayer
from eden.faults.network import bare, model_device
from eden.faults.samples import map_tensors

ForwardFn = Callable[[nn.Module, Any], Any]
"""A network and a batch of a loader, on the network's device, to the network's output."""

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _parameters(model: nn.Module) -> list[inspect.Parameter]:
    model = bare(model)
    cls = original_class(type(model)) if isinstance(model, FaultyLayer) else type(model)
    own = model.__dict__.get("forward")
    found = inspect.signature(own if own is not None else cls.forward).parameters.values()
    return list(found) if own is not None else list(found)[1:]


def _keywords(parameters: list[inspect.Parameter], batch: Mapping[Any, Any]) -> dict[str, Any] | None:
    """What of a mapping a network takes by name; None where it lacks what the network needs."""
    kinds = {parameter.name: parameter.kind for parameter in parameters}
    needed = {each.name for each in parameters if each.default is each.empty and each.kind in _BY_PLACE}
    needed |= {each.name for each in parameters if each.default is each.empty and each.kind is each.KEYWORD_ONLY}
    if not needed <= set(batch):
        return None
    rest = inspect.Parameter.VAR_KEYWORD in kinds.values()
    named = {key: value for key, value in batch.items() if rest or key in kinds}
    return named or None


def arguments_of(model: nn.Module, batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a network for a batch of a loader, by place and by name.

    A tensor is the input. Of a mapping the network gets, by name, what its ``forward`` takes, labels included (Hugging
    Face); a mapping without what it needs is its one argument. Of a tuple or list it gets the first item, (input,
    target), or as many as ``forward`` has arguments without a default; an item that holds all of them is unpacked.

    Raises:
        ValueError: for a tuple of fewer items than the network has arguments without a default.
    """
    parameters = _parameters(model)
    if isinstance(batch, (tuple, list)) and not isinstance(batch, PackedSequence):
        needed = sum(each.default is each.empty and each.kind in _BY_PLACE for each in parameters)
        if len(batch) == 0:
            raise ValueError("a batch of the loader has no items; allowed is an input, or a tuple that begins with it")
        if needed < 2:
            batch = batch[0]
        elif isinstance(batch[0], (tuple, list)) and len(batch[0]) >= needed:
            return tuple(batch[0]), {}
        elif isinstance(batch[0], Mapping):
            batch = batch[0]
        elif len(batch) < needed:
            raise ValueError(
                f"a batch of the loader has {len(batch)} items; allowed for {type(bare(model)).__name__}, whose "
                f"forward has {needed} arguments without a default, are {needed} or more, or say with forward_fn how "
                "the network is run"
            )
        else:
            return tuple(batch[:needed]), {}
    if isinstance(batch, Mapping):
        named = _keywords(parameters, batch)
        if named is not None:
            return (), named
    return (batch,), {}


def call(model: nn.Module, batch: Any, forward_fn: ForwardFn | None = None) -> Any:
    """A network's output for a batch of a loader, whose tensors are moved to the network's device.

    Args:
        model: the network.
        batch: what the loader yields.
        forward_fn: what runs the network on it; None for ``arguments_of``.
    """
    device = model_device(model)
    batch = map_tensors(batch, lambda tensor: tensor.to(device))
    if forward_fn is not None:
        return forward_fn(model, batch)
    args, named = arguments_of(model, batch)
    return model(*args, **named)
