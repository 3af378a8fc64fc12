"""Are ranges, sizes and shared inputs what reliable memory shows?"""

from collections.abc import Iterator

import pytest
import torch
import torch._dynamo.testing
from faulty_networks import ERRORS, images, injected, linear, small
from torch import nn

import eden


def test_calibration_leaves_the_global_generator_alone():
    model = small()
    eden.inject_(model, eden.Faults(ERRORS, ERRORS))
    before = torch.random.get_rng_state()
    eden.calibrate_(model, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images()), batch_size=2))
    assert torch.equal(before, torch.random.get_rng_state())


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
    eden.calibrate_(model, [3 * x], outgrown=True)
    grown = {"one.input": (float((3 * x).min()), float((3 * x).max()))}  # which both read
    assert eden.ranges(model) == before | (grown if follows else {})


def test_ranges_by_hand():
    model = injected()
    eden.calibrate_(model, ranges={"conv1.input": (-1.0, 0.5)})
    assert eden.ranges(model)["conv1.input"] == (-1.0, 0.5)
    low, high = torch.aminmax(model.conv1.weight.detach())
    assert eden.ranges(model)["conv1.weight"] == (float(low), float(high))


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
    eden.calibrate_(model, ranges={"0.input": (-1.0, 1.0)})
    with pytest.raises(RuntimeError, match=r"0\.input has no calibrated mean magnitude"):
        model(x)
    eden.calibrate_(model, [x[:15], x[15:]])
    expected = model(x)
    eden.calibrate_(model, ranges={"0.input": (-1.0, 1.0)})
    assert torch.equal(model(x), expected)
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.0), storage="sign"))
    assert torch.equal(model(x), expected)


def test_inputs_have_a_storage_of_their_own_and_a_range_that_holds_a_percentile():
    model, x = linear()
    x = torch.cat([x.abs(), torch.full((1, 12), 100.0)])
    errors = eden.Uniform(1e-2)
    eden.inject_(model, eden.Faults(errors, errors, "int8_sign_magnitude", input_storage="uint8"))
    info = eden.operands(model)
    assert (info["0.weight"].storage, info["0.input"].storage) == ("int8_sign_magnitude", "uint8")
    assert eden.ranges(eden.calibrate_(model, [x]))["0.input"][1] == 100.0
    low, high = eden.ranges(eden.calibrate_(model, [x[:20], x[20:]], percentile=95.0))["0.input"]
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


def test_a_calibration_takes_a_loader_or_ranges():
    model, x = linear()
    eden.inject_(model, eden.Faults(eden.Uniform(1e-3), eden.Uniform(1e-3)))
    for wrong in ({}, {"loader": [x], "ranges": {}}):
        with pytest.raises(TypeError, match="both loader and ranges, or neither"):
            eden.calibrate_(model, **wrong)
