"""Reliable memory for a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from eden.faults.buffers import write_region
from eden.faults.faulty_layers import faulty_layers, require_faults


def refuse_inside_clean(model: nn.Module, what: str) -> None:
    """Raise ValueError if a network is on reliable memory for a moment, ``what`` being what was called there."""
    if any(layer.eden_faults.reliable for layer in faulty_layers(model).values()):
        raise ValueError(f"{type(model).__name__} is on reliable memory; call {what} outside of eden.clean")


@contextlib.contextmanager
def clean(model: nn.Module) -> Iterator[nn.Module]:
    """Reliable memory for a moment: no flips and no correction, the same storage; access numbers do not advance.

    Raises:
        ValueError: if the network has no layer under faults.
    """
    layers = require_faults(model)
    accesses = [(layer.eden_access.clone(), layer.eden_training_access.clone()) for layer in layers.values()]
    for layer in layers.values():
        layer.eden_faults.reliable += 1
        for operand in layer.eden_faults.by_role.values():
            write_region(layer, operand)
    try:
        yield model
    finally:
        for layer, (access, training_access) in zip(layers.values(), accesses, strict=True):
            layer.eden_faults.reliable -= 1
            layer.eden_access.copy_(access)
            layer.eden_training_access.copy_(training_access)
            for operand in layer.eden_faults.by_role.values():
                write_region(layer, operand)
