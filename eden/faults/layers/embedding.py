"""Tables of embeddings, of which a device reads the rows that are looked up."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from eden.faults.layers.registry import WEIGHT, layer

_INDICES = {"input": "indices are integers, not a feature map"}


@layer(nn.Embedding, roles=lambda layer: [WEIGHT], generation=1, unreachable=_INDICES)
def _embedding(layer: Any, input: Tensor) -> Tensor:
    # What a device reads are the rows that are looked up, each at its address in the table. Reading the whole table
    # first gives the same bits, and costs less where there are many lookups.
    options = (layer.padding_idx, layer.max_norm, layer.norm_type, layer.scale_grad_by_freq, layer.sparse)
    if layer.eden_reads_rows("weight", input.numel(), layer.sparse):
        rows: Tensor = layer.eden_read_rows("weight", layer.weight, F.embedding(input, layer.weight, *options), input)
        return rows
    _renormalize(layer, input)
    return F.embedding(input, layer.eden_read("weight", layer.weight), layer.padding_idx, None, 2.0, *options[3:])


@layer(nn.EmbeddingBag, roles=lambda layer: [WEIGHT], generation=1, unreachable=_INDICES)
def _embedding_bag(
    layer: Any, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
) -> Tensor:
    _renormalize(layer, input)
    return F.embedding_bag(
        input,
        layer.eden_read("weight", layer.weight),
        offsets,
        None,
        2.0,
        layer.scale_grad_by_freq,
        layer.mode,
        layer.sparse,
        per_sample_weights,
        layer.include_last_offset,
        layer.padding_idx,
    )


def _renormalize(layer: Any, indices: Tensor) -> None:
    # max_norm changes the stored rows when they are looked up: a write, which is not what is faulty.
    if layer.max_norm is not None:
        F.embedding(indices, layer.weight.detach(), None, layer.max_norm, layer.norm_type)
