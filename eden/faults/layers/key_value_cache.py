"""The keys and values of attention, kept in memory from step to step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eden.faults.layers.registry import Role, layer


class KeyValueCache(nn.Module):
    """The keys and values of attention in memory: written once, read at each later step from the same cells.

    Its operands are ``keys`` and ``values``. It holds no state: what was written is handed back and given again at the
    next step, so that it works in training, in compiled networks and for any number of sequences. A sample is laid out
    with the positions in its first dimension, so every position keeps its address while the sequence grows.
    """

    def forward(
        self, keys: Tensor, values: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Write the keys and values of further positions and read those of all.

        Args:
            keys: of shape (N, T, H, D): samples, new positions, heads, width of a head; any (N, T, ...).
            values: of shape (N, T, H, D) likewise.
            past: what an earlier call returned last, None at the beginning of a sequence.

        Returns:
            The keys and values of all positions as read, of shape (N, past + T, H, D), and what was written, to be
            given as ``past`` of the next call.
        """
        written = _written(keys, values, past)
        return *written, written


def _written(keys: Tensor, values: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    if past is None:
        return keys, values
    return torch.cat((past[0], keys), 1), torch.cat((past[1], values), 1)


def _cache_roles(layer: Any) -> list[Role]:
    return [Role(name, "input", batch_dim=0, batched_dims=3) for name in ("keys", "values")]


@layer(KeyValueCache, roles=_cache_roles, generation=1)
def _cache(
    layer: Any, keys: Tensor, values: Tensor, past: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    written = _written(keys, values, past)
    return layer.eden_read("keys", written[0]), layer.eden_read("values", written[1]), written
