"""Recurrent layers and their cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from eden.faults.layers.registry import Role, layer, present


def _level_input(level: int) -> str:
    return "input" if level == 0 else f"input_l{level}"


def _recurrent_roles(layer: Any) -> list[Role]:
    names = layer._flat_weights_names
    samples = 0 if layer.batch_first else 1
    states = ("hidden", "cell") if isinstance(layer, nn.LSTM) else ("hidden",)
    return [
        *(Role(name, "weight", channel_dim=0) for name in names if name.startswith("weight")),
        *(Role(_level_input(level), "input", batch_dim=samples, batched_dims=3) for level in range(layer.num_layers)),
        *(Role(name, "input", batch_dim=1, batched_dims=3, optional=True) for name in states),
        *(Role(name, "bias") for name in names if name.startswith("bias")),
    ]


_RECURRENT: dict[str, Callable[..., Any]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}


def _read_packed(layer: Any, name: str, data: Tensor, sizes: Tensor) -> Tensor:
    """A packed sequence, each sample of which is read as one that is not packed."""
    padded, lengths = pad_packed_sequence(PackedSequence(data, sizes), layer.batch_first)
    return pack_padded_sequence(layer.eden_read(name, padded), lengths, layer.batch_first).data


@layer(
    nn.LSTM,
    nn.GRU,
    nn.RNN,
    roles=_recurrent_roles,
    generation=1,
    unreachable={"steps": "hidden states between the time steps of one call stay inside the kernel"},
)
def _recurrent(layer: Any, input: Any, hx: Any = None) -> tuple[Any, Any]:
    packed = input if isinstance(input, PackedSequence) else None
    sizes = None if packed is None else packed.batch_sizes
    x: Tensor = input if packed is None else packed.data
    lstm = layer.mode == "LSTM"
    single = packed is None and x.dim() == 2
    sample_dim = 0 if layer.batch_first else 1
    # Read before they get another shape: a single sample has no batch dimension.
    level_input = x if packed is not None else layer.eden_read("input", x)
    states: list[Tensor] = []
    if hx is not None:
        given = hx if lstm else (hx,)
        states = [layer.eden_read(name, state) for name, state in zip(("hidden", "cell"), given, strict=False)]
        if single:
            states = [state.unsqueeze(1) for state in states]
        elif packed is not None and packed.sorted_indices is not None:
            states = [state.index_select(1, packed.sorted_indices) for state in states]
    if single:
        level_input = level_input.unsqueeze(sample_dim)
    samples = int(sizes[0]) if sizes is not None else level_input.shape[sample_dim]
    directions = 2 if layer.bidirectional else 1
    if not states:
        widths = (layer.proj_size or layer.hidden_size, layer.hidden_size)[: 2 if lstm else 1]
        states = [level_input.new_zeros((layer.num_layers * directions, samples, width)) for width in widths]
    layer.check_forward_args(level_input, tuple(states) if lstm else states[0], sizes)
    last: list[tuple[Tensor, ...]] = []
    for level in range(layer.num_layers):
        if level > 0 and layer.dropout:
            level_input = F.dropout(level_input, layer.dropout, layer.training)
        if sizes is not None:
            level_input = _read_packed(layer, _level_input(level), level_input, sizes)
        elif level > 0:
            level_input = layer.eden_read(_level_input(level), level_input)
        rows = slice(level * directions, (level + 1) * directions)
        names = [name for direction in layer._all_weights[rows] for name in direction]
        weights = [layer.eden_read(name, getattr(layer, name)) for name in names]
        before = [state[rows].contiguous() for state in states]
        options = (weights, layer.bias, 1, 0.0, layer.training, layer.bidirectional)
        state = tuple(before) if lstm else before[0]
        if sizes is None:
            level_input, *after = _RECURRENT[layer.mode](level_input, state, *options, layer.batch_first)
        else:
            level_input, *after = _RECURRENT[layer.mode](level_input, sizes, state, *options)
        last.append(tuple(after))
    hidden = [torch.cat(each) for each in zip(*last, strict=True)]
    if packed is not None:
        if packed.unsorted_indices is not None:
            hidden = [state.index_select(1, packed.unsorted_indices) for state in hidden]
        output: Any = PackedSequence(level_input, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    elif single:
        output, hidden = level_input.squeeze(sample_dim), [state.squeeze(1) for state in hidden]
    else:
        output = level_input
    return output, tuple(hidden) if lstm else hidden[0]


def _recurrent_cell_roles(layer: Any) -> list[Role]:
    states = ("hidden", "cell") if isinstance(layer, nn.LSTMCell) else ("hidden",)
    return [
        Role("weight_ih", "weight", channel_dim=0),
        Role("weight_hh", "weight", channel_dim=0),
        Role("input", "input"),
        *(Role(name, "input", optional=True) for name in states),
        *present(layer, Role("bias_ih", "bias"), Role("bias_hh", "bias")),
    ]


@layer(nn.LSTMCell, nn.GRUCell, nn.RNNCell, roles=_recurrent_cell_roles, generation=1)
def _recurrent_cell(layer: Any, input: Tensor, hx: Any = None) -> Any:
    lstm = isinstance(layer, nn.LSTMCell)
    x = layer.eden_read("input", input)
    if hx is None:
        state = x.new_zeros((*x.shape[:-1], layer.hidden_size))
        states = [state, state] if lstm else [state]
    else:
        given = hx if lstm else (hx,)
        states = [layer.eden_read(name, state) for name, state in zip(("hidden", "cell"), given, strict=False)]
    single = x.dim() == 1
    if single:
        x, states = x.unsqueeze(0), [state.unsqueeze(0) for state in states]
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    parameters = [layer.eden_read(name, getattr(layer, name)) for name in names]
    if lstm:
        after = torch.lstm_cell(x, states, *parameters)
        return tuple(state.squeeze(0) for state in after) if single else after
    if isinstance(layer, nn.GRUCell):
        compute = torch.gru_cell
    else:
        compute = torch.rnn_tanh_cell if layer.nonlinearity == "tanh" else torch.rnn_relu_cell
    hidden: Tensor = compute(x, states[0], *parameters)
    return hidden.squeeze(0) if single else hidden
