"""Where a forward pass first meets a value that is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
import torch.utils.data
from torch import Tensor, nn

from eden.common.torch_internals import TorchDispatchMode
from eden.faults.faulty_layers import layer_operands
from eden.faults.operand import Operand
from eden.memory.errors import ErrorModel

_GROWN = 10.0  # a read is told of where its largest magnitude is so many times that of what is stored


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the first operation that makes a value which is not finite out of finite ones."""

    def __init__(self, regions: dict[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.regions = regions
        self.layers: list[str] = []
        self.found: str | None = None
        self.grown: tuple[float, str] = 0.0, ""  # of the reads before: the one that made the most of what is stored

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.found is None:
            inside = self.layers[-1] if self.layers else ""
            read = [self.regions[id(one)] for one in args if isinstance(one, Tensor) and id(one) in self.regions]
            if not read and str(func).startswith("eden.corrupt"):  # single rows of a table
                read = [f"an operand of {inside}"]
            if not all_finite(result):
                if read:
                    self.found = f"the read of {read[0]}"
                else:
                    self.found = f"the output of {inside} ({func})" if inside else f"the loss ({func})"
            elif read and isinstance(args[0], Tensor):
                self._note(read[0], args[0], result[0] if isinstance(result, tuple) else result)
        return result

    def _note(self, operand: str, stored: Tensor, read: Tensor) -> None:
        if stored.numel() == 0:
            return
        before, after = float(stored.abs().max()), float(read.abs().max())
        grown = after / max(before, torch.finfo(torch.float32).tiny)
        if grown > max(self.grown[0], _GROWN):
            self.grown = grown, f"after the read of {operand} made {after:.3g} of at most {before:.3g}"


def all_finite(value: Any) -> bool:
    """Whether all floating-point tensors of a nested value are finite."""
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value.float()).all())
    return all(all_finite(one) for one in value) if isinstance(value, (list, tuple)) else True


def _named(operand: Operand) -> str:
    rate = f" (BER {operand.errors.ber:.3g})" if isinstance(operand.errors, ErrorModel) else ""
    return f"{operand.name}{rate}"


def first_not_finite(model: nn.Module, forward: Callable[[], Any]) -> str | None:
    """Where a forward pass first meets a value that is not finite: a Parameter, an operand's read, or a layer's output.

    Masks of minus infinity, as attention uses them, count too, so call it where the loss is not finite.

    Args:
        model: the network, not the compiled form of it.
        forward: runs the pass, which is repeated without gradients, on the chip and at the access numbers of the
            network as it is.

    Returns:
        Words for an error message, with the read before it, if any, that gave far larger values than are stored, which
        are what overflows later on; None if every value is finite.
    """
    found, (_, read) = watched_pass(model, forward)
    return found if found is None or not read else f"{found}, {read}"


def watched_pass(model: nn.Module, forward: Callable[[], Any]) -> tuple[str | None, tuple[float, str]]:
    """Where a value is first not finite, and by how much which read before it grew what is stored."""
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if "eden_" not in name and not all_finite(value):
            return f"the stored {name} itself", (0.0, "")
    regions = {id(getattr(layer, operand.buffers.region)): _named(operand) for layer, operand in layer_operands(model)}
    watch = _Watch(regions)
    hooks = []
    for name, module in model.named_modules():
        label = name or type(module).__name__

        def enter(*_: Any, label: str = label) -> None:
            watch.layers.append(label)

        def leave(*_: Any) -> None:
            watch.layers.pop()

        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with torch.no_grad(), watch:
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return watch.found, watch.grown
