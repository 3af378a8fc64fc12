"""A place where a tensor that no layer reads goes through memory."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from eden.faults.layers.registry import Role, layer


class FeatureMap(nn.Module):
    """Where a tensor of a network goes through memory: returns its input, under faults as read from memory.

    Layers read their own inputs; this is for what no layer reads: the sum of a residual connection, what is
    concatenated, a matrix product of two feature maps. Its operand is ``input``, of shape (N, ...), at least two
    dimensions; a tensor of one dimension is a single sample.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The tensor itself, of any shape and of a floating-point dtype."""
        return input


@layer(FeatureMap, roles=lambda layer: [Role("input", "input")], generation=1)
def _feature_map(layer: Any, input: Tensor) -> Tensor:
    read: Tensor = layer.eden_read("input", input)
    return read
