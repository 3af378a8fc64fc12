"""Multi-head attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eden.faults.layers.registry import Role, layer, present


def _attention_roles(layer: Any) -> list[Role]:
    names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight")
    biases = ("in_proj_bias", "out_proj.bias", "bias_k", "bias_v")
    samples = 0 if layer.batch_first else 1
    return [
        *present(layer, *(Role(name, "weight", channel_dim=0) for name in names)),
        *(Role(name, "input", batch_dim=samples, batched_dims=3) for name in ("query", "key", "value")),
        # Inside, the batch comes first.
        Role("out_proj.input", "input", batch_dim=0, batched_dims=3),
        *present(layer, *(Role(name, "bias") for name in biases)),
    ]


def _projections(layer: Any) -> tuple[Sequence[Tensor], Sequence[Tensor | None]]:
    """The weights and biases with which queries, keys and values are made, as read."""
    if layer.in_proj_weight is not None:
        weights = layer.eden_read("in_proj_weight", layer.in_proj_weight).chunk(3)
    else:
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        weights = [layer.eden_read(name, getattr(layer, name)) for name in names]
    bias = layer.eden_read("in_proj_bias", layer.in_proj_bias)
    return weights, (None, None, None) if bias is None else bias.chunk(3)


def _added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A mask as numbers to add to the scores: what a boolean one holds true is left out."""
    if mask is None or mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -torch.inf)


@layer(
    nn.MultiheadAttention,
    roles=_attention_roles,
    generation=1,
    children=("out_proj",),
    unreachable={"heads": "queries, keys, values and the weights of attention stay inside the computation"},
)
def _attention(
    layer: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    if is_causal and attn_mask is None:
        raise RuntimeError("is_causal is True without attn_mask; allowed is is_causal as a hint beside the mask")
    inputs = layer.eden_read_inputs(query=query, key=key, value=value)
    single = query.dim() == 2
    if single:
        inputs = [x.unsqueeze(0) for x in inputs]
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    elif not layer.batch_first:
        inputs = [x.transpose(0, 1) for x in inputs]
    q, k, v = (F.linear(*each) for each in zip(inputs, *_projections(layer), strict=True))
    samples, targets, width = q.shape
    mask, padding = _added(attn_mask, q.dtype), _added(key_padding_mask, q.dtype)
    # What is appended to the keys is never masked.
    extra = []
    if layer.bias_k is not None:
        extra.append([layer.eden_read(name, getattr(layer, name)) for name in ("bias_k", "bias_v")])
    if layer.add_zero_attn:
        extra.append([q.new_zeros((1, 1, width))] * 2)
    for more_keys, more_values in extra:
        k = torch.cat((k, more_keys.to(k.dtype).expand(samples, -1, -1)), 1)
        v = torch.cat((v, more_values.to(v.dtype).expand(samples, -1, -1)), 1)
    if extra:
        mask = None if mask is None else F.pad(mask, (0, len(extra)))
        padding = None if padding is None else F.pad(padding, (0, len(extra)))
    q, k, v = (x.view(samples, -1, layer.num_heads, layer.head_dim).transpose(1, 2) for x in (q, k, v))
    if mask is not None and mask.dim() == 3:
        mask = mask.view(samples, layer.num_heads, targets, -1)
    if padding is not None:
        padding = padding[:, None, None, :]
        mask = padding if mask is None else mask + padding
    dropout = layer.dropout if layer.training else 0.0
    weights = None
    if need_weights:
        scores = q @ k.transpose(-2, -1) * layer.head_dim**-0.5
        weights = F.dropout(F.softmax(scores if mask is None else scores + mask, dim=-1), dropout)
        context = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        context = F.scaled_dot_product_attention(q, k, v, None if mask is None else mask.to(q.dtype), dropout)
    context = context.transpose(1, 2).reshape(samples, targets, width)
    if single:
        context = context.squeeze(0)
        weights = None if weights is None else weights.squeeze(0)
    projection = layer.out_proj
    output = F.linear(
        layer.eden_read("out_proj.input", context),
        layer.eden_read("out_proj.weight", projection.weight),
        layer.eden_read("out_proj.bias", projection.bias),
    )
    return output if single or layer.batch_first else output.transpose(0, 1), weights
