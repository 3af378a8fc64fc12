"""Do scales and zero points cover their ranges, and does the gradient stop where codes end?"""

import math

import pytest
import torch

import eden
from eden.faults.percentiles import ValueCounts
from eden.memory import storage as quantization
from eden.memory.gradient import clipped_gradient

STORAGES = ["int16", "int8", "uint8", "int4"]
CASES = [(name, affine) for name in STORAGES for affine in (False, True)]
CASES += [(name, False) for name in quantization.SYMMETRIC]


def values(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3


def fake_quantize(
    x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor | None, storage: str, channel_dim: int
) -> torch.Tensor:
    lowest, highest = quantization.code_range(storage, zero_point is not None)
    point = torch.zeros_like(scale, dtype=torch.int32) if zero_point is None else zero_point
    if channel_dim < 0:
        return torch.fake_quantize_per_tensor_affine(x, scale, point, lowest, highest)
    return torch.fake_quantize_per_channel_affine(x, scale, point, channel_dim, lowest, highest)


def decided(x: torch.Tensor, scale: torch.Tensor, channel_dim: int) -> torch.Tensor:
    """Where torch, which multiplies by the reciprocal of the scale, cannot round another way than a division does."""
    if channel_dim >= 0:
        scale = scale.reshape([-1 if dim == channel_dim else 1 for dim in range(x.dim())])
    ratio = x.double() / scale.double()
    return ((ratio - ratio.floor()) - 0.5).abs() > 1e-6 * (1 + ratio.abs())


def test_code_ranges() -> None:
    assert quantization.code_range("int8") == (-127, 127)
    assert quantization.code_range("int8", affine=True) == (-128, 127)
    assert quantization.code_range("int16") == (-32767, 32767)
    assert quantization.code_range("int4") == (-7, 7)
    assert quantization.code_range("int4", affine=True) == (-8, 7)
    assert quantization.code_range("uint8") == quantization.code_range("uint8", affine=True) == (0, 255)
    with pytest.raises(ValueError, match="storage is 'float32'; allowed are int8, int16"):
        quantization.code_range("float32")


def test_a_sign_and_a_magnitude_have_no_zero_point() -> None:
    assert quantization.code_range("int8_sign_magnitude") == (-127, 127)
    with pytest.raises(ValueError, match="affine is True; allowed for 'int8_sign_magnitude'"):
        quantization.code_range("int8_sign_magnitude", affine=True)
    with pytest.raises(ValueError, match="zero_point is given; allowed for int4_sign_magnitude storage is None"):
        eden.corrupt(torch.ones(4), eden.Uniform(0.1), storage="int4_sign_magnitude", scale=1.0, zero_point=0)
    with pytest.raises(ValueError, match="quantization is 'affine'; allowed with storage 'int16_sign_magnitude'"):
        eden.Faults(eden.Uniform(1e-3), storage="int16_sign_magnitude", quantization="affine")


@pytest.mark.parametrize(("storage", "affine"), CASES)
@pytest.mark.parametrize("channel_dim", [-1, 0, 1])
def test_a_range_is_covered_to_half_a_step(storage: str, affine: bool, channel_dim: int) -> None:
    x = values(5, 7, 40) + 1
    if storage == "uint8" and not affine:
        x = x.abs()
    low, high = quantization.ranges(x, channel_dim)
    scale, zero_point = quantization.quantization(low, high, storage, affine)
    assert scale.dtype == torch.float32
    assert scale.shape == low.shape == (() if channel_dim < 0 else (x.shape[channel_dim],))
    assert (zero_point is None) == (not affine)
    if zero_point is not None:
        assert zero_point.dtype == torch.int32
        assert zero_point.shape == scale.shape
    read = fake_quantize(x, scale, zero_point, storage, channel_dim)
    step = scale if channel_dim < 0 else scale.reshape([-1 if d == channel_dim else 1 for d in range(3)])
    # An end may lie half a step outside the codes, because the zero point is a whole number.
    reach = 1.0 if affine else 0.5
    assert bool(((read - x).abs() <= reach * step * (1 + 1e-3)).all())
    # No code is wasted: a narrower step would not cover the range.
    lowest, highest = quantization.code_range(storage, affine)
    width = high.clamp(min=0) - low.clamp(max=0) if affine else torch.maximum(high.abs(), low.abs())
    torch.testing.assert_close(scale * (highest - lowest if affine else highest), width)
    assert bool((fake_quantize(torch.zeros_like(x), scale, zero_point, storage, channel_dim) == 0).all())


def test_int8_scale_is_the_layers() -> None:
    bounds = torch.tensor([-3.7, 2.9])
    scale, zero_point = quantization.quantization(bounds[0], bounds[1], "int8")
    assert zero_point is None
    assert torch.equal(scale, bounds.abs().amax() / 127.0)


def test_unsigned_codes_keep_negative_values_as_zero() -> None:
    scale, zero_point = quantization.quantization(torch.tensor(-9.0), torch.tensor(2.55), "uint8")
    assert zero_point is None
    assert float(scale) == pytest.approx(0.01)
    scale, _ = quantization.quantization(torch.tensor(-9.0), torch.tensor(-2.0), "uint8")
    assert float(scale) == 0.0


@pytest.mark.parametrize("storage", STORAGES)
def test_ranges_of_zero_nan_and_the_largest_numbers(storage: str) -> None:
    zero = torch.zeros(())
    scale, point = quantization.quantization(zero, zero, storage, affine=True)
    assert float(scale) == 0.0
    assert point is not None
    assert int(point) == quantization.code_range(storage, affine=True)[0]
    assert float(quantization.quantization(zero, zero, storage)[0]) == 0.0
    nan = torch.tensor(math.nan)
    for low, high in ((nan, nan), (zero - 1, nan), (nan, zero + 1)):
        for affine in (False, True):
            scale, point = quantization.quantization(low, high, storage, affine)
            assert math.isnan(scale)
            assert affine == (point is not None)
    largest = torch.tensor(torch.finfo(torch.float32).max)
    scale, point = quantization.quantization(-largest, largest, storage, affine=True)
    assert math.isfinite(scale)
    assert point is not None
    lowest, highest = quantization.code_range(storage, affine=True)
    assert int(point) in (math.floor((lowest + highest) / 2), math.ceil((lowest + highest) / 2))


def test_one_sided_ranges_are_widened_to_zero() -> None:
    scale, point = quantization.quantization(torch.tensor([2.0, -4.0]), torch.tensor([5.1, -1.0]), "uint8", affine=True)
    torch.testing.assert_close(scale, torch.tensor([5.1, 4.0]) / 255)
    assert point is not None
    assert point.tolist() == [0, 255]


def test_ends_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"low has the shape \(\) and high \(2,\)"):
        quantization.quantization(torch.zeros(()), torch.zeros(2), "int8")


