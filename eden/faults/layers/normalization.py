"""Normalization layers, whose parameters and statistics are under faults on request."""

from __future__ import annotations

import functools
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from eden.faults.layers.registry import Role, layer


def _normalization_roles(layer: Any) -> list[Role]:
    names = ("weight", "bias", "running_mean", "running_var")
    return [Role(name, "normalization") for name in names if getattr(layer, name, None) is not None]


_normalization = functools.partial(
    layer, roles=_normalization_roles, generation=1, unreachable={"input": "what normalization reads is reliable"}
)


@_normalization(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
def _batch_norm(layer: Any, input: Tensor) -> Tensor:
    layer._check_input_dim(input)
    weight, bias = layer.eden_read("weight", layer.weight), layer.eden_read("bias", layer.bias)
    if not layer.training and layer.running_mean is not None:
        mean = layer.eden_read("running_mean", layer.running_mean)
        variance = layer.eden_read("running_var", layer.running_var)
        return F.batch_norm(input, mean, variance, weight, bias, False, 0.0, layer.eps)
    # The statistics of the batch at hand; the running ones are written, and not read.
    factor = layer.momentum or 0.0
    tracked = layer.training and layer.track_running_stats
    if tracked and layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        if layer.momentum is None:
            factor = 1.0 / float(layer.num_batches_tracked)
    running = (layer.running_mean, layer.running_var) if tracked else (None, None)
    return F.batch_norm(input, running[0], running[1], weight, bias, True, factor, layer.eps)


@_normalization(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
def _instance_norm(layer: Any, input: Tensor) -> Tensor:
    layer._check_input_dim(input)
    of_input = layer.training or not layer.track_running_stats
    running = (layer.running_mean, layer.running_var)
    if not of_input:
        running = tuple(
            layer.eden_read(name, value) for name, value in zip(("running_mean", "running_var"), running, strict=True)
        )
    weight, bias = layer.eden_read("weight", layer.weight), layer.eden_read("bias", layer.bias)
    single = input.dim() == layer._get_no_batch_dim()
    output = F.instance_norm(
        input.unsqueeze(0) if single else input, *running, weight, bias, of_input, layer.momentum or 0.0, layer.eps
    )
    return output.squeeze(0) if single else output


@_normalization(nn.LayerNorm)
def _layer_norm(layer: Any, input: Tensor) -> Tensor:
    weight, bias = layer.eden_read("weight", layer.weight), layer.eden_read("bias", layer.bias)
    return F.layer_norm(input, layer.normalized_shape, weight, bias, layer.eps)


@_normalization(nn.GroupNorm)
def _group_norm(layer: Any, input: Tensor) -> Tensor:
    weight, bias = layer.eden_read("weight", layer.weight), layer.eden_read("bias", layer.bias)
    return F.group_norm(input, layer.num_groups, weight, bias, layer.eps)


@_normalization(nn.RMSNorm)
def _rms_norm(layer: Any, input: Tensor) -> Tensor:
    return F.rms_norm(input, layer.normalized_shape, layer.eden_read("weight", layer.weight), layer.eps)
