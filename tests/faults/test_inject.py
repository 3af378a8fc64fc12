"""Does a network stay the user's while its loads go through a faulty memory, and is nothing silently left out?"""

import copy
import io
import pickle
from collections.abc import Iterator

import kernels
import pytest
import torch
import torch._dynamo.testing
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import TensorDataset

import eden
from eden.app.models import ResNet
from eden.faults.faulty_layers import FaultyLayer
from eden.faults.memories import scalable_errors, set_scaled_errors_
from eden.tolerance import evaluation

ERRORS = eden.Uniform(1e-3)


def small() -> nn.Module:
    return ResNet(blocks=1, channels=4, image_channels=1).eval()


def images(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def injected(ber: float = 1e-3, **options) -> nn.Module:
    model = small()
    errors = eden.Uniform(ber)
    eden.inject_(model, eden.Faults(errors, errors, **{"storage": "int8", "correction": "zero", **options}))
    eden.calibrate_(model, [images()])
    return model


def test_keys_parameters_and_classes_survive():
    model = small()
    keys = list(model.state_dict())
    parameters = [id(parameter) for parameter in model.parameters()]
    classes = [type(module) for module in model.modules()]
    modules = [id(module) for module in model.modules()]
    expected = model(images())
    assert eden.inject_(model, eden.Faults(ERRORS, ERRORS)) is model
    assert list(model.state_dict()) == keys
    assert [id(parameter) for parameter in model.parameters()] == parameters
    assert isinstance(model.conv1, nn.Conv2d)
    assert isinstance(model.conv1, FaultyLayer)
    assert eden.remove_(model) is model
    assert [type(module) for module in model.modules()] == classes
    assert [id(module) for module in model.modules()] == modules
    assert not list(model.conv1.buffers())
    assert "eden_faults" not in vars(model.conv1)
    assert torch.equal(model(images()), expected)


def test_reads_are_faulty_and_clean_reads_are_not():
    model = small()
    expected = model(images())
    eden.inject_(model, eden.Faults(ERRORS, ERRORS, correction="clamp"))
    eden.calibrate_(model, [images()])
    faulty = model(images())
    assert not torch.equal(faulty, expected)
    loads = {name: info.loads for name, info in eden.operands(model).items()}
    with eden.clean(model), eden.clean(model):
        assert torch.equal(model(images()), expected)
    assert {name: info.loads for name, info in eden.operands(model).items()} == loads
    assert torch.equal(model(images()), faulty)


def test_int8_is_symmetric_quantization():
    model = nn.Sequential(nn.Linear(5, 3, bias=False))
    x = torch.randn(4, 5)
    weight = model[0].weight.detach().clone()
    eden.inject_(model, eden.Faults(eden.Uniform(0.0), eden.Uniform(0.0), storage="int8"))
    eden.calibrate_(model, [x])

    def quantized(t: torch.Tensor) -> torch.Tensor:
        scale = t.abs().max() / 127
        return (t / scale).round() * scale

    assert torch.allclose(model(x), quantized(x) @ quantized(weight).T, atol=1e-6)


@pytest.mark.parametrize("layer", [nn.Linear(6, 4), nn.Conv1d(2, 3, 3), nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 2)])
def test_samples_share_their_cells_unless_contiguous(layer):
    shape = (6,) if isinstance(layer, nn.Linear) else (2, *[5] * (layer.weight.dim() - 2))
    sample = torch.randn(shape)
    model = nn.Sequential(layer)
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.05), storage="int8"))
    eden.calibrate_(model, [sample.unsqueeze(0)])
    alone = model(sample)
    together = model(torch.stack([sample] * 3))
    assert torch.allclose(together, alone.expand_as(together), atol=1e-6)
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.05), storage="int8", batch="contiguous"))
    apart = model(torch.stack([sample] * 3))
    assert torch.allclose(apart[0], alone, atol=1e-6)
    assert not torch.allclose(apart[1], alone, atol=1e-6)


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


def test_chips_and_accesses():
    model = injected(1e-2)
    x = images()
    first = model(x)
    assert torch.equal(model(x), first), "F = 1: errors persist"
    eden.set_chip_(model, 1)
    assert not torch.equal(model(x), first)
    eden.set_chip_(model, 0)
    assert torch.equal(model(x), first)
    eden.set_errors_(model, {name: eden.Uniform(1e-2, failure=0.5) for name in eden.operands(model)})
    reads = [model(x) for _ in range(2)]
    assert not torch.equal(*reads)
    eden.set_chip_(model, 0)
    again = [model(x) for _ in range(2)]
    eden.set_chip_(model, 0)
    assert all(torch.equal(model(x), expected) for expected in again)