def test_ranges_and_magnitudes_by_channel() -> None:
    x = values(4, 3, 5).requires_grad_()
    low, high = quantization.ranges(x, 1)
    assert torch.equal(low, x.detach().amin((0, 2)))
    assert torch.equal(high, x.detach().amax((0, 2)))
    assert not low.requires_grad
    magnitude = quantization.mean_magnitude(x, 2)
    torch.testing.assert_close(magnitude, x.detach().abs().mean((0, 1)))
    assert quantization.mean_magnitude(x).shape == ()
    vector = x[0, 0]
    assert torch.equal(quantization.ranges(vector, 0)[0], vector.detach())
    assert torch.equal(quantization.mean_magnitude(vector, 0), vector.detach().abs())
    assert quantization.mean_magnitude(x.half()).dtype == torch.float32
    for dim in (-2, 3):
        with pytest.raises(ValueError, match=f"channel_dim is {dim}; allowed are -1 for none and 0 to 2"):
            quantization.ranges(x, dim)


def test_the_mean_magnitude_is_the_best_scale_of_a_sign() -> None:
    x = values(1000)
    scale = quantization.mean_magnitude(x)
    error = [float(((factor * scale * x.sign() - x) ** 2).sum()) for factor in (0.98, 1.0, 1.02)]
    assert error[1] < min(error[0], error[2])


@pytest.mark.parametrize(("storage", "affine"), CASES)
@pytest.mark.parametrize("channel_dim", [-1, 0, 1])
def test_gradient_stops_where_that_of_a_fake_quantization_does(storage: str, affine: bool, channel_dim: int) -> None:
    x = values(6, 9, 50).requires_grad_()
    low, high = quantization.ranges(x, channel_dim)
    # Half the range, so that a good part of the values is clipped.
    scale, zero_point = quantization.quantization(low / 2, high / 2, storage, affine)
    grad = values(6, 9, 50, seed=2)
    fake_quantize(x, scale, zero_point, storage, channel_dim).backward(grad)
    assert x.grad is not None
    ours = clipped_gradient(grad, x.detach(), scale, zero_point, storage, channel_dim)
    compared = decided(x.detach(), scale, channel_dim)
    assert float(compared.float().mean()) > 0.9
    assert torch.equal(ours[compared], x.grad[compared])
    clipped = float((ours == 0).float().mean())
    assert 0.0 < clipped < 0.9


