"""Does a network keep its identity under faults?"""

import copy

import pytest
import torch
import torch._dynamo.testing
from faulty_networks import ERRORS, images, injected, linear, small
from torch import nn

import eden
from eden.faults.faulty_layers import FaultyLayer


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
    with pytest.raises(TypeError, match="errors is a float; allowed are errors by operand, a tolerance"):
        eden.set_errors_(model, 0.1)
    with pytest.raises(ValueError, match="loader yielded no batch"):
        eden.calibrate_(model, [])
    with pytest.raises(ValueError, match=r"conv1\.input has a value that is not finite"):
        eden.calibrate_(model, [torch.full((1, 1, 8, 8), torch.nan)])
    assert model.conv1.eden_faults.observer is None
    for low, high in ((torch.nan, 1.0), (0.0, torch.inf), (1.0, 0.0)):
        with pytest.raises(ValueError, match=r"the range of conv1\.input is"):
            eden.calibrate_(model, ranges={"conv1.input": (low, high)})
    with pytest.raises(ValueError, match=r"'conv1\.weight' is no input under faults"):
        eden.calibrate_(model, ranges={"conv1.weight": (0.0, 1.0)})
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


def test_a_saved_network_keeps_its_percentile(tmp_path):
    path, (model, x) = tmp_path / "network.safetensors", linear()
    x = torch.cat([x.abs(), torch.full((1, 12), 100.0)])
    eden.inject_(model, eden.Faults.int8(eden.Uniform(1e-3), percentile=95.0))
    found = eden.ranges(eden.calibrate_(model, [x]))
    eden.save(model, path)
    other = eden.load_(linear()[0], path)
    assert eden.ranges(eden.calibrate_(other, [x])) == found


def test_functions_in_place_return_the_network(tmp_path):
    path, (model, x) = tmp_path / "network.safetensors", linear()
    assert eden.inject_(model, eden.Faults(eden.Uniform(1e-3), eden.Uniform(1e-3))) is model
    assert eden.calibrate_(model, [x]) is model
    assert eden.calibrate_(model, ranges={"0.input": (-1.0, 1.0)}) is model
    assert eden.set_errors_(model, {"0.weight": None}) is model
    assert eden.set_chip_(model, 4) is model
    eden.save(model, path)
    assert eden.load_(model, path) is model
    assert eden.remove_(model) is model
