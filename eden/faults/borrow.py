"""A user's network for a moment, given back as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from eden.faults.chips import chip, set_chip_
from eden.faults.faulty_layers import faulty_layers
from eden.faults.memories import operands, set_errors_
from eden.faults.network import evaluating


@contextlib.contextmanager
def borrowed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a moment; mode, error models, chip and access numbers come back also after an error."""
    errors = {name: info.errors for name, info in operands(model).items()}
    seed = chip(model)
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    resets = [(layer.eden_faults, layer.eden_faults.resets) for layer in faulty_layers(model).values()]
    try:
        with evaluating(model):
            yield
    finally:
        set_errors_(model, errors)
        set_chip_(model, seed)
        with torch.no_grad():
            for buffer, saved in buffers:
                buffer.copy_(saved)
        for faults, count in resets:
            faults.resets = count