def test_gradient_at_the_ends() -> None:
    x = torch.tensor([127.4, 127.6, -127.4, -127.6, math.nan, math.inf, 0.0])
    one = torch.ones_like(x)
    scale = torch.ones(())
    assert clipped_gradient(one, x, scale, None, "int8").tolist() == [1, 0, 1, 0, 0, 0, 1]
    assert clipped_gradient(one, x, None, None, "int8").tolist() == [1, 0, 1, 0, 0, 0, 1]
    point = torch.tensor(0, dtype=torch.int32)
    assert clipped_gradient(one, x, scale, point, "int8").tolist() == [1, 0, 1, 1, 0, 0, 1]
    assert clipped_gradient(one, x, scale * math.nan, None, "int8").sum() == 0
    zeros = torch.zeros(3)
    assert clipped_gradient(torch.ones(3), zeros, torch.zeros(()), None, "int8").tolist() == [1, 1, 1]


def test_gradient_of_a_sign_is_that_of_a_hard_tanh() -> None:
    x = values(5, 64).requires_grad_()
    scale = quantization.mean_magnitude(x, 0)
    limit = scale.reshape(-1, 1)
    (torch.nn.functional.hardtanh(x / limit) * limit).sum().backward()
    assert x.grad is not None
    ours = clipped_gradient(torch.ones(5, 64), x.detach(), scale, None, "sign", 0)
    assert torch.equal(ours, (x.grad > 0.5).float())
    assert 0.0 < float(ours.mean()) < 1.0
    edge = torch.tensor([1.0, -1.0, 1.5])
    assert clipped_gradient(torch.ones(3), edge, None, None, "sign").tolist() == [1, 1, 0]


def test_gradient_of_a_float_storage_goes_straight_through() -> None:
    grad = values(10)
    for storage in ("float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"):
        assert clipped_gradient(grad, values(10) * 1e6, None, None, storage) is grad


def test_gradient_keeps_its_dtype() -> None:
    x = values(8).bfloat16()
    grad = torch.ones(8, dtype=torch.bfloat16)
    for storage in ("int8", "sign"):
        assert clipped_gradient(grad, x, torch.ones(()), None, storage).dtype == torch.bfloat16


def test_compiles_without_a_break() -> None:
    def through(x: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        scale, point = quantization.quantization(*quantization.ranges(x, 0), "int4", affine=True)
        return clipped_gradient(grad, x, scale, point, "int4", 0)

    x, grad = values(4, 20), values(4, 20, seed=2)
    compiled = torch.compile(through, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x, grad), through(x, grad))


@pytest.mark.parametrize("percent", [100.0, 99.9, 99.0, 75.0, 50.0, 0.0])
def test_percentiles_are_met_to_one_part_in_128(percent: float) -> None:
    x = values(3, 40000)
    counts = ValueCounts()
    for part in (x[:1], x[1:].half(), x[:0]):
        counts.add(part)
    seen = torch.cat([x[:1].flatten(), x[1:].half().float().flatten()]).sort().values
    low, high = counts.range(percent)
    left_out = min(math.floor(len(seen) * (100 - percent) / 100), len(seen) - 1)
    for end, exact, outwards in ((low, float(seen[left_out]), -1), (high, float(seen[-1 - left_out]), 1)):
        assert 0 <= (end - exact) * outwards <= abs(exact) / 128
    assert int((seen > high).sum()) <= left_out
    assert int((seen < low).sum()) <= left_out


def test_percentiles_of_one_sided_and_extreme_values() -> None:
    counts = ValueCounts()
    with pytest.raises(ValueError, match="no value was counted"):
        counts.range(100.0)
    counts.add(torch.zeros(10))
    assert counts.range(100.0) == (0.0, pytest.approx(0.0, abs=1e-40))
    counts.add(torch.tensor([torch.finfo(torch.float32).max, -torch.finfo(torch.float32).max, -0.0]))
    assert counts.range(100.0) == (-torch.finfo(torch.float32).max, torch.finfo(torch.float32).max)
    for percent in (-1.0, 100.1, math.nan):
        with pytest.raises(ValueError, match=f"percent is {percent}; allowed is 0 to 100"):
            counts.range(percent)
