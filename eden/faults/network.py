"""What is asked of any network: the one inside of its wrappers, its device, its input in a batch."""

from __future__ import annotations

import itertools
from typing import Any, cast

import torch
from torch import nn


def bare(model: nn.Module) -> nn.Module:
    """The network itself inside of what torch.compile, DataParallel and DistributedDataParallel make of it."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = cast(nn.Module, model._orig_mod)
        else:
            return model


def model_input(batch: Any) -> Any:
    """The network's input in a batch of a loader: the batch itself, or the first of a tuple or list."""
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def model_device(model: nn.Module) -> torch.device:
    """The device of a network's first Parameter or buffer; the CPU for a network without any."""
    tensor = next(itertools.chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device
