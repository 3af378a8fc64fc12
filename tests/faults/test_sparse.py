"""Do sparse weights read values and indices from their own cells, and does no index lead beyond them?"""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import eden

pytestmark = pytest.mark.usefixtures("one_thread")


def matrix(rows: int = 6, columns: int = 9, density: float = 0.4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows)
    dense = torch.randn(rows, columns, generator=generator)
    return (dense * (torch.rand(rows, columns, generator=generator) < density)).to_sparse_csr()


def sparse(rows: int = 6, columns: int = 9) -> eden.SparseLinear:
    return eden.SparseLinear(matrix(rows, columns), torch.linspace(-1, 1, rows))


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def network() -> nn.Sequential:
    return nn.Sequential(sparse(12, 9), nn.ReLU(), sparse(3, 12)).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_layer_computes_what_its_dense_weight_does(dtype):
    layer = sparse().to(dtype)
    dense = layer.weight.to_dense().detach().requires_grad_()
    # More samples than are multiplied together, and none.
    for shape in ((9,), (2, 3, 9), (300, 9), (0, 9)):
        x, y = (randn(*shape).to(dtype).requires_grad_() for _ in range(2))
        found, expected = layer(x), F.linear(y, dense, layer.bias)
        assert torch.allclose(found, expected, atol=16 * torch.finfo(dtype).eps)
        if dtype is torch.float32:
            layer.values.grad = dense.grad = None
            (found.square().sum() + 0 * layer.values.sum()).backward()
            expected.square().sum().backward()
            assert torch.allclose(x.grad, y.grad, atol=1e-4)
            assert torch.allclose(layer.values.grad, dense.grad[dense != 0], atol=1e-2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(randn(2, 9)).dtype == dtype


def expected_output(layer: eden.SparseLinear, read: dict[str, torch.Tensor], correction: str) -> torch.Tensor:
    """What a processor computes that follows the indices entry by entry, and reads nothing that is not there."""
    values, columns, rows, x = (read[name] for name in ("values", "columns", "rows", "input"))
    count, longest = len(values), max(layer.rows.diff().tolist())
    found = torch.zeros(len(x), layer.out_features, dtype=torch.float64)
    for row in range(layer.out_features):
        first, last = rows[row].item(), rows[row + 1].item()
        if correction == "clamp":
            first, last = min(max(first, 0), count), min(max(last, 0), count)
            last = min(last, first + longest)
        elif not 0 <= first <= last <= count or last - first > longest:
            continue
        for entry in range(first, last):
            column = columns[entry].item()
            if correction == "clamp":
                column = min(max(column, 0), layer.in_features - 1)
            if 0 <= column < layer.in_features:
                found[:, row] += values[entry].double() * x[:, column].double()
    return found + layer.bias


@pytest.mark.parametrize("correction", ["none", "zero", "clamp"])
@pytest.mark.parametrize("ber", [0.003, 0.05, 0.5, 1.0])
def test_each_operand_is_read_from_its_own_cells_and_no_index_leads_beyond(correction, ber):
    layer, errors, x = sparse(40, 30), eden.Uniform(ber, 0.5 if ber < 1 else 1.0), randn(3, 30).abs()
    model = nn.Sequential(copy.deepcopy(layer)).eval()
    eden.inject_(model, eden.Faults(errors, errors, "int8", correction, seed=5))
    eden.calibrate_(model, [x])
    assert {name: info.storage for name, info in eden.operands(model).items()} == {
        "0.values": "int8",
        "0.columns": "int32",
        "0.rows": "int32",
        "0.input": "int8",
    }
    wrong = set()
    for chip in range(10):
        eden.set_chip_(model, chip)
        read = {}
        for name, info in eden.operands(model).items():
            of = x if name == "0.input" else getattr(layer, name[2:]).detach()
            options = {}
            if info.storage == "int8":
                low, high = eden.ranges(model)[name]
                bounds = None if correction == "none" else (low, high)
                options = {"scale": max(-low, high) / 127, "bounds": bounds, "correction": correction}
                options |= {"storage": "int8", "batch_dim": 0 if name == "0.input" else None}
            read[name[2:]] = eden.corrupt(of, errors, chip, info.address, 0, **options)
        found = model(x)
        assert torch.allclose(found.double(), expected_output(layer, read, correction), atol=1e-3, rtol=1e-4)
        inside = (read["columns"] >= 0) & (read["columns"] < 30)
        wrong |= {"outside"} if not inside.all() else set()
        wrong |= {"connection"} if (inside & (read["columns"] != layer.columns)).any() else set()
        wrong |= {"order"} if (read["rows"].diff() < 0).any() else set()
    if correction == "zero":  # what is left out is no product with a feature, whatever that is
        model[0].eden_faults.by_role.pop("input")
        eden.set_chip_(model, 9)
        infinite = x.clone()
        infinite[:, 0] = torch.inf
        expected = expected_output(layer, {**read, "input": infinite}, correction)
        assert torch.allclose(model(infinite).double().nan_to_num(), expected.nan_to_num(), atol=1e-3, rtol=1e-4)
    # At a rate of 1 all bits are flipped, so that all indices are negative.
    assert wrong == {0.003: {"outside", "connection", "order"}, 1.0: {"outside", "order"}}.get(ber, wrong)
    model.train()(x.clone().requires_grad_()).sum().backward()
    assert torch.isfinite(model[0].values.grad).all()


def test_a_sparse_network_goes_the_whole_way(tmp_path):
    model, x = network(), randn(400, 9)
    with torch.no_grad():
        samples = torch.utils.data.TensorDataset(x, model(x).argmax(1))
    eden.inject_(model, eden.Faults.int8(eden.Uniform(1e-3), seed=2))
    eden.calibrate_(model, [x[:50]])
    found = eden.coverage(model, sample=x[:4])
    assert found.input_share == 1.0
    indices = [f"{layer}.{role}" for layer in (0, 2) for role in ("columns", "rows")]
    assert {row.name for row in found.faulty} >= {*indices, "0.values", "2.input"}
    loader = torch.utils.data.DataLoader(samples, batch_size=100)
    search = eden.Search(coarse_only=True)
    tolerance = eden.profile(model, loader, max_drop=0.2, search=search, progress=False)
    assert tolerance.limits.keys() == eden.operands(model).keys()
    device = eden.Device.builtin("ddr3-b33")
    traffic = eden.traffic(model, repeated=False, inputs=x[:1])
    assert {name: traffic.operands[name].bytes for name in indices} == {
        name: 4 * getattr(model[int(name[0])], name[2:]).numel() for name in indices
    }
    placement = eden.place(tolerance, device, traffic=traffic)
    assert eden.account([traffic], placement, ["cpu"])
    eden.set_errors_(model, placement)
    memory_map = eden.memory_map(model, placement, device)
    mapped = eden.inject_(network(), memory_map)
    eden.save(model, tmp_path / "network.safetensors")
    loaded = eden.load_(network(), tmp_path / "network.safetensors")
    for each in (model, mapped):
        eden.set_chip_(each, 7)
    eden.set_chip_(loaded, 7)
    expected = model(x)
    for other in (mapped, loaded):
        assert torch.equal(other(x), expected)
    eden.set_chip_(model, 7)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), expected)
    with pytest.raises(ValueError, match=r"columns is kept in storage 'int32'; allowed for integer inference"):
        eden.memory_image(model)
    assert type(eden.remove_(model)[0]) is eden.SparseLinear


