"""Reliable memory for a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from eden.faults.buffers import write_regions
from eden.faults.chips import accesses, set_accesses_
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
    before = accesses(model)
    for layer in layers.values():
        layer.eden_faults.reliable += 1
        write_regions(layer)
    try:
        yield model
    finally:
        # Calibration puts what functions read under faults, too.
        layers = require_faults(model)
        set_accesses_(model, {name: before.get(name, [0, 0]) for name in layers})
        for layer in layers.values():
            layer.eden_faults.reliable -= 1
            write_regions(layer)
