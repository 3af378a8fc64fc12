"""Small networks under faults."""

import torch
import torch._dynamo.testing
from torch import nn

import eden
from eden.app.models import ResNet
from eden.memory import storage

ERRORS = eden.Uniform(1e-3)


def small() -> nn.Module:
    return ResNet(blocks=1, channels=4, image_channels=1).eval()


def images(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def injected(ber: float = 1e-3, **options) -> nn.Module:
    model = small()
    errors = eden.Uniform(ber)
    eden.inject_(model, eden.Faults(errors, errors, **{"storage": "int8", "correction": "zero", **options}))
    eden.calibrate_(model, [images()])
    return model


STORAGES = [name for name in storage.STORAGES if name != "int32"]


def linear() -> tuple[nn.Sequential, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    model = nn.Sequential(nn.Linear(12, 7, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(7, 12, generator=generator))
    return model, torch.randn(40, 12, generator=generator) + 0.3


GEOMETRY = eden.Geometry(row_bits=256, subarray_rows=64, bank_rows=4096)
MODELS = [
    eden.DataDependent(0.01, 0.05),
    eden.Bitline(0.03, 0.1, geometry=GEOMETRY),
    eden.Wordline(0.03, 0.1, 0.5, GEOMETRY),
    eden.Bitline.measured([0.0, 0.1, 0.02], geometry=GEOMETRY),
]
