"""What the operands of a class of layers are, and how it computes from them: one entry of ``LAYERS`` per class.

An entry names the operands (``Role``) of a layer and repeats its forward pass with each of them read through
``layer.eden_read(role, tensor)``. Everything else (buffers, ranges, addresses, calibration, coverage, files) follows
from the entry; docs/layers.md says how to add one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

PARTS = ("weight", "bias", "normalization")
"""Parts of a network's parameters that `Faults.parameters` can name."""


@dataclasses.dataclass(frozen=True)
class Role:
    """One operand of a layer class.

    Attributes:
        name: its name in the layer: of a parameter or buffer the attribute's, such as ``weight`` or
            ``out_proj.weight``; of an input feature map what ``forward`` calls it.
        part: "weight", "bias" or "normalization" of a parameter or buffer, "input" of a feature map.
        channel_dim: of a weight, the dimension of its output channels; -1 where it has none.
        batch_dim: of an input, the dimension of its samples; None: 0, or 1 inside a sequence-first transformer layer.
        batched_dims: of an input, its number of dimensions when it is a batch; with one less it is a single sample.
        optional: whether the layer can do without it; calibration finds out whether it is used.
    """

    name: str
    part: str
    channel_dim: int = -1
    batch_dim: int | None = None
    batched_dims: int = 2
    optional: bool = False

    @property
    def kind(self) -> str:
        """What it is: "input" of a feature map, "weight" of a parameter or buffer."""
        return "input" if self.part == "input" else "weight"


@dataclasses.dataclass(frozen=True)
class LayerClass:
    """What faults need to know of a class of layers.

    Attributes:
        roles: the operands of a layer, in the order of their addresses.
        forward: the layer's forward pass, called with the layer and the arguments of its ``forward``, in which every
            operand goes through ``layer.eden_read(role, tensor)``.
        generation: operands are numbered by generation first, so that a class that is added later leaves the addresses
            of networks with older classes as they were: give a new class a new, higher one.
        children: submodules whose parameters are operands of this layer, because it reads them without calling them.
        unreachable: what of it no fault can reach, by name, with the reason.
    """

    roles: Callable[[Any], Sequence[Role]]
    forward: Callable[..., Any]
    generation: int
    children: tuple[str, ...] = ()
    unreachable: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _present(layer: Any, *roles: Role) -> list[Role]:
    """The roles whose parameter or buffer the layer has."""
    return [role for role in roles if stored(layer, role.name) is not None]


def stored(layer: nn.Module, name: str) -> Any:
    """The parameter or buffer of a role: an attribute of the layer, or of its child before the dot."""
    owner: Any = layer
    for part in name.split("."):
        owner = getattr(owner, part)
    return owner


_WEIGHT = Role("weight", "weight", channel_dim=0)
_BIAS = Role("bias", "bias")


def _linear_roles(layer: Any) -> list[Role]:
    return [_WEIGHT, Role("input", "input"), *_present(layer, _BIAS)]


def _linear(layer: Any, input: Tensor) -> Tensor:
    weight = layer.eden_read("weight", layer.weight)
    return F.linear(layer.eden_read("input", input), weight, layer.eden_read("bias", layer.bias))


def _convolution_roles(layer: Any) -> list[Role]:
    return [_WEIGHT, Role("input", "input", batched_dims=layer.weight.dim()), *_present(layer, _BIAS)]


def _convolution(layer: Any, input: Tensor) -> Tensor:
    weight = layer.eden_read("weight", layer.weight)
    output: Tensor = layer._conv_forward(layer.eden_read("input", input), weight, layer.eden_read("bias", layer.bias))
    return output


def _transposed_roles(layer: Any) -> list[Role]:
    weight = Role("weight", "weight", channel_dim=1)
    return [weight, Role("input", "input", batched_dims=layer.weight.dim()), *_present(layer, _BIAS)]


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


def _bilinear_roles(layer: Any) -> list[Role]:
    return [_WEIGHT, Role("input1", "input"), Role("input2", "input"), *_present(layer, _BIAS)]


def _bilinear(layer: Any, input1: Tensor, input2: Tensor) -> Tensor:
    first, second = layer.eden_read_inputs(input1=input1, input2=input2)
    return F.bilinear(first, second, layer.eden_read("weight", layer.weight), layer.eden_read("bias", layer.bias))


def _table_roles(layer: Any) -> list[Role]:
    return [_WEIGHT]


def _embedding(layer: Any, input: Tensor) -> Tensor:
    # What a device reads are the rows that are looked up, each at its address in the table. Reading the whole table
    # first gives the same bits, and costs less where there are many lookups.
    options = (layer.padding_idx, layer.max_norm, layer.norm_type, layer.scale_grad_by_freq, layer.sparse)
    if layer.eden_reads_rows("weight", input.numel(), layer.sparse):
        rows: Tensor = layer.eden_read_rows("weight", layer.weight, F.embedding(input, layer.weight, *options), input)
        return rows
    _renormalize(layer, input)
    return F.embedding(input, layer.eden_read("weight", layer.weight), layer.padding_idx, None, 2.0, *options[3:])


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


def _attention_roles(layer: Any) -> list[Role]:
    names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight")
    biases = ("in_proj_bias", "out_proj.bias", "bias_k", "bias_v")
    samples = 0 if layer.batch_first else 1
    return [
        *_present(layer, *(Role(name, "weight", channel_dim=0) for name in names)),
        *(Role(name, "input", batch_dim=samples, batched_dims=3) for name in ("query", "key", "value")),
        # Inside, the batch comes first.
        Role("out_proj.input", "input", batch_dim=0, batched_dims=3),
        *_present(layer, *(Role(name, "bias") for name in biases)),
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
        *_present(layer, Role("bias_ih", "bias"), Role("bias_hh", "bias")),
    ]


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