def test_training_advances_accesses_once_per_forward_not_in_recomputation():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)).train()
    x = torch.randn(4, 16, requires_grad=True)
    errors = eden.Uniform(0.02, failure=0.5)
    eden.inject_(block, eden.Faults(errors, errors, storage="int8"))
    eden.calibrate_(block, [x.detach()])

    def gradients(use_checkpoint: bool, reentrant: bool = False) -> list[torch.Tensor]:
        eden.set_chip_(block, 4)
        found = []
        for _ in range(2):
            block.zero_grad()
            y = checkpoint(block, x, use_reentrant=reentrant) if use_checkpoint else block(x)
            y.square().sum().backward()
            found += [parameter.grad.clone() for parameter in block.parameters()]
        assert int(block[0].eden_training_access) == 2
        return found

    plain = gradients(False)
    for reentrant in (False, True):
        for a, b in zip(plain, gradients(True, reentrant), strict=True):
            assert torch.equal(a, b)


def test_recomputation_that_cannot_be_repeated_is_refused():
    layer = nn.Sequential(nn.Linear(8, 8)).train()
    x = torch.randn(2, 8, requires_grad=True)

    def losses(failure: float) -> torch.Tensor:
        eden.inject_(layer, eden.Faults(weights=eden.Uniform(0.02, failure), storage="int8"))
        return sum(checkpoint(layer, x * factor, use_reentrant=False).sum() for factor in (1, 2))

    losses(1.0).backward()
    with pytest.raises(RuntimeError, match=r"0\.weight: read 2 times under activation checkpointing"):
        losses(0.5).backward()


def test_calibration_leaves_the_global_generator_alone():
    model = small()
    eden.inject_(model, eden.Faults(ERRORS, ERRORS))
    before = torch.random.get_rng_state()
    eden.calibrate_(model, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images()), batch_size=2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_stored_parameters_never_change_and_gradients_arrive():
    model = injected(0.01).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model(images()).sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is not None


def test_one_compiled_graph_over_changing_rates_chips_and_clean():
    model = injected()
    x = images()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for number, ber in enumerate((1e-4, 1e-3, 1e-2, 0.1)):
        eden.set_errors_(model, {name: eden.Uniform(ber) for name in eden.operands(model)})
        eden.set_chip_(model, number)
        assert torch.equal(compiled(x), model(x))
    with eden.clean(model):
        assert torch.equal(compiled(x), model(x))
    assert counter.frame_count == 1


def test_inductor_reads_the_same_bits():
    kernels.needs_inductor()
    layer = nn.Sequential(nn.Linear(32, 8, bias=False))
    eden.inject_(
        layer, eden.Faults(eden.Uniform(0.01, 0.5), eden.Uniform(0.01, 0.5), storage="int8", correction="zero")
    )
    x = torch.randn(16, 32)
    eden.calibrate_(layer, [x])
    compiled = torch.compile(layer, fullgraph=True)
    for _ in range(3):
        eden.set_chip_(layer, 1)
        expected = [layer(x) for _ in range(2)]
        eden.set_chip_(layer, 1)
        for one in expected:
            assert torch.allclose(compiled(x), one, atol=1e-5)


def test_copies_and_pickles():
    model = injected()
    expected = model(images())
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(buffer, weights_only=False),
    ):
        assert torch.equal(other(images()), expected)
        eden.set_chip_(other, 9)
        assert eden.faults.chips.chip(other) == 9
        eden.remove_(other)
        assert type(other.conv1) is nn.Conv2d
    assert eden.faults.chips.chip(model) == 0
    assert torch.equal(model(images()), expected)


def test_injecting_again_keeps_the_ranges():
    model = injected()
    before = eden.ranges(model)
    eden.inject_(model, eden.Faults(ERRORS, ERRORS, storage="float32", correction="zero", seed=3))
    assert eden.ranges(model) == before
    assert eden.faults.chips.chip(model) == 3
    model(images())


