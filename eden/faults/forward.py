"""How a network is run on what a loader yields, as its own loop would, and what its output is compared with."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.nn.utils.rnn import PackedSequence

from eden.faults.classes import original_class
from eden.faults.faulty_layers import FaultyLayer
from eden.faults.network import bare, model_device
from eden.faults.samples import moved

ForwardFn = Callable[[nn.Module, Any], Any]
"""A network and a batch of a loader, on the network's device, to the network's output."""

TargetFn = Callable[[Any], Any]
"""A batch of a loader to what the network's output is compared with."""

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_SAY = "say with forward_fn how the network is run"


@functools.lru_cache(maxsize=64)
def _signature(forward: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(forward).parameters.values())


def _parameters(model: nn.Module) -> tuple[inspect.Parameter, ...]:
    model = bare(model)
    own = model.__dict__.get("forward")
    if own is not None:
        return tuple(inspect.signature(own).parameters.values())
    cls = original_class(type(model)) if isinstance(model, FaultyLayer) else type(model)
    return _signature(cls.forward)[1:]


def most_by_place(model: nn.Module) -> float:
    """How many arguments a network takes by place, at most."""
    kinds = [each.kind for each in _parameters(model)]
    return math.inf if inspect.Parameter.VAR_POSITIONAL in kinds else sum(kind in _BY_PLACE for kind in kinds)


def _is_target(name: Any) -> bool:
    """Whether an item of a mapping is what outputs are compared with, as its name says it."""
    return isinstance(name, str) and (
        "label" in name.lower() or name in ("target", "targets", "start_positions", "end_positions")
    )


@dataclasses.dataclass
class Arguments:
    """What a network gets of a batch, and what is left of it.

    Attributes:
        args: by place.
        named: by name.
        left: what it does not get, of a mapping by name, of a tuple by place.
        targets: of a mapping, what its name calls a target, whether the network gets it or not.
    """

    args: tuple[Any, ...]
    named: dict[str, Any] = dataclasses.field(default_factory=dict)
    left: dict[Any, Any] = dataclasses.field(default_factory=dict)
    targets: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module, batch: Any) -> Arguments:
        """Those of a network for a batch of a loader.

        A tensor is the input. Of a mapping, or of an instance of a dataclass, the network gets by name what its
        ``forward`` takes, as Hugging Face's do. Targets, which are items whose name has "label" in it, "target",
        "targets", "start_positions" and "end_positions", it gets only where it needs them: where ``forward`` has no
        default for them, or makes the inputs of a decoder of them (it has ``decoder_input_ids``, which the mapping
        has not). Of a mapping that lacks what the network needs, it gets the one item beside targets; else the mapping
        is its one argument. Of a tuple or list it gets the first item, (input, target), or as many as ``forward`` has
        arguments without a default; an item that holds all of them is unpacked.

        Raises:
            ValueError: for a tuple without items, or of fewer than the network has arguments without a default.
        """
        parameters = _parameters(model)
        needed = [each for each in parameters if each.default is each.empty and each.kind in _BY_PLACE]
        if dataclasses.is_dataclass(batch) and not isinstance(batch, (type, Mapping)):
            batch = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
        if isinstance(batch, Mapping):
            return cls._of_mapping(parameters, batch)
        if not isinstance(batch, (tuple, list)) or isinstance(batch, PackedSequence):
            return cls((batch,))
        if len(batch) == 0:
            raise ValueError("a batch of the loader has no items; allowed is an input, or a tuple that begins with it")
        first, left = batch[0], dict(enumerate(batch))
        if len(needed) >= 2 and isinstance(first, (tuple, list)) and len(first) >= len(needed):
            del left[0]
            return cls(tuple(first), {}, left)
        if isinstance(first, Mapping):
            del left[0]
            found = cls._of_mapping(parameters, first)
            return dataclasses.replace(found, left=left, targets={}) if left else found
        taken = max(1, len(needed))
        if len(batch) < taken:
            raise ValueError(
                f"a batch of the loader has {len(batch)} items; allowed for {type(bare(model)).__name__}, whose "
                f"forward has {taken} arguments without a default, are {taken} or more, or {_SAY}"
            )
        return cls(tuple(batch[:taken]), {}, {place: item for place, item in left.items() if place >= taken})

    @classmethod
    def _of_mapping(cls, parameters: tuple[inspect.Parameter, ...], batch: Mapping[Any, Any]) -> Arguments:
        kinds = {each.name: each.kind for each in parameters if each.kind is not inspect.Parameter.VAR_POSITIONAL}
        needed = {
            each.name
            for each in parameters
            if each.default is each.empty and each.kind in (*_BY_PLACE, inspect.Parameter.KEYWORD_ONLY)
        }
        rest = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD]
        own = kinds.keys() - set(rest)
        decoding = "decoder_input_ids" in own and not {"decoder_input_ids", "decoder_inputs_embeds"} & set(batch)
        targets = {name: item for name, item in batch.items() if _is_target(name)}
        withheld = targets.keys() - needed - ({"labels"} if decoding else set())
        inputs = {name: item for name, item in batch.items() if name not in withheld}
        known = inputs.keys() & own
        if needed <= inputs.keys() and (known or (rest and not own)):
            named = {name: item for name, item in inputs.items() if rest or name in own}
            return cls((), named, {name: item for name, item in batch.items() if name not in named}, targets)
        if targets and len(inputs) == 1 and not _takes_mapping(parameters):
            return cls(tuple(inputs.values()), {}, targets, targets)
        return cls((batch,), {}, {}, targets)

    @property
    def target(self) -> Any:
        """What the network's output is compared with: "labels", what else is called a target, or what is left.

        Raises:
            LookupError: where that cannot be told, saying what there is.
        """
        if "labels" in self.targets:
            return self.targets["labels"]
        found = self.targets or self.left
        if len(found) > 1 and found is self.targets:
            return found
        if len(found) != 1:
            names = ", ".join(map(repr, found))
            raise LookupError(f"{len(found)} of its items are left ({names})" if found else "nothing of it is left")
        return next(iter(found.values()))


