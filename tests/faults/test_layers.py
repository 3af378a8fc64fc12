"""Does each class of layers read each of its operands from its own cells, and compute as it did?"""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import kernels
import pytest
import torch
import torch._dynamo.testing
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.checkpoint import checkpoint

import eden
from eden.faults.counting import counting
from eden.faults.faulty_layers import FaultyLayer
from eden.faults.layers import LAYERS, layer_class, stored
from eden.faults.operand import FIRST_RELIABLE_PART

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
ALL["sparse"] = lambda: Case(eden.SparseLinear(randn(4, 5).relu().to_sparse_csr(), randn(4)), {"input": randn(3, 5)})


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
            # Another order of adding up n terms of size m may move a sum by n 2^-24 m: here n is below 1,000, and what
            # adds up to nothing, such as the gradient of a key's bias, has terms like those of its neighbours.
            within = 1000 * 2**-24 * float(expected.detach().abs().max()) if expected.numel() else 0.0
            assert torch.allclose(found, expected, rtol=1e-4, atol=max(1e-5, within))


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
        operand = twin.layer.eden_faults.by_role.pop(each.removeprefix("layer."))
        assert operand.calibrated
    for access in range(2):
        found, expected = case.run(twin.layer), corrupted(case, twin, storage, access)
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-5, equal_nan=True)
    if inner:
        assert not torch.allclose(faulty, corrupted(case, twin, storage, 0), equal_nan=True)
    reliable = case.run(case.layer)
    assert not torch.allclose(found, reliable, rtol=1e-3, atol=1e-5)