def _normalization_roles(layer: Any) -> list[Role]:
    names = ("weight", "bias", "running_mean", "running_var")
    return [Role(name, "normalization") for name in names if getattr(layer, name, None) is not None]


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


def _layer_norm(layer: Any, input: Tensor) -> Tensor:
    weight, bias = layer.eden_read("weight", layer.weight), layer.eden_read("bias", layer.bias)
    return F.layer_norm(input, layer.normalized_shape, weight, bias, layer.eps)


def _group_norm(layer: Any, input: Tensor) -> Tensor:
    weight, bias = layer.eden_read("weight", layer.weight), layer.eden_read("bias", layer.bias)
    return F.group_norm(input, layer.num_groups, weight, bias, layer.eps)


def _rms_norm(layer: Any, input: Tensor) -> Tensor:
    return F.rms_norm(input, layer.normalized_shape, layer.eden_read("weight", layer.weight), layer.eps)


class FeatureMap(nn.Module):
    """Where a tensor of a network goes through memory: returns its input, under faults as read from memory.

    Layers read their own inputs; this is for what no layer reads: the sum of a residual connection, what is
    concatenated, a matrix product of two feature maps. Its operand is ``input``, of shape (N, ...), at least two
    dimensions; a tensor of one dimension is a single sample.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The tensor itself, of any shape and of a floating-point dtype."""
        return input


def _feature_map_roles(layer: Any) -> list[Role]:
    return [Role("input", "input")]


def _feature_map(layer: Any, input: Tensor) -> Tensor:
    read: Tensor = layer.eden_read("input", input)
    return read


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


def _cache(
    layer: Any, keys: Tensor, values: Tensor, past: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    written = _written(keys, values, past)
    return layer.eden_read("keys", written[0]), layer.eden_read("values", written[1]), written


def _cache_roles(layer: Any) -> list[Role]:
    return [Role("keys", "input", batch_dim=0, batched_dims=3), Role("values", "input", batch_dim=0, batched_dims=3)]


_NORMALIZED = {"input": "what normalization reads is reliable"}

LAYERS: dict[type[nn.Module], LayerClass] = {
    nn.Linear: LayerClass(_linear_roles, _linear, 0),
    nn.Conv1d: LayerClass(_convolution_roles, _convolution, 0),
    nn.Conv2d: LayerClass(_convolution_roles, _convolution, 0),
    nn.Conv3d: LayerClass(_convolution_roles, _convolution, 0),
    nn.ConvTranspose1d: LayerClass(_transposed_roles, _transposed, 1),
    nn.ConvTranspose2d: LayerClass(_transposed_roles, _transposed, 1),
    nn.ConvTranspose3d: LayerClass(_transposed_roles, _transposed, 1),
    nn.Bilinear: LayerClass(_bilinear_roles, _bilinear, 1),
    nn.Embedding: LayerClass(
        _table_roles, _embedding, 1, unreachable={"input": "indices are integers, not a feature map"}
    ),
    nn.EmbeddingBag: LayerClass(
        _table_roles, _embedding_bag, 1, unreachable={"input": "indices are integers, not a feature map"}
    ),
    nn.MultiheadAttention: LayerClass(
        _attention_roles,
        _attention,
        1,
        children=("out_proj",),
        unreachable={"heads": "queries, keys, values and the weights of attention stay inside the computation"},
    ),
    **{
        cls: LayerClass(
            _recurrent_roles,
            _recurrent,
            1,
            unreachable={"steps": "hidden states between the time steps of one call stay inside the kernel"},
        )
        for cls in (nn.LSTM, nn.GRU, nn.RNN)
    },
    **{cls: LayerClass(_recurrent_cell_roles, _recurrent_cell, 1) for cls in (nn.LSTMCell, nn.GRUCell, nn.RNNCell)},
    **{
        cls: LayerClass(_normalization_roles, _batch_norm, 1, unreachable=_NORMALIZED)
        for cls in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    },
    **{
        cls: LayerClass(_normalization_roles, _instance_norm, 1, unreachable=_NORMALIZED)
        for cls in (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
    },
    nn.LayerNorm: LayerClass(_normalization_roles, _layer_norm, 1, unreachable=_NORMALIZED),
    nn.GroupNorm: LayerClass(_normalization_roles, _group_norm, 1, unreachable=_NORMALIZED),
    nn.RMSNorm: LayerClass(_normalization_roles, _rms_norm, 1, unreachable=_NORMALIZED),
    FeatureMap: LayerClass(_feature_map_roles, _feature_map, 1),
    KeyValueCache: LayerClass(_cache_roles, _cache, 1),
}
"""The classes of layers whose operands can be put under faults. Subclasses that keep the ``forward`` are theirs."""


def base_of(layer: nn.Module) -> type[nn.Module] | None:
    """The class of ``LAYERS`` that a layer is of, None if it is of none."""
    return next((cls for cls in type(layer).__mro__ if cls in LAYERS), None)


def layer_class(layer: nn.Module) -> LayerClass:
    """The entry of a layer's class. Raises KeyError for a class without one."""
    base = base_of(layer)
    if base is None:
        raise KeyError(f"{type(layer).__name__} has no entry in eden.faults.layers.LAYERS")
    return LAYERS[base]
