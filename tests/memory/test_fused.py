"""Do the operators that do in one pass what formulas do with tensors give the same bits, and fit into torch?"""

import itertools
import math

import pytest
import torch

import eden
from eden.common import torch_internals
from eden.memory import storage as quantization
from eden.memory import storage as storages
from eden.memory.gradient import clipped_gradient, plausible_gradient
from eden.memory.reading import cached_bytes, empty_cache, read_measured
from eden.memory.region import region_rows
from eden.memory.storage import STORAGE_BITS

STORAGES = ("int16", "int8", "uint8", "int4")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def values(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> torch.Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3).to(dtype)


@pytest.fixture
def formulas(monkeypatch):
    """A context in which everything goes the way of a compiler."""

    def by_formulas(call, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(torch_internals, "transformed", lambda: True)
            return call(*arguments)

    return by_formulas


def same(a, b):
    assert type(a) is type(b)
    if a is None:
        return True
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    return torch.equal(torch.nan_to_num(a, nan=-7.0), torch.nan_to_num(b, nan=-7.0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("storage", "affine"),
    [
        *itertools.product([*STORAGES, "float32", "float16", "sign"], (False, True)),
        *((name, False) for name in quantization.SYMMETRIC),
    ],
)
def test_a_measured_range_is_that_of_the_formulas(dtype, storage, affine, formulas):
    nan = values(4, 70, dtype=dtype)
    nan[1, 5] = math.nan
    wide = torch.full((2, 3), torch.finfo(dtype).max, dtype=dtype)
    wide[0] *= -1
    cases = [values(6, 5, 40, dtype=dtype), values(3, 50000, dtype=dtype), values(1, 1, dtype=dtype), nan, wide]
    cases += [torch.zeros(3, 4, dtype=dtype), values(5, 40, dtype=dtype).abs(), values(40, 6, dtype=dtype).T]
    for x in cases:
        for channel_dim in (-1, 0, 1):
            for bounded in (False, True):
                arguments = (x, storage, affine, bounded, channel_dim)
                ours = quantization.measure_range(*arguments)
                theirs = formulas(quantization.measure_range, *arguments)
                assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("storage", "affine"),
    [*itertools.product([*STORAGES, "sign"], (False, True)), *((name, False) for name in quantization.SYMMETRIC)],
)
def test_a_clipped_gradient_is_that_of_the_formulas(dtype, storage, affine, formulas):
    x = values(4, 6, 70, dtype=dtype)
    x[0, 0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
    grad = values(4, 6, 70, dtype=dtype, seed=2)
    layouts = [
        (grad, x),
        (grad.mT.contiguous().mT, x.mT.contiguous().mT),
        (grad.mT.contiguous().mT, x),
        (grad[:1].expand(4, 6, 70), x),
        (grad[:0], x[:0]),
    ]
    for g, y in layouts:
        for channel_dim in (-1, 0, 1, 2):
            if y.numel() == 0 and channel_dim == 0:
                continue
            low, high = quantization.ranges(values(4, 6, 70).abs(), channel_dim)
            scale, point = quantization.quantization(low * 0 - high / 3, high / 2, "int8", affine)
            point = None if storage == "sign" else point
            for factor in (1.0, 1e-2, 0.0, -1.0, math.nan):
                arguments = (g, y, scale * factor, point, storage, channel_dim)
                expected = formulas(clipped_gradient, *arguments)
                assert same(clipped_gradient(*arguments), expected)


def test_a_gradient_that_nothing_clips_is_not_copied():
    x, grad = values(5, 70), values(5, 70, seed=2)
    scale = x.abs().amax() / 127
    assert clipped_gradient(grad, x, scale, None, "int8") is grad
    x[4, 69] *= -100
    clipped = clipped_gradient(grad, x, scale, None, "int8")
    assert clipped is not grad
    assert int((clipped != grad).sum()) == 1


@pytest.mark.parametrize("storage", ["float32", "float16", "int8", "uint8", "int4", "int8_sign_magnitude"])
@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("correction", ["none", "zero"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_measured_read_and_its_gradient_are_those_of_two_steps(storage, channels, correction, layout, formulas):
    affine = storage == "uint8"
    numel = 8 * 6 * 3 * 3
    rows, _ = region_rows(((eden.Uniform(1e-2), 0, numel * 32),), numel * 32, STORAGE_BITS[storage], correction)
    memory = (torch.tensor(rows), None, torch.tensor(3), torch.tensor(0))
    settings = (storage, affine, correction != "none", 0 if channels else -1)
    weights = values(8, 6, 3, 3).to(memory_format=layout)
    grad = values(8, 6, 3, 3, seed=2)
    results = []
    for way in (lambda call, *a: call(*a), formulas):
        w = weights.clone(memory_format=torch.preserve_format).requires_grad_()
        y = way(read_measured, w, *memory, *settings)
        y.backward(grad)
        with torch.no_grad():
            assert same(way(read_measured, w, *memory, *settings).view(torch.int32), y.view(torch.int32))
        results.append((y.detach().view(torch.int32), y.stride(), w.grad))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert same(results[0][2], results[1][2])


def test_gradients_of_a_measured_read_can_be_differentiated_again():
    rows, _ = region_rows(((eden.Uniform(1e-2), 0, 640),), 640, 8)
    memory = (torch.tensor(rows), None, torch.tensor(3), torch.tensor(0))
    w = values(80).requires_grad_()
    y = read_measured(w, *memory, "int8", False, False, -1)
    (first,) = torch.autograd.grad((y.nan_to_num() ** 2).sum(), w, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), w)
    assert torch.equal(second, torch.full((80,), 2.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_within_bounds_is_that_of_the_formulas(dtype, formulas):
    grad = values(3, 700, dtype=dtype, seed=2)
    for x in (values(3, 700, dtype=dtype), values(700, 3, dtype=dtype).T, torch.full((3, 700), math.nan, dtype=dtype)):
        for bounds in ((-0.5, 0.25), (math.nan, math.nan), (-math.inf, math.inf), (1.0, -1.0), (-1e9, 1e9)):
            arguments = (grad, x, torch.tensor(bounds))
            assert same(plausible_gradient(*arguments), formulas(plausible_gradient, *arguments))
    assert plausible_gradient(grad, values(3, 700, dtype=dtype), torch.tensor([-1e9, 1e9])) is grad


def test_opcheck():
    x, grad = values(4, 33), values(4, 33, seed=2)
    scale, number = torch.tensor([0.01, 0.1, 1.0, 0.0]), {name: storages.STORAGES[name] for name in ("int8", "uint8")}
    point = torch.tensor([3, 0, 255, 7], dtype=torch.int32)
    for arguments in ((x, number["int8"], False, True, -1), (x, number["uint8"], True, False, 0)):
        torch.library.opcheck(torch.ops.eden.measure_range.default, arguments)
    for codes in (
        (scale, None, number["int8"], 0),
        (scale, point, number["uint8"], 0),
        (None, None, number["int8"], -1),
    ):
        torch.library.opcheck(torch.ops.eden.clip_gradient.default, (grad, x, *codes))
        torch.library.opcheck(torch.ops.eden.clips.default, (x, *codes), test_utils=("test_schema",))
    bounds = (None, None, storages.STORAGES["float32"], -1, torch.tensor([-0.5, 0.5]))
    torch.library.opcheck(torch.ops.eden.clip_gradient.default, (grad, x, *bounds))
    rows, _ = region_rows(((eden.Uniform(0.0), 0, 4 * 33 * 8),), 4 * 33 * 8, 8)
    memory = (torch.tensor(rows), None, torch.tensor(3), torch.tensor(0))
    arguments = (x, *memory, number["int8"], False, 0)
    torch.library.opcheck(torch.ops.eden.corrupt_measured.default, arguments, test_utils=("test_schema",))


def test_bad_arguments_are_refused():
    x, scale = values(4, 33), torch.tensor([0.1, 0.2])
    int8 = storages.STORAGES["int8"]
    for call, message in (
        (lambda: torch.ops.eden.clips(x, scale, None, int8, 0), "scale has 2 elements; allowed is 4"),
        (lambda: torch.ops.eden.clips(x, None, None, storages.STORAGES["float32"], -1), "keeps no codes"),
        (lambda: torch.ops.eden.clips(x, None, None, int8, 2), "channel_dim is 2, x has 2 dimensions"),
        (lambda: torch.ops.eden.clips(x.int(), None, None, int8, -1), "x must be float32"),
        (lambda: torch.ops.eden.clip_gradient(x[:2], x, None, None, int8, -1), "grad must have the shape"),
        (lambda: torch.ops.eden.clip_gradient(x, x, scale, None, int8, -1, scale), "bounds were given with a scale"),
        (lambda: torch.ops.eden.clips(x, None, None, int8, -1, torch.ones(3)), "bounds has 3 elements; allowed is 2"),
        (lambda: torch.ops.eden.measure_range(x[:0], int8, False, True, -1), "x has no elements"),
        (lambda: torch.ops.eden.measure_range(x.int(), int8, False, True, -1), "x must be float32"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()


def test_cells_are_kept_by_value_and_given_back():
    empty_cache()
    x = values(1 << 14)
    errors = eden.Bitline(1e-3, dispersion=0.1)
    chip = torch.tensor(5)
    before = [eden.corrupt(x, errors, seed=chip) for _ in range(3)]
    kept = cached_bytes()
    assert kept > 0
    # In place: other cells, and again the first ones.
    chip.fill_(6)
    other = eden.corrupt(x, errors, seed=chip)
    chip.fill_(5)
    again = eden.corrupt(x, errors, seed=chip)
    empty_cache()
    fresh = [eden.corrupt(x, errors, seed=seed) for seed in (5, 6)]
    for y in (*before, again):
        assert torch.equal(y.view(torch.int32), fresh[0].view(torch.int32))
    assert torch.equal(other.view(torch.int32), fresh[1].view(torch.int32))
    assert not torch.equal(fresh[0].view(torch.int32), fresh[1].view(torch.int32))
    empty_cache()


def test_a_weight_changed_through_data_is_measured_again():
    layer = torch.nn.Linear(40, 7)
    eden.inject_(layer, eden.Faults(weights=eden.Uniform(0.0), storage="int8"))
    x = torch.eye(40)
    for factor in (1.0, 10.0):
        layer.weight.data.mul_(factor)
        expected = torch.fake_quantize_per_tensor_affine(
            layer.weight.detach(), float(layer.weight.detach().abs().max()) / 127, 0, -127, 127
        )
        torch.testing.assert_close(layer(x) - layer.bias, expected.T, atol=1e-6 * factor, rtol=1e-3)