class Mixed(nn.Module):
    """One layer of many classes, some of which were reached before others."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.first = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.memory = nn.LSTM(8, 8, 2, batch_first=True, bidirectional=True)
        self.up = nn.ConvTranspose1d(16, 4, 2, 2)
        self.down = nn.Conv1d(4, 4, 2, 2)
        self.last = nn.Linear(4, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens)
        x = self.norm(x + self.attention(x, x, x)[0] + self.first(x))
        x = self.memory(x)[0]
        return self.last(self.down(self.up(x.transpose(1, 2))).transpose(1, 2))


def tokens() -> torch.Tensor:
    return torch.randint(11, (3, 5), generator=torch.Generator().manual_seed(2))


def mixed(ber: float = 0.01, **options: Any) -> nn.Module:
    torch.manual_seed(1)
    model = Mixed().eval()
    errors = eden.Uniform(ber)
    eden.inject_(model, eden.Faults(errors, errors, **{"storage": "int8", "correction": "zero", **options}))
    eden.calibrate_(model, [tokens()])
    return model


def test_newer_classes_and_requests_leave_addresses_as_they_were():
    model = mixed()
    addresses = {name: info.address // 2**40 for name, info in eden.operands(model).items()}
    # Linear and convolutions as when they were all that was reached; then the others, weights before inputs.
    old = [f"{layer}.{role}" for layer in ("first", "down", "last") for role in ("weight", "input")]
    recurrent = [
        f"memory.weight_{which}_l{level}{reverse}"
        for level in range(2)
        for reverse in ("", "_reverse")
        for which in ("ih", "hh")
    ]
    new = ["table.weight", "attention.in_proj_weight", "attention.out_proj.weight"]
    new += ["attention.query", "attention.key", "attention.value", "attention.out_proj.input"]
    new += [*recurrent, "memory.input", "memory.input_l1", "memory.hidden", "memory.cell", "up.weight", "up.input"]
    expected = {name: k for k, name in enumerate([*old, *new])}
    # The layers that read the embedding's rows read them from one place, the oldest; and nothing gave a hidden state.
    shared = {"attention.query", "attention.key", "attention.value", "memory.hidden", "memory.cell"}
    assert addresses == {name: k for name, k in expected.items() if name not in shared}
    assert eden.operands(model)["first.input"].layers == ("attention", "first")

    everything = mixed(parameters=EVERYTHING)
    more = {name: info.address // 2**40 for name, info in eden.operands(everything).items()}
    assert {name: k for name, k in more.items() if k < FIRST_RELIABLE_PART} == addresses
    reliable = [name for name, k in more.items() if k >= FIRST_RELIABLE_PART]
    assert [more[name] - FIRST_RELIABLE_PART for name in reliable] == list(range(len(reliable)))
    assert reliable[:5] == ["first.bias", "down.bias", "last.bias", "attention.in_proj_bias", "attention.out_proj.bias"]
    assert "norm.weight" in reliable
    assert not [row for row in eden.coverage(everything).reliable if row.kind in ("parameter", "buffer")]


def test_parts_of_the_parameters_are_faulty_on_request():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    x = randn(2, 1, 5, 5)
    for parts, expected in (
        (("bias",), ["0.bias"]),
        (["normalization"], [f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var")]),
    ):
        eden.inject_(model, eden.Faults(eden.Uniform(0.2), storage="int8", parameters=parts))
        assert list(eden.operands(model)) == expected
        with eden.clean(model):
            reliable = model(x)
        assert not torch.allclose(model(x), reliable, atol=1e-3)
        rows = {row.name: row for row in eden.coverage(model).rows}
        assert rows["0.weight"].note == "Faults.parameters does not name weight"
    model.train()(x).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    for parts, error, message in (
        ("bias", TypeError, "Faults.parameters is a str; allowed is a tuple of weight, bias, normalization"),
        ((), ValueError, "Faults.parameters names nothing"),
        (("weights",), ValueError, "names 'weights'; allowed are one or more of weight, bias, normalization"),
    ):
        with pytest.raises(error, match=message):
            eden.Faults(ERRORS, parameters=parts)


def test_copies_files_and_pickles_read_the_same_bits(tmp_path):
    model = mixed(parameters=EVERYTHING, weight_channels=True)
    expected = model(tokens())
    eden.save(model, tmp_path / "network.safetensors")
    loaded = eden.load_(Mixed().eval(), tmp_path / "network.safetensors")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded):
        assert torch.equal(other(tokens()), expected)
        assert str(eden.coverage(other)).splitlines()[-1] == str(eden.coverage(model)).splitlines()[-1]
        assert eden.ranges(other) == eden.ranges(model)
        assert "memory.hidden" not in eden.operands(other)
        eden.remove_(other)
        assert type(other.memory) is nn.LSTM
        assert not [name for name, _ in other.named_buffers() if "eden" in name]


def test_gradients_arrive_in_training_and_checkpointing_repeats_the_reads():
    found = []
    for use_checkpoint in (False, True):
        model = mixed(parameters=EVERYTHING).train()
        eden.set_errors_(model, {name: eden.Uniform(0.01, 0.5) for name in eden.operands(model)})
        for _ in range(2):
            model.zero_grad()
            x = model.table(tokens())
            y = model.attention(x, x, x)[0]
            y = checkpoint(model.memory, y, use_reentrant=False)[0] if use_checkpoint else model.memory(y)[0]
            model.last(model.down(model.up(y.transpose(1, 2))).transpose(1, 2)).square().sum().backward()
        assert int(model.memory.eden_training_access) == 2
        found.append([p.grad for name, p in model.named_parameters() if not name.startswith(("first", "norm"))])
    for plain, again in zip(*found, strict=True):
        assert plain.abs().sum() > 0
        assert torch.equal(plain, again)


@pytest.mark.parametrize("name", ["attention", "embedding", "transposed 2d", "batch norm", "cache", "layer norm"])
def test_layers_that_compile_compile_in_one_graph(name):
    case = ALL[name]()
    model = Network(case).eval()
    eden.inject_(model, eden.Faults(ERRORS, ERRORS, "int8", parameters=EVERYTHING))
    eden.calibrate_(model, [case.inputs])
    whole = Case(model, {"inputs": case.inputs})
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for ber in (1e-3, 0.1):
        eden.set_errors_(model, {each: eden.Uniform(ber, 0.5) for each in eden.operands(model)})
        with torch.no_grad():
            eden.set_chip_(model, 1)
            found = whole.run(compiled)
            eden.set_chip_(model, 1)
            assert torch.equal(found, whole.run(model))
    assert counter.frame_count == 1


@pytest.mark.parametrize("autocast", [False, True])
def test_short_formats(autocast):
    def short(model: nn.Module) -> torch.Tensor:
        if autocast:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return model(tokens())
        return model.bfloat16()(tokens())

    torch.manual_seed(1)
    expected = kernels.plain("LSTM in bfloat16", lambda: short(Mixed().eval()))
    found = short(mixed(ber=0.0, storage="float32", correction="none"))
    assert found.dtype == expected.dtype == torch.bfloat16
    assert torch.equal(found, expected), "memory without errors keeps every bit"
    # Eight layers in a row, values of about 1: each is off by a bfloat16's 2^-8, by which it may be stored as the next
    # code, 1/127 away. None of these layers makes a difference larger than it was.
    assert torch.allclose(short(mixed(ber=0.0)).float(), mixed(ber=0.0)(tokens()), atol=8 * (2**-8 + 1 / 127))


def test_self_attention_reads_what_it_attends_to_once():
    layer = attention(batch_first=True)
    model = Network(Case(layer, {}, lambda layer, x: layer(x, x, x)[0])).eval()
    x = randn(2, 5, 8)
    eden.inject_(model, eden.Faults(inputs=ERRORS, storage="int8"))
    eden.calibrate_(model, [{"x": x}])
    assert list(eden.operands(model)) == ["layer.query", "layer.out_proj.input"]
    assert eden.operands(model)["layer.query"].bytes == 5 * 8
    with counting(model) as counts:
        model({"x": x})
    assert int(counts["layer.query"].cells.sum()) == 2 * 5 * 8 * 8
    # Given other keys, it reads them, from the place that calibration found.
    other = Network(Case(layer, {}, lambda layer, x, y: layer(x, y, y)[0])).eval()
    other({"x": x, "y": randn(2, 5, 8) * 0.5})
    eden.calibrate_(other, [{"x": x, "y": randn(2, 6, 8)}])
    assert list(eden.operands(other)) == ["layer.query", "layer.key", "layer.out_proj.input"]
    assert eden.operands(other)["layer.key"].bytes == 6 * 8


def test_a_hidden_state_is_an_operand_where_the_network_gives_one():
    model = Network(Case(nn.GRU(3, 4), {}, lambda layer, *each: layer(*each)[0])).eval()
    x, hidden = randn(5, 2, 3), randn(1, 2, 4)
    eden.inject_(model, eden.Faults(inputs=ERRORS, storage="int8"))
    assert "layer.hidden" in eden.operands(model)
    eden.calibrate_(model, [{"x": x}])
    assert list(eden.operands(model)) == ["layer.input"]
    rows = {row.name: row for row in eden.coverage(model).rows}
    assert rows["layer.hidden"].note == "calibration saw the layer without it"
    assert "between the time steps" in rows["layer.steps"].note
    with pytest.raises(RuntimeError, match=r"layer\.hidden is read, but calibration saw the layer without it"):
        model({"x": x, "hidden": hidden})
    # A curriculum that was made before the calibration goes on.
    eden.set_errors_(model, {"layer.hidden": eden.Uniform(0.2)})
    eden.calibrate_(model, [{"x": x}, {"x": x, "hidden": hidden}])
    assert eden.operands(model)["layer.hidden"].bytes == 4
    assert eden.operands(model)["layer.hidden"].errors == eden.Uniform(0.2)
    assert torch.isfinite(model({"x": x, "hidden": hidden})).all()


def test_packed_sequences_are_read_as_each_would_be_alone():
    for cls in (nn.LSTM, nn.GRU):
        case = packed(cls)
        model = Network(case).eval()
        eden.inject_(model, eden.Faults(eden.Uniform(0.01), eden.Uniform(0.05), "int8", seed=2))
        eden.calibrate_(model, [case.inputs])
        together, *_ = model(case.inputs)
        padded, lengths = nn.utils.rnn.pad_packed_sequence(together, batch_first=True)
        for i, x in enumerate(case.inputs.values()):
            alone, *_ = model.layer(x)
            assert torch.allclose(padded[i, : lengths[i]], alone, atol=1e-6)


def test_rows_of_a_table_are_what_the_whole_table_would_give():
    for storage, options in (
        ("float32", {}),
        ("int8", {"weight_channels": True, "quantization": "affine"}),
        ("int4", {}),
        ("sign", {"weight_channels": True}),
    ):
        for errors in (ERRORS, eden.Bitline(0.05, 0.1), eden.CellMap(range(0, 2**20, 7), True, True, 2**41)):
            layer = nn.Embedding(9000, 3, sparse=True)
            model = nn.Sequential(layer)
            eden.inject_(model, eden.Faults(errors, storage=storage, seed=3, **options))
            indices = torch.tensor([[0, 8999], [4, 4]])
            rows = model(indices)
            layer.eden_training_access.zero_()
            whole = layer.eden_read("weight", layer.weight)
            assert torch.equal(rows.view(torch.int32), whole[indices].view(torch.int32))
            assert model(indices[:0]).shape == (0, 2, 3)
            with counting(model) as counts:
                model(indices)
            assert int(counts["0.weight"].cells.sum()) == 12 * eden.memory.storage.STORAGE_BITS[storage]
            rows.nan_to_num(0, 0, 0).sum().backward()
            assert layer.weight.grad.is_sparse
            # In two pieces, the table is read whole.
            pieces = [(eden.Uniform(0.05), 0, 4500 * 96), (None, 0, 4500 * 96)]
            eden.set_errors_(model, {"0.weight": pieces})
            with torch.no_grad():
                read = model(indices)
                layer.eden_training_access.zero_()
                whole = layer.eden_read("weight", layer.weight)
            assert torch.equal(read.view(torch.int32), whole[indices].view(torch.int32))


def test_a_layer_with_an_entry_of_its_own():
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(randn(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.gain

    model = nn.Sequential(nn.Linear(3, 3), Scale())
    eden.inject_(model, eden.Faults(ERRORS, ERRORS))
    assert "1.gain" not in eden.operands(model)
    LAYERS[Scale] = eden.faults.layers.LayerClass(
        lambda layer: [eden.faults.layers.Role("gain", "weight"), eden.faults.layers.Role("input", "input")],
        lambda layer, x: layer.eden_read("input", x) * layer.eden_read("gain", layer.gain),
        generation=9,
    )
    try:
        eden.inject_(model, eden.Faults(ERRORS, ERRORS))
        assert list(eden.operands(model)) == ["0.weight", "0.input", "1.gain", "1.input"]
        gain = eden.corrupt(model[1].gain, ERRORS, address=2 * 2**40)
        x = eden.corrupt(randn(4, 3), ERRORS, address=3 * 2**40, batch_dim=0)
        assert torch.equal(model[1](randn(4, 3)).nan_to_num(), (x * gain).nan_to_num())
        eden.remove_(model)
    finally:
        del LAYERS[Scale]


def test_a_feature_map_puts_a_residual_sum_into_memory():
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.sum = nn.Linear(4, 4), eden.FeatureMap()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.sum(x + self.layer(x))

    model = nn.Sequential(Residual(), Residual()).eval()
    x = randn(3, 4)
    eden.inject_(model, eden.Faults(inputs=ERRORS, storage="int8"))
    eden.calibrate_(model, [x])
    assert "0.sum.input" in eden.operands(model)
    rows = {row.name: row for row in eden.coverage(model, sample=x).rows}
    assert rows["1.add"].kind == "function"
    assert rows["1.add"].note.startswith("a sum of feature maps in Residual, outside of any layer")
    assert "0.add" in rows
    assert rows["1.sum.input"].faulty


def test_what_reads_tensors_outside_of_layers_is_named():
    class Outside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.activation = nn.Linear(4, 4), nn.PReLU()
            self.table, self.shift, self.unused = (nn.Parameter(randn(4, 4)) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.activation(self.layer(x)) @ self.table
            y += x
            return torch.cat([F.linear(x, self.table, self.shift[0]), torch.einsum("ni,nj->nij", x, y)[0]])

    model = Outside().eval()
    eden.inject_(model, eden.Faults(eden.Uniform(0.1), storage="int8"))
    before = copy.deepcopy(model)
    rows = {row.name: row for row in eden.coverage(model, sample=randn(3, 4)).rows}
    notes = {name: row.note for name, row in rows.items() if not row.faulty}
    assert notes["table"] == "read by mm and addmm in Outside, outside of any layer"
    assert notes["shift"] == "read by addmm in Outside, outside of any layer"
    assert notes["unused"] == "Outside is reliable"
    assert notes["activation.weight"] == "PReLU is reliable"
    functions = {name: row.note.split(" in ")[0] for name, row in rows.items() if row.kind == "function"}
    # The sum is in place; an outer product by einsum is one element by element; products read a feature map, too.
    assert functions == {
        "add": "a sum of feature maps",
        "addmm": "a matrix product",
        "mm": "a matrix product",
        "mul": "a product of feature maps, element by element",
        "cat": "a concatenation",
    }
    assert torch.equal(model(randn(3, 4)), before(randn(3, 4))), "nothing was changed by looking"
    assert eden.operands(model)["layer.weight"].loads == 1


def test_what_a_module_holds_beside_what_is_under_faults_is_named():
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.w, self.unused = (nn.Parameter(randn(4, 4)) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(self.layer(x), self.w)

    model, x = Beside().eval(), randn(3, 4)
    eden.inject_(model, eden.Faults(eden.Uniform(0.0), eden.Uniform(0.0)))
    with pytest.warns(UserWarning, match=r"do not go through the memory: unused \(Beside is reliable"):
        eden.calibrate_(model, [x])
    rows = {row.name: row for row in eden.coverage(model, sample=x).rows}
    assert rows["w"].faulty
    assert (rows["unused"].note, rows["unused"].chosen) == ("Beside is reliable", False)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_whole_transformer_computes_as_before(batch_first):
    model = nn.Transformer(8, 2, 1, 2, 16, dropout=0.0, batch_first=batch_first).eval()
    source, target = (randn(2, 5, 8), randn(2, 4, 8)) if batch_first else (randn(5, 2, 8), randn(4, 2, 8))
    masks = {
        "tgt_mask": nn.Transformer.generate_square_subsequent_mask(4),
        "src_key_padding_mask": PADDING,
        "memory_key_padding_mask": PADDING,
        "tgt_is_causal": True,
    }
    expected = model(source, target, **masks)
    eden.inject_(model, eden.Faults(eden.Uniform(0.0), eden.Uniform(0.0)))
    for training in (False, True):
        assert torch.allclose(model.train(training)(source, target, **masks), expected, atol=1e-5)
    assert all(info.loads == 2 for info in eden.operands(model).values())
    # A sample of a batch reads the cells that it reads alone.
    eden.set_errors_(model, {name: eden.Uniform(0.01) for name in eden.operands(model)})
    eden.inject_(model.eval(), eden.Faults(eden.Uniform(0.01), eden.Uniform(0.01), "int8"))
    network = Network(Case(model, {}))
    eden.calibrate_(network, [{"source": source, "target": target}])
    dim = 0 if batch_first else 1
    together = model(source, target)
    alone = model(source.select(dim, 1), target.select(dim, 1))
    assert torch.allclose(together.select(dim, 1), alone, atol=1e-5)
