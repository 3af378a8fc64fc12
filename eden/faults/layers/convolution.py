"""Convolutions and transposed convolutions."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from eden.faults.layers.registry import BIAS, WEIGHT, Role, layer, present


def _convolution_roles(layer: Any) -> list[Role]:
    return [WEIGHT, Role("input", "input", batched_dims=layer.weight.dim()), *present(layer, BIAS)]


@layer(nn.Conv1d, nn.Conv2d, nn.Conv3d, roles=_convolution_roles, generation=0)
def _convolution(layer: Any, input: Tensor) -> Tensor:
    weight = layer.eden_read("weight", layer.weight)
    output: Tensor = layer._conv_forward(layer.eden_read("input", input), weight, layer.eden_read("bias", layer.bias))
    return output


def _transposed_roles(layer: Any) -> list[Role]:
    weight = Role("weight", "weight", channel_dim=1)
    return [weight, Role("input", "input", batched_dims=layer.weight.dim()), *present(layer, BIAS)]


@layer(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, roles=_transposed_roles, generation=1)
def _transposed(layer: Any, input: Tensor, output_size: list[int] | None = None) -> Tensor:
    dims = layer.weight.dim() - 2
    padding = layer._output_padding(
        input, output_size, layer.stride, layer.padding, layer.kernel_size, dims, layer.dilation
    )
    compute = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dims - 1]
    return compute(
        layer.eden_read("input", input),
        layer.eden_read("weight", layer.weight),
        layer.eden_read("bias", layer.bias),
        layer.stride,
        layer.padding,
        padding,
        layer.groups,
        layer.dilation,
    )
