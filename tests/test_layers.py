"""Does each class of layers read each of its operands from its own cells, and compute as it did?"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import eden
from eden.layers import LAYERS, layer_class, stored
from eden.nn import FaultyLayer

pytestmark = pytest.mark.usefixtures("one_thread")
ERRORS = eden.Uniform(0.03, 0.5)
EVERYTHING = ("weight", "bias", "normalization")


class Case:
    """A layer with the inputs that it is called with, by role, and what else it takes."""

    def __init__(
        self, layer: nn.Module, inputs: dict[str, torch.Tensor], call: Callable[..., Any] | None = None
    ) -> None:
        self.layer, self.inputs = layer, inputs
        self.call = call or (lambda layer, *inputs: layer(*inputs))

    def run(self, layer: nn.Module, inputs: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """The layer's outputs, flattened into one tensor."""
        found: list[torch.Tensor] = []

        def collect(value: Any) -> None:
            if isinstance(value, PackedSequence):
                found.append(value.data.flatten())
            elif isinstance(value, (tuple, list)):
                for item in value:
                    collect(item)
            elif value is not None:
                found.append(value.flatten())

        collect(self.call(layer, *(inputs or self.inputs).values()))
        return torch.cat(found)


class Network(nn.Module):
    """A network of one layer, which is called with whatever the network is."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.layer, self.call = case.layer, case.call

    def forward(self, inputs: dict[str, torch.Tensor]) -> Any:
        return self.call(self.layer, *inputs.values())


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def attention(**options: Any) -> nn.MultiheadAttention:
    layer = nn.MultiheadAttention(8, 2, **options)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(0.3 * randn(*parameter.shape) + len(name) * 0.01)
    return layer


def recurrent(cls: type[nn.RNNBase], lstm: bool, shape: tuple[int, ...], **options: Any) -> Case:
    layer = cls(3, 4, 2, **options)
    hidden = (4 if options.get("bidirectional") else 2, *([2] if len(shape) == 3 else []))
    inputs = {"input": randn(*shape), "hidden": randn(*hidden, options.get("proj_size") or 4)}
    if not lstm:
        return Case(layer, inputs)
    return Case(layer, {**inputs, "cell": randn(*hidden, 4)}, lambda layer, x, h, c: layer(x, (h, c)))


def packed(cls: type[nn.RNNBase]) -> Case:
    sequences = {f"sequence{length}": randn(length, 3) for length in (2, 4, 3)}
    return Case(
        cls(3, 4, 2, bidirectional=True, batch_first=True),
        sequences,
        lambda layer, *each: layer(pack_sequence(list(each), enforce_sorted=False)),
    )


MASK = torch.ones(5, 5, dtype=torch.bool).triu(1)
PADDING = torch.tensor([[False] * 3 + [True] * 2, [False] * 5])
CASES: dict[str, Callable[[], Case]] = {
    "linear": lambda: Case(nn.Linear(5, 3), {"input": randn(4, 5)}),
    "conv1d": lambda: Case(nn.Conv1d(2, 3, 3), {"input": randn(4, 2, 6)}),
    "conv2d circular": lambda: Case(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular", groups=2), {"input": randn(3, 2, 5, 5)}
    ),
    "conv3d sample": lambda: Case(nn.Conv3d(2, 3, 2), {"input": randn(2, 3, 3, 3)}),
    "transposed 1d": lambda: Case(nn.ConvTranspose1d(2, 3, 3, stride=2), {"input": randn(4, 2, 6)}),
    "transposed 2d": lambda: Case(
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False),
        {"input": randn(2, 4, 4, 4)},
        lambda layer, x: layer(x, output_size=[8, 8]),
    ),
    "transposed 3d": lambda: Case(nn.ConvTranspose3d(2, 3, 2, dilation=2), {"input": randn(2, 3, 3, 3)}),
    "bilinear": lambda: Case(nn.Bilinear(3, 4, 5), {"input1": randn(2, 3), "input2": randn(2, 4)}),
    "attention": lambda: Case(
        attention(), {"query": randn(5, 2, 8), "key": randn(6, 2, 8) + 1, "value": randn(6, 2, 8) - 1}
    ),
    "attention of other sizes": lambda: Case(
        attention(kdim=3, vdim=5, batch_first=True, add_bias_kv=True, add_zero_attn=True),
        {"query": randn(2, 5, 8), "key": randn(2, 5, 3), "value": randn(2, 5, 5)},
        lambda layer, q, k, v: layer(q, k, v, attn_mask=MASK, key_padding_mask=PADDING, average_attn_weights=False),
    ),
    "masked self-attention": lambda: Case(
        attention(batch_first=True, bias=False),
        {"query": randn(2, 5, 8)},
        lambda layer, x: layer(
            x, x, x, attn_mask=torch.zeros(4, 5, 5).masked_fill(MASK, -9.0), need_weights=False, is_causal=False
        ),
    ),
    "attention of a sample": lambda: Case(
        attention(), {"query": randn(5, 8)}, lambda layer, x: layer(x, x, x, key_padding_mask=PADDING[0])
    ),
    "lstm": lambda: recurrent(nn.LSTM, True, (5, 2, 3)),
    "lstm with projections": lambda: recurrent(
        nn.LSTM, True, (2, 5, 3), batch_first=True, bidirectional=True, proj_size=2, bias=False
    ),
    "lstm of a sample": lambda: recurrent(nn.LSTM, True, (5, 3), batch_first=True),
    "gru": lambda: recurrent(nn.GRU, False, (2, 5, 3), batch_first=True, bidirectional=True),
    "rnn": lambda: recurrent(nn.RNN, False, (5, 2, 3), nonlinearity="relu"),
    "lstm cell": lambda: Case(
        nn.LSTMCell(3, 4),
        {"input": randn(2, 3), "hidden": randn(2, 4), "cell": randn(2, 4) + 1},
        lambda layer, x, h, c: layer(x, (h, c)),
    ),
    "gru cell": lambda: Case(nn.GRUCell(3, 4, bias=False), {"input": randn(2, 3), "hidden": randn(2, 4)}),
    "rnn cell of a sample": lambda: Case(nn.RNNCell(3, 4), {"input": randn(3), "hidden": randn(4)}),
    "batch norm": lambda: Case(nn.BatchNorm2d(3), {"x": randn(4, 3, 2, 2)}),
    "batch norm of averages": lambda: Case(nn.BatchNorm1d(3, momentum=None), {"x": randn(4, 3)}),
    "batch norm without statistics": lambda: Case(
        nn.BatchNorm3d(3, track_running_stats=False), {"x": randn(4, 3, 2, 2, 2)}
    ),
    "instance norm": lambda: Case(nn.InstanceNorm1d(3, affine=True, track_running_stats=True), {"x": randn(4, 3, 5)}),
    "instance norm of a sample": lambda: Case(nn.InstanceNorm2d(3, affine=True), {"x": randn(3, 4, 4)}),
    "layer norm": lambda: Case(nn.LayerNorm((3, 4)), {"x": randn(2, 3, 4)}),
    "group norm": lambda: Case(nn.GroupNorm(2, 4), {"x": randn(2, 4, 3)}),
    "rms norm": lambda: Case(nn.RMSNorm(4), {"x": randn(2, 4)}),
    "feature map": lambda: Case(eden.FeatureMap(), {"input": randn(2, 3, 4)}),
    "cache": lambda: Case(
        eden.KeyValueCache(),
        {"keys": randn(2, 5, 2, 3), "values": randn(2, 5, 2, 3) + 1},
        lambda layer, k, v: layer(k, v)[:2],
    ),
}
INDEXED: dict[str, Callable[[], Case]] = {
    "embedding": lambda: Case(nn.Embedding(9000, 4, padding_idx=1), {"x": torch.tensor([[2, 1, 8999], [7, 2, 0]])}),
    "embedding, all rows": lambda: Case(nn.Embedding(3, 4), {"x": torch.tensor([[2, 1, 0], [1, 2, 0]])}),
    "renormalized embedding": lambda: Case(
        nn.Embedding(9000, 4, max_norm=1.0, scale_grad_by_freq=True), {"x": torch.tensor([5, 5, 3])}
    ),
    "bags": lambda: Case(nn.EmbeddingBag(9, 4, mode="max", padding_idx=2), {"x": torch.tensor([[2, 1], [7, 8]])}),
    "renormalized bags": lambda: Case(nn.EmbeddingBag(9, 4, max_norm=1.0), {"x": torch.tensor([[2, 1], [7, 8]])}),
    "bags with offsets": lambda: Case(
        nn.EmbeddingBag(9, 4, mode="sum", include_last_offset=True),
        {"x": torch.tensor([2, 1, 7, 8, 8])},
        lambda layer, x: layer(x, torch.tensor([0, 2, 5]), torch.arange(5.0)),
    ),
}
ALL = {**CASES, **INDEXED, **{f"packed {cls.__name__}": lambda cls=cls: packed(cls) for cls in (nn.LSTM, nn.GRU)}}


def test_every_class_has_a_case():
    found = {type(make().layer) for make in ALL.values()}
    same = {nn.BatchNorm3d, nn.InstanceNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d}
    assert set(LAYERS) - found <= same


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("training", [False, True])
def test_without_errors_a_layer_computes_as_before(name, training):
    case = ALL[name]()
    layer = case.layer.train(training)
    twin = Network(Case(copy.deepcopy(layer), case.inputs, case.call))
    eden.inject_(twin, eden.Faults(eden.Uniform(0.0), eden.Uniform(0.0), parameters=EVERYTHING))
    assert isinstance(twin.layer, FaultyLayer)
    results = []
    for each in (layer, twin.layer):
        inputs = {k: v.clone().requires_grad_(v.is_floating_point()) for k, v in case.inputs.items()}
        for _ in range(2):
            output = case.run(each, inputs)
        if output.requires_grad:
            (output * torch.arange(output.numel())).sum().backward()
        of_parameters = [p.grad for p in each.parameters()] if not name.startswith("renormalized") else []
        kept = [buffer for key, buffer in each.named_buffers() if "eden_" not in key]
        results.append([output, *(x.grad for x in inputs.values()), *of_parameters, *kept])
    for expected, found in zip(*results, strict=True):
        if expected is None or found is None:
            assert expected is found
        else:
            assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def corrupted(case: Case, network: nn.Module, storage: str, access: int) -> torch.Tensor:
    """What the original layer computes from parameters and inputs that the operator read, each from its place."""
    layer, inputs = copy.deepcopy(case.layer), dict(case.inputs)
    for info in eden.operands(network).values():
        role = next(x for x in layer_class(layer).roles(layer) if f"layer.{x.name}" == info.name)
        x = stored(layer, role.name) if role.kind == "weight" else inputs[role.name]
        x = x.detach()
        batch = None
        if role.kind == "input" and x.dim() >= role.batched_dims:
            batch = role.batch_dim or 0
        scale = x.abs().max() / 127 if storage == "int8" else None
        options = {"storage": storage, "scale": scale, "bounds": (float(x.min()), float(x.max())), "correction": "zero"}
        read = eden.corrupt(x, info.errors, 5, info.address, access, batch_dim=batch, **options)
        if role.kind == "weight":
            x.copy_(read)
        else:
            inputs[role.name] = read
    return case.run(layer, inputs)


@pytest.mark.parametrize("name", [*CASES, *INDEXED])
@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_each_operand_is_read_from_its_own_cells(name, storage):
    if name.startswith("renormalized"):
        pytest.skip("its rows change with each read")
    case = ALL[name]()
    case.layer.eval()
    twin = Network(Case(copy.deepcopy(case.layer), case.inputs, case.call)).eval()
    eden.inject_(twin, eden.Faults(ERRORS, ERRORS, storage, "zero", seed=5, parameters=EVERYTHING))
    eden.calibrate_(twin, [case.inputs])
    # What is read in the midst of the computation is no argument that the original could be given.
    inner = [each for each in eden.operands(twin) if each.endswith((".out_proj.input", ".input_l1"))]
    faulty = case.run(twin.layer)
    twin.layer.eden_access.zero_()
    eden.inject_(twin, eden.Faults(ERRORS, ERRORS, storage, "zero", seed=5, parameters=EVERYTHING))
    for each in inner:
        operand = twin.layer._eden.by_role.pop(each.removeprefix("layer."))
        assert operand.calibrated
    for access in range(2):
        found, expected = case.run(twin.layer), corrupted(case, twin, storage, access)
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-5, equal_nan=True)
    if inner:
        assert not torch.allclose(faulty, corrupted(case, twin, storage, 0), equal_nan=True)
    reliable = case.run(case.layer)
    assert not torch.allclose(found, reliable, rtol=1e-3, atol=1e-5)