def test_tied_weights_and_shared_inputs_are_one_operand():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(6, 6, bias=False) for _ in range(3))
            self.b.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack((self.a(x), self.b(x), self.c(x + 1)))

    model = Tied()
    eden.inject_(model, eden.Faults(eden.Uniform(0.05), eden.Uniform(0.05), storage="int8"))
    eden.calibrate_(model, [torch.randn(3, 6)])
    assert list(eden.operands(model)) == ["a.weight", "a.input", "c.weight", "c.input"]
    assert eden.operands(model)["a.input"].layers == ("a", "b")
    a, b, _ = model(torch.randn(2, 6))
    assert torch.equal(a, b)


class OwnAttention(nn.MultiheadAttention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x, x, x)[0]


@pytest.mark.parametrize(
    ("storage", "correction", "follows"),
    [("float32", "zero", True), ("bfloat16", "clamp", True), ("float32", "none", False), ("int8", "zero", False)],
)
def test_numbers_with_a_correction_are_calibrated_again(storage, correction, follows):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.also = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.one(x) + self.also(x)

    model, x = Two(), torch.rand(6, 4)
    eden.inject_(model, eden.Faults(eden.Uniform(1e-3), eden.Uniform(1e-3), storage, correction))
    eden.calibrate_(model, [x])
    before = eden.ranges(model)
    found = eden.recalibrate_(model, [3 * x])
    grown = {"one.input": (float((3 * x).min()), float((3 * x).max()))}  # which both read
    assert found == (grown if follows else {})
    assert eden.ranges(model) == before | found


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


