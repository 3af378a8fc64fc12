"""Is everything that no fault reaches named?"""

import copy
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from faulty_networks import ERRORS
from torch import nn
from torch.nn.utils import prune

import eden


class OwnAttention(nn.MultiheadAttention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x, x, x)[0]


def test_coverage_names_everything():
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(1, 2, 3),
            "norm": nn.BatchNorm2d(2),
            "attention": OwnAttention(4, 2),
            "activation": nn.PReLU(),
            "fc": nn.Linear(4, 2),
        }
    )
    eden.inject_(model, eden.Faults(weights=ERRORS), filter_fn=lambda name, _: name != "fc")
    rows = {row.name: row for row in eden.coverage(model).rows}
    assert rows["conv.weight"].faulty
    assert {name for name, row in rows.items() if row.faulty} == {"conv.weight"}
    named = set(rows)
    for name, _ in model.named_parameters():
        assert name in named
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert rows[f"norm.{name}"].kind == "buffer"
    for layer in ("conv", "norm", "attention", "activation", "fc", "attention.out_proj"):
        assert f"{layer}.input" in named
    assert rows["norm.weight"].note == "BatchNorm2d is reliable"
    assert rows["activation.weight"].note == "PReLU is reliable"
    assert rows["attention.in_proj_weight"].note == "OwnAttention computes its own forward"
    assert rows["conv.bias"].note == "biases are reliable"
    assert rows["fc.weight"].note == "filter_fn left the layer out"
    assert "nn.MultiheadAttention reads its weight" in rows["attention.out_proj.weight"].note
    assert "Faults gave no error model for inputs" in rows["conv.input"].note
    text = str(eden.coverage(model))
    assert all(name in text for name in named)
    assert "under faults: 1 operands, 72 bytes" in text


def test_coverage_names_reliable_readers_of_a_tied_weight():
    model = nn.ModuleDict(
        {"embedding": nn.Embedding(6, 4), "head": nn.Linear(4, 6, bias=False), "other": nn.Linear(4, 6, bias=False)}
    )
    model["head"].weight = model["other"].weight = model["embedding"].weight
    eden.inject_(model, eden.Faults(weights=ERRORS), filter_fn=lambda name, _: name == "head")
    rows = {row.name: row for row in eden.coverage(model).rows}
    assert rows["head.weight"].faulty
    assert rows["embedding.weight"].note == "filter_fn left the layer out; tied to head.weight"
    assert rows["other.weight"].note == "filter_fn left the layer out; tied to head.weight"
    assert not rows["embedding.weight"].faulty
    assert eden.coverage(model).reliable_bytes == 0


RATE = eden.Uniform(0.02)


