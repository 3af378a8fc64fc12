"""Is every operand in the memory that it was put in?"""

import pytest
import torch
import torch._dynamo.testing
from faulty_networks import GEOMETRY, MODELS, injected, linear
from torch import nn
from torch.utils.data import TensorDataset

import eden
from eden.faults.faulty_layers import FaultyLayer
from eden.faults.memories import scalable_errors, set_scaled_errors_
from eden.tolerance import evaluation

PLACE = 2**40  # of the first layer's input
TILES = eden.Geometry(row_bits=128, subarray_rows=32, bank_rows=32, banks=1, ranks=2**28 + 1)  # 4096 bits behind PLACE


def test_operands_addresses_and_bytes():
    model = injected()
    operands = eden.operands(model)
    layers = [name for name, module in model.named_modules() if isinstance(module, FaultyLayer)]
    expected = [f"{layer}.{role}" for layer in layers for role in ("weight", "input")]
    assert list(operands) == expected
    assert [info.address for info in operands.values()] == [k * 2**40 for k in range(len(expected))]
    assert operands["conv1.weight"].bytes == 4 * 9
    assert operands["conv1.input"].bytes == 64
    assert operands["linear.input"].bytes == 16
    whole = injected(storage="float32")
    assert eden.operands(whole)["conv1.weight"].bytes == 4 * 4 * 9


def test_operands_in_several_pieces():
    model, x = linear()
    weight = model[0].weight.detach()
    eden.inject_(model, eden.Faults(eden.Uniform(0.0), eden.Uniform(0.0), storage="int8"))
    eden.calibrate_(model, [x])
    reliable = model(x)
    cells = eden.CellMap(range(0, 400, 3), True, True, 400)
    pieces = [(MODELS[1], 1024, 160), (cells, 0, 240), (None, 64, 4000)]
    eden.set_errors_(model, {"0.weight": pieces})
    scale = weight.abs().max() / 127
    read = eden.corrupt(weight, pieces, storage="int8", scale=scale)
    sample = eden.corrupt(x, eden.Uniform(0.0), storage="int8", scale=x.abs().max() / 127)
    assert torch.equal(model(x), sample @ read.T)
    assert not torch.equal(model(x), reliable)
    with eden.clean(model):
        assert torch.equal(model(x), reliable)
    assert eden.operands(model)["0.weight"].errors == tuple(pieces)
    rows = {row.name: row for row in eden.coverage(model).rows}
    assert rows["0.weight"].note == f"int8, 3 pieces, BER 0 to {cells.ber:.3g}"
    with pytest.raises(ValueError, match=r"0\.weight lies in 3 pieces of memory, which have no common rate"):
        eden.profile(model, [(x, torch.zeros(40, dtype=torch.int64))])
    for bad, message in (
        ([(None, 0, 8)], r"the errors of 0\.weight: pieces hold 8 bits; allowed is what the operand takes, 672"),
        (cells, r"the errors of 0\.weight: address of pieces\[0\] is 0, of 672 bits"),
        ([(None, 4, 8000)], "multiple of the element's 8 bits"),
    ):
        with pytest.raises(ValueError, match=message):
            eden.set_errors_(model, {"0.input": None, "0.weight": bad})
        assert eden.operands(model)["0.input"].errors is not None, "nothing is changed"
    eden.set_errors_(model, {"0.weight": eden.Uniform(0.0)})
    assert torch.equal(model(x), reliable)


def test_pieces_of_one_error_model_stay_where_they_are_at_other_rates():
    model, x = linear()
    weight = model[0].weight.detach()
    eden.inject_(model, eden.Faults(eden.Uniform(1e-3), None, seed=5))
    eden.set_errors_(model, {"0.weight": [(eden.Uniform(1e-3), 1024, 1600), (eden.Uniform(1e-3), 8192, 1600)]})
    assert scalable_errors(model) == {"0.weight": eden.Uniform(1e-3)}
    rates = {0.3: eden.Uniform(0.3)}
    assert evaluation.at_rates(model, TensorDataset(x, torch.zeros(len(x), dtype=torch.int64)), list(rates), 2)
    assert eden.operands(model)["0.weight"].errors == (
        (eden.Uniform(1e-3), 1024, 1600),
        (eden.Uniform(1e-3), 8192, 1600),
    )
    set_scaled_errors_(model, {"0.weight": rates[0.3]})
    pieces = [(rates[0.3], 1024, 1600), (rates[0.3], 8192, 1600)]
    read = eden.corrupt(weight, pieces, seed=5)
    assert not torch.equal(read, eden.corrupt(weight, rates[0.3], seed=5))
    assert torch.equal((x @ read.T).nan_to_num(), model(x).nan_to_num())


