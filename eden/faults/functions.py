"""What a network does with tensors outside of its layers, found by watching one forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from eden.faults.layers import base_of
from eden.faults.network import call, evaluating, looking
from eden.faults.reliable import clean

_WHAT = {
    "add": "a sum of feature maps",
    "sub": "a difference of feature maps",
    "mul": "a product of feature maps, element by element",
    "cat": "a concatenation",
    "concat": "a concatenation",
    "stack": "a concatenation",
    "matmul": "a matrix product",
    "bmm": "a matrix product",
    "einsum": "a matrix product",
    "linear": "a matrix product",
    "scaled_dot_product_attention": "the matrix products of attention",
    "multi_head_attention_forward": "attention",
}
# Python's operators by the name of the function that they are.
_OPERATORS = {f"__{prefix}{name}__": name for prefix in ("r", "i") for name in ("add", "sub", "mul", "matmul")}


@dataclasses.dataclass(frozen=True)
class FunctionUse:
    """The calls of one function in one module, outside of layers.

    Attributes:
        module: name of the module in whose ``forward`` it is called.
        module_type: class of that module.
        function: name of the function, such as "add".
        what: what that is, in words.
        calls: how often it was called.
        feature_maps: most floating-point tensors that one call read and that are no parameters or buffers.
        parameters: names of the parameters and buffers that it read.
    """

    module: str
    module_type: str
    function: str
    what: str
    calls: int
    feature_maps: int
    parameters: tuple[str, ...]


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(tuple(value.values()))


class _Watch(TorchFunctionMode):
    """Notes which functions read what while no layer computes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._names = {id(module): name for name, module in model.named_modules()}
        stored = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        self._stored = {id(tensor): name for name, tensor in stored}
        self._held: list[Tensor] = []
        self._inside: list[nn.Module] = []
        self.found: dict[tuple[str, str], FunctionUse] = {}

    def enter(self, module: nn.Module, inputs: Any) -> None:
        self._inside.append(module)

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._inside.pop()

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # A layer of a known class has rows of its own, whether faults reach it or not.
        if self._inside and not any(base_of(module) is not None for module in self._inside):
            only = self._note(function, args, kwargs or {})
            result = function(*args, **(kwargs or {}))
            # A view of a parameter is that parameter still; held, so that no id is given out twice.
            if only is not None:
                for x in tensors_in(result):
                    self._stored[id(x)] = only
                    self._held.append(x)
            return result
        return function(*args, **(kwargs or {}))

    def _note(self, function: Callable[..., Any], args: Any, kwargs: Any) -> str | None:
        """Notes a call; the parameter that it read, where it read nothing else."""
        module = self._inside[-1]
        name = getattr(function, "__name__", "")
        if name in ("__get__", "__set__", "size", "dim", "detach", "numel"):
            return None
        name = _OPERATORS.get(name, name.strip("_"))
        read = {id(x): x for x in tensors_in((args, kwargs)) if x.is_floating_point()}
        parameters = tuple(self._stored[key] for key in read if key in self._stored)
        maps = len(read) - len(parameters)
        if type(module).__module__.startswith("torch.nn."):  # what torch's own layers store is named by their class
            parameters = ()
        if maps < 2 and not parameters:
            return None
        place = self._names.get(id(module), type(module).__name__)
        before = self.found.get((place, name))
        self.found[place, name] = FunctionUse(
            place,
            type(module).__name__,
            name,
            _WHAT.get(name, f"a function of several tensors ({resolve_name(function) or name})"),
            1 if before is None else before.calls + 1,
            maps if before is None else max(before.feature_maps, maps),
            parameters if before is None else tuple(dict.fromkeys((*before.parameters, *parameters))),
        )
        return parameters[0] if len(read) == 1 and parameters else None


def function_uses(model: nn.Module, sample: Any) -> list[FunctionUse]:
    """The functions that read parameters, or several feature maps, outside of layers, in the order of their first call.

    Args:
        model: a network under faults; nothing of it is changed.
        sample: an input of the network.
    """
    watch = _Watch(model)
    handles = [
        nn.modules.module.register_module_forward_pre_hook(watch.enter),
        nn.modules.module.register_module_forward_hook(watch.leave, always_call=True),
    ]
    try:
        with evaluating(model), looking(), clean(model), watch:
            call(model, sample)
    finally:
        for handle in handles:
            handle.remove()
    return list(watch.found.values())