def _takes_mapping(parameters: tuple[inspect.Parameter, ...]) -> bool:
    """Whether the first argument of a network is said to be a mapping."""
    said = parameters[0].annotation if parameters else None
    if isinstance(said, str):
        return any(word in said.lower() for word in ("dict", "mapping"))
    origin = typing.get_origin(said) or said
    return isinstance(origin, type) and issubclass(origin, Mapping)


def target_of(
    model: nn.Module, batch: Any, forward_fn: ForwardFn | None, target_fn: TargetFn | None, given: Any = None
) -> Any:
    """What a network's output for a batch is compared with.

    Args:
        model: the network.
        batch: what the loader yields.
        forward_fn: what runs the network on it, of which it is not known what it takes: then the second of a pair, or
            what a mapping calls a target.
        target_fn: what says it; None for ``Arguments``.
        given: the batch's ``Arguments``, where they are known.

    Raises:
        ValueError: where that cannot be told, saying what the batch is and which argument says it.
    """
    if target_fn is not None:
        return target_fn(batch)
    try:
        if forward_fn is None:
            return (Arguments.of(model, batch) if given is None else given).target
        if isinstance(batch, (tuple, list)) and len(batch) == 2 and not isinstance(batch, PackedSequence):
            return batch[1]
        if isinstance(batch, Mapping):
            return Arguments((), {}, {}, {name: item for name, item in batch.items() if _is_target(name)}).target
        raise LookupError("forward_fn takes what it likes of it")
    except LookupError as why:
        raise ValueError(
            f"a batch of the loader is {_form(batch)}, and {why} as the target once {type(bare(model)).__name__} has "
            "its input; allowed are a pair (input, target) and a mapping with 'labels', or say with target_fn(batch) "
            "what outputs are compared with"
        ) from None


def _form(batch: Any) -> str:
    if isinstance(batch, (tuple, list)):
        return f"a {type(batch).__name__} of {len(batch)}"
    if isinstance(batch, Mapping):
        return f"a mapping of {', '.join(map(repr, batch))}"
    shape = f" of shape {tuple(batch.shape)}" if hasattr(batch, "shape") else ""
    return f"a {type(batch).__name__}{shape}"


def call(model: nn.Module, batch: Any, forward_fn: ForwardFn | None = None) -> Any:
    """A network's output for a batch of a loader, whose tensors are moved to the network's device.

    Args:
        model: the network.
        batch: what the loader yields, or its ``Arguments``.
        forward_fn: what runs the network on it; None for ``Arguments``.
    """
    return run(model, moved(batch, model_device(model)), forward_fn)


def run(model: nn.Module, batch: Any, forward_fn: ForwardFn | None) -> Any:
    """The same, of a batch that is on the network's device."""
    if forward_fn is not None:
        return forward_fn(model, batch)
    arguments = batch if isinstance(batch, Arguments) else Arguments.of(model, batch)
    return model(*arguments.args, **arguments.named)
