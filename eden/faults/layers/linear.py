"""Linear and bilinear layers."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from eden.faults.layers.registry import BIAS, WEIGHT, Role, layer, present


def _linear_roles(layer: Any) -> list[Role]:
    return [WEIGHT, Role("input", "input"), *present(layer, BIAS)]


@layer(nn.Linear, roles=_linear_roles, generation=0)
def _linear(layer: Any, input: Tensor) -> Tensor:
    weight = layer.eden_read("weight", layer.weight)
    return F.linear(layer.eden_read("input", input), weight, layer.eden_read("bias", layer.bias))


def _bilinear_roles(layer: Any) -> list[Role]:
    return [WEIGHT, Role("input1", "input"), Role("input2", "input"), *present(layer, BIAS)]


@layer(nn.Bilinear, roles=_bilinear_roles, generation=1)
def _bilinear(layer: Any, input1: Tensor, input2: Tensor) -> Tensor:
    first, second = layer.eden_read_inputs(input1=input1, input2=input2)
    return F.bilinear(first, second, layer.eden_read("weight", layer.weight), layer.eden_read("bias", layer.bias))
