"""A network and samples that are profiled in a moment: two layers, four classes that are easy to tell apart."""

import dataclasses
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.faults.config import Faults
from eden.memory.errors import ErrorModel

CLASSES, FEATURES, SAMPLES = 4, 16, 200


def make_data() -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(SAMPLES) % CLASSES
    x = torch.randn(SAMPLES, FEATURES, generator=generator) * 0.6
    x[torch.arange(SAMPLES), y] += 2.0
    return TensorDataset(x, y)


def make_network(errors: ErrorModel | None = None) -> nn.Module:
    network = nn.Sequential(nn.Linear(FEATURES, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, CLASSES))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        network[0].weight.copy_(torch.randn(24, FEATURES, generator=generator) * 0.05)
        network[0].bias.zero_()
        network[3].weight.zero_()
        network[3].bias.zero_()
        for index in range(24):  # each class has six detectors
            network[0].weight[index, index % CLASSES] = 1.0
            network[3].weight[index % CLASSES, index] = 1.0
    errors = errors or eden.DataDependent(1e-3, 3e-3, failure=0.5)
    eden.inject_(network, Faults(weights=errors, inputs=errors, storage="int8", seed=5))
    eden.calibrate_(network, loader())
    return network.train()


def loader(batch_size: int = 100) -> DataLoader[Any]:
    return DataLoader(make_data(), batch_size=batch_size)


FAST: dict[str, Any] = {"max_drop": 0.05, "confidence": 0.9, "progress": False}


def told(**options: Any) -> dict[str, Any]:
    """Arguments of ``eden.profile``, from those and from fields of its search and its budget."""
    for kind, name in ((eden.Search, "search"), (eden.Budget, "budget")):
        own = {field.name for field in dataclasses.fields(kind)} & options.keys()
        options[name] = kind(**{field: options.pop(field) for field in own})
    return options


def profile(network: nn.Module, data: Any, **options: Any) -> eden.Tolerance:
    """``eden.profile``, with fields of its search and its budget as options."""
    return eden.profile(network, data, **told(**options))