@pytest.mark.parametrize(
    ("name", "held", "message"),
    [
        ("columns", torch.zeros(5, dtype=torch.int32), r"columns is torch.int32 of the shape \(5,\); allowed is .*\(2"),
        ("rows", torch.zeros(7, dtype=torch.int64), r"rows is torch.int64 of the shape \(7,\); allowed is torch.int32"),
        ("columns", 9, "columns are 0 to 9; allowed are 0 to 8"),
        ("columns", -1, "columns are -1 to 8; allowed are 0 to 8"),
        ("rows", 99, "rows begin at 0, end at 99 and have"),
    ],
)
def test_indices_that_fit_no_layer_are_refused_by_name(name, held, message):
    model = nn.Sequential(nn.Linear(9, 9), sparse())
    if isinstance(held, int):
        getattr(model[1], name)[-1] = held
    else:
        setattr(model[1], name, held)
    with pytest.raises(ValueError, match=message):
        model(randn(2, 9))
    with pytest.raises(ValueError, match=rf"^1\.{message}"):
        eden.inject_(model, eden.Faults(eden.Uniform(0.1)))
    assert type(model[0]) is nn.Linear


def test_what_is_no_such_layer_is_refused():
    for bad, error, message in (
        (torch.zeros(2, 3), TypeError, "weight is of the layout torch.strided; allowed is torch.sparse_csr"),
        (torch.zeros(2, 3).to_sparse(), TypeError, "weight is of the layout torch.sparse_coo; allowed is"),
        ([[1.0]], TypeError, "weight is a list; allowed is torch.sparse_csr"),
        (matrix().double(), TypeError, "weight is torch.float64; allowed are torch.float32"),
        (torch.zeros(2, 3).to_sparse_csr(), ValueError, r"shape \(2, 3\) and 0 connections; allowed are"),
        (
            torch.sparse_csr_tensor([0, 2], [1, 1], [1.0, 2.0], (1, 3), check_invariants=False),
            ValueError,
            "weight is no matrix in compressed rows",
        ),
    ):
        with pytest.raises(error, match=message):
            eden.SparseLinear(bad)
    with pytest.raises(ValueError, match=r"bias is \(2,\); allowed is a tensor of the shape \(6,\), or None"):
        eden.SparseLinear(matrix(), torch.zeros(2))
    with pytest.raises(ValueError, match=r"input has the shape \(2, 8\); allowed is \(\.\.\., 9\)"):
        sparse()(randn(2, 8))
    planes = eden.Faults(eden.Uniform(0.1), storage="int8", planes={"weight": ["7", "6:0"]})
    model = nn.Sequential(sparse())
    assert "0.columns" in eden.operands(eden.inject_(model, planes))
    planes = eden.Faults(eden.Uniform(0.1), storage="int8", planes={"0.columns": ["7", "6:0"]})
    with pytest.raises(ValueError, match=r"planes names '0\.columns', which is no operand of values"):
        eden.inject_(model, planes)
    linear = nn.Sequential(nn.Linear(9, 6))
    linear[0].weight = nn.Parameter(matrix())
    with pytest.raises(ValueError, match=r"0\.weight has the layout torch\.sparse_csr.* or use eden\.SparseLinear"):
        eden.inject_(linear, eden.Faults(eden.Uniform(0.1)))


def test_sparse_tensors_that_functions_read_are_named():
    class Own(nn.Module):
        def __init__(self, held: torch.Tensor, buffer: bool) -> None:
            super().__init__()
            self.layer = nn.Linear(9, 9)
            self.register_buffer("w", held) if buffer else setattr(self, "w", nn.Parameter(held))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sparse.mm(self.w, self.layer(x).t()).t()

    for held, buffer in ((matrix(), False), (matrix(), True), (matrix().to_dense().to_sparse(), True)):
        model, x = Own(held, buffer).eval(), randn(4, 9)
        expected = model(x)
        eden.inject_(model, eden.Faults(eden.Uniform(0.0), eden.Uniform(0.0)))
        with pytest.warns(UserWarning, match=r"do not go through the memory: w \(read by sparse_addmm in Own, outside"):
            eden.calibrate_(model, [x])
        rows = {row.name: row.note for row in eden.coverage(model, sample=x).reliable}
        assert rows["w"] == "read by sparse_addmm in Own, outside of any layer"
        assert torch.equal(model(x), expected)