class Swin(nn.Module):
    """Reads weights, tables, feature maps and a bank of experts by functions, as much of what others write does."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)
        self.position = nn.Parameter(torch.randn(1, 4, 8))
        self.experts = nn.Parameter(torch.randn(2, 8, 8))
        self.register_buffer("index", torch.arange(4).repeat(2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.position
        q, k, v = F.linear(self.norm(x), self.qkv.weight, self.qkv.bias).chunk(3, -1)
        x = x + self.proj((q @ k.transpose(-2, -1)).softmax(-1) @ v)
        x = x + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + F.linear(x, self.experts[0]) + torch.matmul(x, self.experts[1])


class Tied(nn.Module):
    """A language model whose head is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.linear = nn.Embedding(9, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(self.linear(self.embedding(x)), self.embedding.weight)


class Own(nn.Linear):
    """A layer that standardizes its weight."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight / self.weight.std(), self.bias)


class Columns(nn.Module):
    """GPT-2's layer: a matrix by columns."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 4)), nn.Parameter(torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, x.view(-1, 8), self.weight).view(*x.shape[:-1], 4)


def images(n: int) -> torch.Tensor:
    return torch.randn(n, 4, 8, generator=torch.Generator().manual_seed(n))


BY_FUNCTIONS = {
    "swin": (lambda: nn.Sequential(nn.Linear(8, 8), Swin()), images,
             {"1.qkv.weight": 192, "1.qkv.input": 32, "1.position": 32, "1.experts": 128, "1.experts.input": 32,
              "1.query": 32, "1.key": 32, "1.value": 32, "1.product0.first": 32, "1.product1.first": 16}),
    "a tied head": (Tied, lambda n: torch.randint(9, (n, 5)), {"embedding.weight": 72, "linear.input": 40}),
    "a layer's own forward": (lambda: nn.Sequential(nn.Linear(8, 8), Own(8, 4)), images,
                              {"1.weight": 32, "1.weight.input": 32}),
    "columns": (lambda: nn.Sequential(nn.Linear(8, 8), Columns()), images, {"1.weight": 32, "1.weight.input": 32}),
}  # fmt: skip


def by_functions(name: str) -> tuple[nn.Module, torch.Tensor, dict[str, int]]:
    make, batch, sizes = BY_FUNCTIONS[name]
    torch.manual_seed(0)
    model = make().eval()
    eden.inject_(model, eden.Faults(RATE, RATE, storage="int8"))
    eden.calibrate_(model, [batch(4)])
    return model, batch(3), sizes


@pytest.mark.parametrize("name", BY_FUNCTIONS)
def test_what_functions_read_is_under_faults(name, tmp_path):
    model, x, sizes = by_functions(name)
    infos = eden.operands(model)
    assert {operand: infos[operand].bytes for operand in sizes} == sizes
    found = eden.coverage(model, sample=x)
    assert found.input_share == 1.0
    assert {row.name for row in found.reliable if row.kind == "parameter"} == {
        operand for operand, parameter in model.named_parameters() if parameter.dim() < 2
    }
    with torch.no_grad(), eden.clean(model):
        exact = model(x)
    for operand in infos:  # each by itself changes what the network gives
        eden.set_errors_(model, {other: RATE if other == operand else None for other in infos})
        eden.set_chip_(model, 6)
        with torch.no_grad():
            assert not torch.equal(model(x), exact), operand
            assert eden.operands(model)[operand].loads == (2 if operand == "embedding.weight" else 1)
    eden.set_errors_(model, dict.fromkeys(infos, RATE))

    def outputs(network: nn.Module, run: nn.Module | None = None) -> torch.Tensor:
        eden.set_chip_(network, 7)
        with torch.no_grad():
            return (network if run is None else run)(x)

    expected = outputs(model)
    assert torch.equal(outputs(copy.deepcopy(model)), expected)
    eden.save(model, tmp_path / "network")
    assert torch.equal(outputs(eden.load_(BY_FUNCTIONS[name][0]().eval(), tmp_path / "network")), expected)
    assert torch.equal(outputs(torch.load(_saved(model, tmp_path), weights_only=False)), expected)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(outputs(model, compiled), expected, atol=1e-5)
    model(x).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    eden.inject_(model, eden.Faults(RATE, RATE, storage="int8"))
    assert eden.operands(model).keys() == infos.keys()
    eden.remove_(model)
    assert type(model) is type(BY_FUNCTIONS[name][0]())
    assert torch.allclose(model(x), outputs_of_the_original(name, model, x))


def _saved(model: nn.Module, folder: Path) -> Path:
    torch.save(model, folder / "whole")
    return folder / "whole"


def outputs_of_the_original(name: str, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    fresh = BY_FUNCTIONS[name][0]().eval()
    fresh.load_state_dict(model.state_dict())
    return fresh(x)


def test_layers_that_came_after_the_faults_are_named():
    model = nn.Sequential(nn.Linear(8, 8))
    eden.inject_(model, eden.Faults(RATE))
    model.append(nn.Linear(8, 8))
    rows = {row.name: row.note for row in eden.coverage(model).rows}
    assert rows["1.weight"] == "not there when faults came: inject again"


def test_functions_that_a_filter_left_out_are_named_with_a_warning():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), Swin(), Own(8, 8))
    eden.inject_(model, eden.Faults(RATE, RATE), lambda name, _: name == "0")
    with pytest.warns(UserWarning, match=r"% of the bytes of parameters do not go through the memory: 1\.experts \("):
        eden.calibrate_(model, [images(4)])
    rows = {row.name: row for row in eden.coverage(model, sample=images(4)).rows}
    assert rows["1.qkv.weight"].note == "filter_fn left the layer out"
    assert rows["1.experts"].note == "read by mm in Swin, outside of any layer"
    assert rows["1.scaled_dot_product_attention"].bytes == 3 * 4 * 8 * 4
    assert rows["1.bmm"].bytes == 4 * (2 * 4 * 8 + 4 * 4 + 4 * 8)


def test_weights_that_are_no_plain_tensors_of_their_layer_are_named_once():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3)))
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(model[0])
    nn.utils.parametrizations.weight_norm(model[1])
    prune.l1_unstructured(model[2], "weight", 0.5)
    eden.inject_(model, eden.Faults(RATE, RATE, storage="int8"))
    for found in (
        eden.coverage(eden.calibrate_(model, [torch.rand(4, 8)])),
        eden.coverage(model, sample=torch.rand(2, 8)),
    ):
        assert found.faulty_bytes == 3 * (64 + 8)
        assert found.reliable_bytes == 3 * 8 * 4  # biases
        made = [row.note for row in found.reliable if row.bytes == 0]
        assert len(made) == 6
        assert all("which is made from it, is what memory holds" in note for note in made)


def test_packed_weights_are_named():
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("qweight", torch.randint(-8, 8, (8, 8), dtype=torch.int32))
            self.register_buffer("scale", torch.rand(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ (self.qweight * self.scale)

    model = nn.Sequential(nn.Linear(8, 8), Packed())
    eden.inject_(model, eden.Faults(RATE))
    with pytest.warns(UserWarning, match=r"1\.qweight \(packed values, read by mm in Packed"):
        eden.calibrate_(model, [torch.rand(4, 8)])
    rows = {row.name: row for row in eden.coverage(model).rows}
    assert rows["1.qweight"].note == "integers, such as packed values, which faults do not reach"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dynamic = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Flatten(), nn.Linear(8, 8)), {nn.Linear})
        model = nn.Sequential(nn.Linear(8, 8), dynamic)
    eden.inject_(model, eden.Faults(RATE))
    with pytest.warns(UserWarning, match=r"1\.1\.weight \(Linear keeps it packed"):
        eden.calibrate_(model, [torch.rand(4, 8)])
    (row,) = [row for row in eden.coverage(model).rows if row.kind == "packed"]
    assert (row.name, row.bytes) == ("1.1.weight", 64)