def test_a_map_that_does_not_hold_the_operands_changes_nothing():
    model, _ = linear()
    errors = eden.CellMap([1], True, True, 10**6)
    with pytest.raises(ValueError, match=r"the errors of 0\.input: address of pieces\[0\] is 1099511627776"):
        eden.inject_(model, eden.Faults(errors, errors))
    assert type(model[0]) is nn.Linear


def test_another_population_of_lines_compiles_nothing_again():
    model, x = linear()
    eden.inject_(model, eden.Faults(MODELS[1], MODELS[1], storage="int8"))
    eden.calibrate_(model, [x])
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for ber in (0.01, 0.2):
        errors = eden.Wordline(ber, 0.2, geometry=GEOMETRY)
        eden.set_errors_(model, {"0.weight": errors, "0.input": errors})
        assert torch.equal(compiled(x), model(x))
    assert counter.frame_count == 1


@pytest.mark.parametrize(
    ("memory", "elements"),
    [
        (eden.CellMap([PLACE + 5], True, True, PLACE + 4096), 128),
        (eden.Bitline(0.01, 0.1, geometry=TILES), 128),
        (eden.Wordline.measured([0.0, 0.1], geometry=TILES), 128),
        ([(eden.Uniform(0.1), 64, 32 * 60), (None, 0, 32 * 40)], 100),
    ],
    ids=["map", "bitlines", "wordlines", "pieces"],
)
@pytest.mark.parametrize("batch", ["restart", "contiguous"])
def test_a_read_that_its_memory_does_not_hold_is_refused_by_name(memory, elements, batch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()).eval()
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.0), batch=batch))
    few = {"restart": 3, "contiguous": 1}[batch]
    fitting, larger = torch.randn(few, 1, 8, 8), torch.randn(few, 1, 16, 16)
    eden.calibrate_(model, [fitting])
    eden.set_errors_(model, {"0.input": memory})
    what = {"restart": "elements in a sample", "contiguous": "elements"}[batch]
    message = rf"^0\.input has 256 {what}; allowed in its memory, .* is {elements} or fewer$"
    torch._dynamo.reset()
    for forward in (model, torch.compile(model, backend="aot_eager")):
        assert forward(fitting).shape == (few, 2, 8, 8)
        with pytest.raises(ValueError, match=message):
            forward(larger)
        assert forward(fitting).shape == (few, 2, 8, 8)
    # The compiler still takes the whole network.
    whole = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert whole(fitting).shape == (few, 2, 8, 8)
    if batch == "contiguous":
        with pytest.raises(ValueError, match=rf"0\.input has 192 elements; .* {elements} or fewer"):
            model(torch.randn(3, 1, 8, 8))
    with pytest.raises((ValueError, torch._dynamo.exc.Unsupported), match=r"allowed in its memory|its memory holds"):
        whole(larger)
    # Reliable memory holds anything, and so do models without a last address.
    with eden.clean(model):
        assert model(larger).isfinite().all()
    eden.set_errors_(model, {"0.input": eden.Uniform(0.0)})
    assert model(larger).shape == (few, 2, 16, 16)
    # A calibration with what does not fit is refused by name, too.
    eden.set_errors_(model, {"0.input": memory})
    with pytest.raises(ValueError, match=r"the errors of 0\.input: "):
        eden.calibrate_(model, [larger])


def test_the_limit_of_a_memory_is_a_constant_of_a_compiled_network():
    model, x = linear()
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.0)))
    eden.calibrate_(model, [x])
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for ber in (0.01, 0.2):
        eden.set_errors_(model, {"0.input": eden.Bitline(ber, 0.1, geometry=TILES)})
        assert torch.equal(compiled(x).view(torch.int32), model(x).view(torch.int32))
        eden.faults.chips.set_chip_(model, 3)
    assert counter.frame_count == 1