def test_transformer_layers_are_reached_in_inference_too():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=False).eval()
    x = torch.randn(5, 3, 8)
    expected = layer(x)
    eden.inject_(layer, eden.Faults(eden.Uniform(0.02), eden.Uniform(0.02), storage="int8", correction="zero"))
    eden.calibrate_(layer, [x])
    with torch.inference_mode():
        assert not torch.allclose(layer(x), expected, atol=1e-3)
    assert all(info.loads == 1 for info in eden.operands(layer).values())
    assert eden.operands(layer)["linear1.input"].bytes == 5 * 8, "sequence first: a sample is (5, 8)"
    eden.remove_(layer)
    assert layer.activation_relu_or_gelu == 1
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_corrections_at_a_high_rate():
    x = images()
    for correction in ("zero", "clamp"):
        model = injected(0.05, storage="float32", correction=correction)
        assert torch.isfinite(model(x)).all()
    model = injected(0.05, storage="float32", correction="none")
    assert not torch.isfinite(model(x)).all()


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_autocast_and_short_formats(storage):
    x = images()

    def short(model: nn.Module) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(x)

    reliable = small()
    expected = kernels.plain("convolution in bfloat16", lambda: short(reliable))
    if storage == "float32":
        perfect = eden.Uniform(0.0)
        eden.inject_(reliable, eden.Faults(perfect, perfect))
        assert torch.equal(short(reliable), expected), "memory without errors keeps every bit"
    for ber in (0.0, 1e-3):
        model = injected(ber, storage=storage)
        if storage == "float32":  # a largest value that is rounded up would else be implausible, and read as zero
            inputs = {name: pair for name, pair in eden.ranges(model).items() if name.endswith("input")}
            eden.set_ranges_(model, {name: (1.5 * low, 1.5 * high) for name, (low, high) in inputs.items()})
        plain = model(x)
        mixed = short(model)
        assert mixed.dtype == expected.dtype == torch.bfloat16
        # Eight layers in a row: each is off by a bfloat16's 2^-8, and may then be stored as the next code, 1/127 away.
        assert torch.allclose(mixed.float(), plain, atol=8 * (2**-8 + 1 / 127), rtol=0.1)
    ranges = eden.ranges(model)
    model.bfloat16()
    assert eden.ranges(model)["conv1.input"] == ranges["conv1.input"]
    assert model(x.bfloat16()).dtype == torch.bfloat16
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(x.bfloat16()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_ranges_by_hand():
    model = injected()
    eden.set_ranges_(model, {"conv1.input": (-1.0, 0.5)})
    assert eden.ranges(model)["conv1.input"] == (-1.0, 0.5)
    low, high = torch.aminmax(model.conv1.weight.detach())
    assert eden.ranges(model)["conv1.weight"] == (float(low), float(high))


class Custom(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m: eden.inject_(nn.ReLU(), eden.Faults(ERRORS)),
            ValueError,
            "no layer to put under faults: found ReLU",
        ),
        (lambda m: eden.inject_(Custom(2, 2), eden.Faults(ERRORS)), ValueError, "Custom computes its own forward"),
        (
            lambda m: eden.inject_(nn.LazyLinear(2), eden.Faults(ERRORS)),
            ValueError,
            "run a forward pass before inject_",
        ),
        (
            lambda m: eden.inject_(m, eden.Faults(ERRORS), filter_fn=lambda *_: False),
            ValueError,
            "filter_fn refused all",
        ),
        (lambda m: eden.inject_(m, ERRORS), TypeError, "faults is a Uniform"),
        (lambda m: eden.inject_("m", eden.Faults(ERRORS)), TypeError, "model is a str"),
        (lambda m: eden.Faults(), ValueError, "neither weights nor inputs"),
        (lambda m: eden.Faults(weights=1e-3), TypeError, "Faults.weights is a float"),
        (lambda m: eden.Faults(ERRORS, storage="int3"), ValueError, "'int3'; allowed are float32, int8"),
        (lambda m: eden.Faults(ERRORS, correction="median"), ValueError, "'median'; allowed are none, zero, clamp"),
        (lambda m: eden.Faults(ERRORS, storage="int32"), ValueError, "'int32'; allowed are float32, int8"),
        (lambda m: eden.Faults(ERRORS, quantization="log"), ValueError, "'log'; allowed are symmetric, affine"),
        (lambda m: eden.Faults(ERRORS, quantization="affine"), ValueError, "Faults.quantization is 'affine'"),
        (lambda m: eden.Faults(ERRORS, weight_channels=True), ValueError, "Faults.weight_channels is True"),
        (lambda m: eden.Faults(ERRORS, storage="int8", weight_channels=1), TypeError, "weight_channels is a int"),
        (lambda m: eden.Faults(ERRORS, batch="x"), ValueError, "allowed are restart, contiguous"),
        (lambda m: eden.Faults(ERRORS, seed=0.5), TypeError, "Faults.seed is a float"),
        (lambda m: eden.Faults(ERRORS, seed=2**64), ValueError, "Faults.seed is"),
        (lambda m: eden.remove_(m), ValueError, "no layer under faults"),
        (lambda m: eden.coverage(m), ValueError, "no layer under faults"),
        (lambda m: eden.calibrate_(m, []), ValueError, "no layer under faults"),
        (lambda m: eden.set_chip_(m, 1), ValueError, "no layer under faults"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(small())


def test_bad_input_to_a_network_under_faults():
    model = injected()
    with pytest.raises(ValueError, match=r"'conv9\.weight' is no operand under faults; allowed are conv1"):
        eden.set_errors_(model, {"conv1.weight": None, "conv9.weight": ERRORS})
    assert eden.operands(model)["conv1.weight"].errors == ERRORS, "nothing is changed"
    with pytest.raises(TypeError, match=r"the errors of conv1\.weight are a float"):
        eden.set_errors_(model, {"conv1.weight": 0.1})
    with pytest.raises(ValueError, match="loader yielded no batch"):
        eden.calibrate_(model, [])
    with pytest.raises(ValueError, match=r"conv1\.input has a value that is not finite"):
        eden.calibrate_(model, [torch.full((1, 1, 8, 8), torch.nan)])
    assert model.conv1.eden_faults.observer is None
    for low, high in ((torch.nan, 1.0), (0.0, torch.inf), (1.0, 0.0)):
        with pytest.raises(ValueError, match=r"the range of conv1\.input is"):
            eden.set_ranges_(model, {"conv1.input": (low, high)})
    with pytest.raises(ValueError, match=r"'conv1\.weight' is no input under faults"):
        eden.set_ranges_(model, {"conv1.weight": (0.0, 1.0)})
    with pytest.raises(TypeError, match=r"conv1\.weight has the dtype torch\.float64; allowed are torch\.float32"):
        copy.deepcopy(model).double()(images().double())
    fresh = small()
    eden.inject_(fresh, eden.Faults(ERRORS, ERRORS, storage="int8"))
    with pytest.raises(RuntimeError, match=r"conv1\.input has no calibrated range.*eden\.calibrate_"):
        fresh(images())
    unused = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    unused.forward = lambda x: unused["a"](x)
    eden.inject_(unused, eden.Faults(ERRORS, ERRORS))
    with pytest.raises(ValueError, match="b: never called in a forward pass"):
        eden.calibrate_(unused, [torch.randn(1, 2)])


def test_clean_refuses_what_would_outlive_it():
    model = injected()
    x = images()
    with eden.clean(model):
        reliable = model(x)
        for name, act in (
            ("inject_", lambda: eden.inject_(model, eden.Faults(ERRORS))),
            ("remove_", lambda: eden.remove_(model)),
        ):
            with pytest.raises(ValueError, match=f"call {name} outside of eden.clean"):
                act()
        for copier in (copy.deepcopy, pickle.dumps):
            with pytest.raises(RuntimeError, match=r"outside of eden\.clean"):
                copier(model)
    assert not torch.equal(model(x), reliable), "the errors are back"


def test_calibration_leaves_every_layer_in_its_mode():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    eden.inject_(model, eden.Faults(inputs=ERRORS)).train()
    model[1].eval()
    eden.calibrate_(model, [torch.randn(3, 4)])
    assert [module.training for module in model.modules()] == [True, True, False]


class Sometimes(nn.Module):
    """Layer b reads what layer a reads, or something else, or nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.mode = "shared"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mode == "none":
            return self.a(x)
        if self.mode == "empty":
            return self.a(x) + self.b(x[:0]).sum()
        return self.a(x) + self.b(x if self.mode == "shared" else 2 * x)


def modes(model: Sometimes, *names: str) -> Iterator[torch.Tensor]:
    for name in names:
        model.mode = name
        yield torch.ones(3, 4)


def test_inputs_are_shared_only_where_every_forward_shares_them():
    model = Sometimes()
    eden.inject_(model, eden.Faults(inputs=ERRORS, storage="int8"))
    addresses = [info.address for info in eden.operands(model).values()]
    eden.calibrate_(model, modes(model, "shared"))
    assert list(eden.operands(model)) == ["a.input"]
    eden.calibrate_(model, modes(model, "shared", "apart"))
    assert list(eden.operands(model)) == ["a.input", "b.input"], "calibrated again, on other data"
    assert [info.address for info in eden.operands(model).values()] == addresses
    assert eden.ranges(model) == {"a.input": (1.0, 1.0), "b.input": (1.0, 2.0)}

    eden.calibrate_(model.b, [torch.ones(3, 4)])
    assert [info.address for info in eden.operands(model).values()] == addresses, "a part of the network"

    eden.calibrate_(model, modes(model, "shared"))
    eden.inject_(model, eden.Faults(inputs=ERRORS, storage="int8"), lambda name, _: name == "b")
    assert list(eden.operands(model)) == ["b.input"], "its first reader is left out now"
    assert not {row.name for row in eden.coverage(model).faulty} & {row.name for row in eden.coverage(model).reliable}


def test_a_layer_that_the_first_batches_do_not_reach_is_calibrated():
    model = Sometimes()
    eden.inject_(model, eden.Faults(inputs=ERRORS, storage="int8"))
    eden.calibrate_(model, modes(model, "none", "empty", "apart"))
    assert eden.ranges(model)["b.input"] == (2.0, 2.0)
    assert eden.operands(model)["b.input"].bytes == 4


def test_parametrized_weights_are_not_taken_for_tied():
    class Same(nn.Module):
        """Computes the same tensor object for every layer, as a reused id looks."""

        weight = torch.zeros(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for layer in model:
        nn.utils.parametrize.register_parametrization(layer, "weight", Same())
    eden.inject_(model, eden.Faults(weights=ERRORS))
    assert list(eden.operands(model)) == ["0.weight", "1.weight"]
    rows = {row.name: row for row in eden.coverage(model).rows}
    original = rows["1.parametrizations.weight.original"]
    assert original.note == "1.weight, which is made from it, is what memory holds"
    assert original.bytes == 0


def test_a_sequence_first_layer_takes_a_single_sample():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=False).eval()
    eden.inject_(layer, eden.Faults(inputs=eden.Uniform(0.01), storage="int8"))
    x = torch.randn(5, 8)
    eden.calibrate_(layer, [x])
    assert eden.operands(layer)["linear1.input"].bytes == 5 * 8
    assert torch.allclose(layer(x), layer(x.unsqueeze(1)).squeeze(1), atol=1e-5)


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


def test_a_padded_batch_goes_through_an_encoder_layer_by_layer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    x, padding = torch.randn(2, 5, 8), torch.tensor([[False] * 3 + [True] * 2, [False] * 5])
    with torch.no_grad():
        expected = encoder(x, src_key_padding_mask=padding)[~padding]
        eden.inject_(encoder, eden.Faults(inputs=eden.Uniform(0.0)))
        eden.calibrate_(encoder, [x])
        loads = [info.loads for info in eden.operands(encoder).values()]
        assert torch.allclose(encoder(x, src_key_padding_mask=padding)[~padding], expected, atol=1e-5)
    assert [info.loads for info in eden.operands(encoder).values()] == [count + 1 for count in loads]
    eden.remove_(encoder)
    assert encoder.use_nested_tensor


def test_a_weight_that_is_nan_does_not_read_as_zeros():
    layer = nn.Linear(4, 4)
    eden.inject_(layer, eden.Faults(weights=eden.Uniform(0.0), storage="int8"))
    with torch.no_grad():
        layer.weight[0, 0] = torch.nan
    assert layer(torch.ones(1, 4)).isnan().all()


def test_a_chip_is_a_64_bit_integer():
    model = injected()
    for put in (eden.faults.chips.set_chip_, eden.faults.chips.set_training_chip_):
        with pytest.raises(TypeError, match="seed is a float"):
            put(model, 1.7)
        with pytest.raises(ValueError, match="seed is 9223372036854775808"):
            put(model, 2**63)
    assert eden.faults.chips.chip(model) == 0


STORAGES = [name for name in eden.memory.operators.STORAGES if name != "int32"]


def linear() -> tuple[nn.Sequential, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    model = nn.Sequential(nn.Linear(12, 7, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(7, 12, generator=generator))
    return model, torch.randn(40, 12, generator=generator) + 0.3


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("quantization", ["symmetric", "affine"])
@pytest.mark.parametrize("channels", [False, True])
def test_a_layer_reads_what_the_storage_keeps(storage, quantization, channels):
    codes = storage in eden.memory.storage.CODE_BITS
    symmetric = not codes or storage in eden.memory.storage.SYMMETRIC
    if (channels and not codes and storage != "sign") or (quantization == "affine" and symmetric):
        pytest.skip("Faults refuses it, see test_bad_input_is_named")
    model, x = linear()
    weight = model[0].weight.detach().clone()
    faults = {"storage": storage, "quantization": quantization, "weight_channels": channels}
    eden.inject_(model, eden.Faults(eden.Uniform(0.0), eden.Uniform(0.0), **faults))
    eden.calibrate_(model, [x[:15], x[15:]])

    def stored(values: torch.Tensor, channel_dim: int) -> torch.Tensor:
        if storage == "sign":
            scale = values.abs().mean(1, keepdim=True) if channel_dim == 0 else values.abs().mean()
            return torch.where(values < 0, -scale, scale)
        if not codes:
            return values.to(getattr(torch, storage)).float()
        affine = quantization == "affine" or storage == "uint8"
        low, high = eden.memory.storage.ranges(values, channel_dim)
        scale, point = eden.memory.storage.quantization(low, high, storage, affine)
        if channel_dim == 0:
            scale, point = scale.unsqueeze(1), point if point is None else point.unsqueeze(1)
        point = 0 if point is None else point
        code = torch.round(values / scale) + point
        return (code.clamp(*eden.memory.storage.code_range(storage, affine)) - point) * scale

    expected = stored(x, -1) @ stored(weight, 0 if channels else -1).T
    assert torch.allclose(model(x), expected, atol=1e-5)
    bits = eden.memory.operators.STORAGE_BITS[storage]
    assert eden.operands(model)["0.weight"].bytes == -(-weight.numel() * bits // 8)
    # Faults show, and gradients arrive.
    eden.set_errors_(model, {name: eden.Uniform(0.05) for name in eden.operands(model)})
    faulty = model.train()(x)
    assert not torch.equal(faulty, expected)
    faulty.nan_to_num(0.0, 0.0, 0.0).sum().backward()
    assert model[0].weight.grad is not None
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for twin in twins:
        assert torch.equal(twin.eval()(x).nan_to_num(), model.eval()(x).nan_to_num())


def test_inputs_that_are_never_negative_use_all_codes_of_uint8():
    model, x = linear()
    x = x.abs()
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.0), storage="uint8"))
    eden.calibrate_(model, [x])
    scale = x.max() / 255
    assert torch.allclose(model(x), torch.round(x / scale) * scale @ model[0].weight.T, atol=1e-5)
    assert int(model[0].eden_input_zero_point) == 0


def test_one_bit_needs_a_mean_magnitude_beside_a_range():
    model, x = linear()
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.0), storage="sign"))
    eden.set_ranges_(model, {"0.input": (-1.0, 1.0)})
    with pytest.raises(RuntimeError, match=r"0\.input has no calibrated mean magnitude"):
        model(x)
    eden.calibrate_(model, [x[:15], x[15:]])
    expected = model(x)
    eden.set_ranges_(model, {"0.input": (-1.0, 1.0)})
    assert torch.equal(model(x), expected)
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.0), storage="sign"))
    assert torch.equal(model(x), expected)


GEOMETRY = eden.Geometry(row_bits=256, subarray_rows=64, bank_rows=4096)
MODELS = [
    eden.DataDependent(0.01, 0.05),
    eden.Bitline(0.03, 0.1, geometry=GEOMETRY),
    eden.Wordline(0.03, 0.1, 0.5, GEOMETRY),
    eden.Bitline.measured([0.0, 0.1, 0.02], geometry=GEOMETRY),
]


@pytest.mark.parametrize("errors", MODELS)
def test_a_layer_reads_its_operand_where_the_operator_does(errors):
    model, x = linear()
    weight = model[0].weight.detach()
    eden.inject_(model, eden.Faults(errors, errors, seed=5))
    for access in range(2):
        read = eden.corrupt(weight, errors, seed=5, address=0, access=access)
        sample = eden.corrupt(x, errors, seed=5, address=2**40, access=access, batch_dim=0)
        assert torch.equal((sample @ read.T).nan_to_num(), model(x).nan_to_num())
    with eden.clean(model):
        assert torch.equal(model(x), x @ weight.T)
    eden.set_errors_(model, {"0.weight": None, "0.input": None})
    assert torch.equal(model(x), x @ weight.T)


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


PLACE = 2**40  # of the first layer's input
TILES = eden.Geometry(row_bits=128, subarray_rows=32, bank_rows=32, banks=1, ranks=2**28 + 1)  # 4096 bits behind PLACE


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


def test_inputs_have_a_storage_of_their_own_and_a_range_that_holds_a_percentile():
    model, x = linear()
    x = torch.cat([x.abs(), torch.full((1, 12), 100.0)])
    errors = eden.Uniform(1e-2)
    eden.inject_(model, eden.Faults(errors, errors, "int8_sign_magnitude", input_storage="uint8"))
    info = eden.operands(model)
    assert (info["0.weight"].storage, info["0.input"].storage) == ("int8_sign_magnitude", "uint8")
    assert eden.calibrate_(model, [x])["0.input"][1] == 100.0
    low, high = eden.calibrate_(model, [x[:20], x[20:]], percentile=95.0)["0.input"]
    assert 0.0 <= low <= float(x.flatten().sort().values[len(x) * 12 // 20])
    assert float(torch.quantile(x, 0.95)) <= high * 1.01
    assert high < 4.0
    # What lies beyond is clipped to the highest code.
    with eden.clean(model):
        stored = torch.round(x.clamp(max=high) / model[0].eden_input_scale) * model[0].eden_input_scale
        weight = model[0].weight.abs().max() / 127
        expected = stored @ (torch.round(model[0].weight / weight) * weight).T
        assert torch.allclose(model(x), expected, atol=1e-3)
    for wrong in (50.0, 100.1, float("nan")):
        with pytest.raises(ValueError, match=f"percentile is {wrong}; allowed is above 50 to 100"):
            eden.calibrate_(model, [x], percentile=wrong)
    with pytest.raises(ValueError, match="input_storage is 'int32'; allowed are None, float32"):
        eden.Faults(errors, input_storage="int32")
    with pytest.raises(ValueError, match="allowed with storage 'float32', which keeps no codes"):
        eden.Faults(errors, storage="int8", input_storage="float32", quantization="affine")
