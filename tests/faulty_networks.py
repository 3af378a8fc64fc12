"""Small networks under faults."""

from typing import Any

import pytest
import torch
import torch._dynamo.testing
import torch.nn.functional as F
from torch import nn

import eden
from eden.app.models import ResNet
from eden.faults.faulty_layers import FaultyLayer
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


class GroupedAttention(nn.Module):
    """Causal attention of two heads for each head of keys and values, computed by functions, with a cache.

    Args:
        kind: by which functions.
    """

    KINDS = ("sdpa", "sdpa of groups", "matmul", "baddbmm", "repeat")

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.queries, self.keys, self.values = nn.Linear(8, 16), nn.Linear(8, 8), nn.Linear(8, 8)

    @property
    def held(self) -> list[str]:
        """The operands that a cache holds."""
        return ["key", "value"] if self.kind.startswith("sdpa") else ["product0.second", "product1.second"]

    def forward(self, x: torch.Tensor, past: Any = None, keep: bool = False, cache: Any = None) -> Any:
        """For (N, T, 8): (N, T, 16), and the keys and values of all positions if these are to be kept."""
        q, k, v = (each(x).view(*x.shape[:2], -1, 4).transpose(1, 2) for each in (self.queries, self.keys, self.values))
        if past is not None:
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        y = self._attention(q, k, v).transpose(1, 2).flatten(2)
        return (y, (k, v)) if keep else y

    def _attention(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        samples, _, new, width = q.shape
        positions = k.shape[2]
        mask = torch.full((new, positions), -torch.inf).triu(positions - new + 1)
        if self.kind == "sdpa of groups":
            return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)
        if self.kind == "repeat":
            k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, dim=1)
        else:
            k, v = (x[:, :, None].expand(-1, -1, 2, -1, -1).reshape(samples, 4, positions, width) for x in (k, v))
        if self.kind == "sdpa":
            return F.scaled_dot_product_attention(q, k, v, mask)
        if self.kind == "baddbmm":
            q, k, v = (x.reshape(samples * 4, -1, width) for x in (q, k, v))
            scores = torch.baddbmm(mask.expand(samples * 4, -1, -1), q, k.transpose(1, 2))
            return torch.bmm(scores.softmax(-1), v).view(samples, 4, new, width)
        return torch.matmul((torch.matmul(q, k.mT) + mask).softmax(-1), v)


def reads(model: nn.Module, x: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """By operand, what a forward pass asks its memory for and what it gets."""
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    whole = FaultyLayer.eden_read

    def read(self: FaultyLayer, role: str, value: Any) -> Any:
        got = whole(self, role, value)
        operand = self.eden_faults.by_role.get(role)
        if operand is not None and value is not None:
            found[operand.name] = value.detach().clone(), got.detach().clone()
        return got

    with pytest.MonkeyPatch.context() as patched, torch.no_grad():
        patched.setattr(FaultyLayer, "eden_read", read)
        model(x)
    return found
