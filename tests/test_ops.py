"""Does the operator keep its contracts: exact, reproducible, nested, registered for compile and autograd?"""

import itertools

import pytest
import torch

import eden
from eden import _core, ops

UNIFORM = eden.Uniform(1e-2)


def bits(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous().view(torch.int32 if x.dtype == torch.float32 else torch.int8)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(bits(a), bits(b))


def flips_per_bit(a: torch.Tensor, b: torch.Tensor) -> list[int]:
    difference = (bits(a) ^ bits(b)).to(torch.int64)
    return [int(((difference >> bit) & 1).sum()) for bit in range(8 * a.element_size())]


def random(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if dtype == torch.float32:
        return torch.randn(*shape, generator=generator)
    return torch.randint(-128, 128, shape, generator=generator, dtype=torch.int8)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(counter, key, expected):
    assert " ".join(f"{word:08x}" for word in _core.philox4x32_10(counter, key)) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_ber_zero_is_the_identity(dtype):
    x = random(dtype, 1000)
    if dtype == torch.float32:
        x[:3] = torch.tensor([0x7F801234, 0x7FC00001, -1], dtype=torch.int32).view(torch.float32)
    assert same(eden.corrupt(x, eden.Uniform(0.0)), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
@pytest.mark.parametrize("ber", [1e-5, 1e-3, 2e-2, 0.1, 0.5])
@pytest.mark.parametrize("failure", [1.0, 0.5])
def test_every_bit_position_meets_the_rate(dtype, ber, failure):
    # 800 counts in all, each a binomial within 5.2 standard deviations: a false alarm for 1.6e-4 of all seeds.
    if ber > failure:
        pytest.skip("a BER above F is an error")
    x = random(dtype, 1 << 21)
    y = eden.corrupt(x, eden.Uniform(ber, failure), seed=3)
    expected = ber * x.numel()
    deviation = (expected * (1 - ber)) ** 0.5
    for bit, count in enumerate(flips_per_bit(x, y)):
        # Few expected flips make a skewed count; the 5 added covers its longer tail.
        assert abs(count - expected) <= 5.2 * deviation + 5, f"bit {bit}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_data_dependence_for_every_bit_and_value(dtype):
    # 80 binomial counts within 5 standard deviations: a false alarm for 4.6e-5 of all seeds.
    errors = eden.DataDependent(ber_zero=0.004, ber_one=0.08)
    x = random(dtype, 1 << 20)
    y = eden.corrupt(x, errors, seed=11)
    stored, difference = bits(x).to(torch.int64), (bits(x) ^ bits(y)).to(torch.int64)
    for bit, value in itertools.product(range(8 * x.element_size()), (0, 1)):
        holds = ((stored >> bit) & 1) == value
        cells, rate = int(holds.sum()), (errors.ber_zero, errors.ber_one)[value]
        count = int((((difference >> bit) & 1) == 1)[holds].sum())
        assert abs(count - rate * cells) <= 5 * (rate * cells) ** 0.5 + 5, f"bit {bit}, stored {value}"


def test_nesting_over_rates_is_exact():
    x = random(torch.float32, 1 << 16)
    last = torch.zeros_like(bits(x))
    for ber in (1e-6, 1e-5, 3e-4, 1e-3, 5e-3, 0.06, 0.07, 0.3, 0.5, 1.0):
        flipped = bits(x) ^ bits(eden.corrupt(x, eden.Uniform(ber), seed=5))
        assert not (last & ~flipped).any()
        last = flipped
    assert (last == -1).all()


def test_chips_and_addresses_are_independent():
    # Pairs of independent sets of 1e-2 of 2^21 cells share 210 cells; 6 counts within 6 standard deviations.
    x = torch.zeros(1 << 18, dtype=torch.int8)
    sets = [
        bits(eden.corrupt(x, UNIFORM, seed=seed, address=address))
        for seed, address in ((0, 0), (1, 0), (0, 1 << 40), (-1, 0))
    ]
    for a, b in itertools.combinations(sets, 2):
        shared = sum(flips_per_bit(torch.zeros_like(x), a & b))
        assert abs(shared - 1e-4 * 8 * x.numel()) < 6 * (1e-4 * 8 * x.numel()) ** 0.5


def test_flips_of_neighbours_are_independent():
    # Runs test on the order of flipped and unflipped cells: z is standard normal, |z| < 5.
    x = torch.zeros(1 << 20, dtype=torch.int8)
    y = eden.corrupt(x, eden.Uniform(0.03), seed=2)
    cells = ((y.view(torch.uint8).unsqueeze(1) >> torch.arange(8, dtype=torch.uint8)) & 1).flatten().to(torch.int64)
    ones = int(cells.sum())
    n, zeros = len(cells), len(cells) - ones
    runs = 1 + int((cells[1:] != cells[:-1]).sum())
    mean = 1 + 2 * ones * zeros / n
    deviation = ((mean - 1) * (mean - 2) / (n - 1)) ** 0.5
    assert abs((runs - mean) / deviation) < 5


def test_accesses_only_redraw_failures():
    x = random(torch.int8, 1 << 16)
    first, second = (eden.corrupt(x, eden.Uniform(1e-2, 0.5), access=access) for access in (0, 1))
    assert not same(first, second)
    persistent = [eden.corrupt(x, UNIFORM, access=access) for access in (0, 1)]
    assert same(*persistent)
    weak = bits(x) ^ bits(eden.corrupt(x, eden.Uniform(2e-2, 1.0)))
    for y in (first, second):
        assert not ((bits(x) ^ bits(y)) & ~weak).any()


@pytest.mark.parametrize("errors", [UNIFORM, eden.DataDependent(0.2, 0.01), eden.Uniform(1e-3, 0.3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_threads_and_pieces_give_the_same_flips(errors, dtype):
    x = random(dtype, 300_001)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = eden.corrupt(x, errors, seed=9, address=64)
        torch.set_num_threads(2)
        two = eden.corrupt(x, errors, seed=9, address=64)
    finally:
        torch.set_num_threads(threads)
    assert same(one, two)
    width = 8 * x.element_size()
    cuts = [0, 1, 77, 65_536, 65_537, 200_000, len(x)]
    pieces = [eden.corrupt(x[a:b], errors, seed=9, address=64 + a * width) for a, b in itertools.pairwise(cuts)]
    assert same(one, torch.cat(pieces))


def test_logical_order_whatever_the_strides():
    x = random(torch.float32, 4, 6, 5, 7)
    expected = eden.corrupt(x, UNIFORM)
    last = x.to(memory_format=torch.channels_last)
    assert same(eden.corrupt(last, UNIFORM), expected)
    assert same(eden.corrupt(x.mT.contiguous().mT, UNIFORM), expected)
    out = torch.empty_like(last)
    assert eden.corrupt(last, UNIFORM, out=out) is out
    assert same(out, expected)
    changed = last.clone(memory_format=torch.preserve_format)
    assert eden.corrupt_(changed, UNIFORM) is changed
    assert same(changed, expected)
    assert changed.is_contiguous(memory_format=torch.channels_last)


def test_in_place_out_and_empty():
    x = random(torch.float32, 1000)
    expected = eden.corrupt(x, UNIFORM)
    out = torch.empty_like(x)
    eden.corrupt(x, UNIFORM, out=out)
    assert same(out, expected)
    inside = x.clone()
    eden.corrupt_(inside, UNIFORM)
    assert same(inside, expected)
    assert eden.corrupt(torch.empty(0, 3), UNIFORM).shape == (0, 3)
    assert eden.corrupt(torch.tensor(1.0), eden.Uniform(1.0)).shape == ()
    parameter = torch.nn.Parameter(x.clone())
    with torch.no_grad():
        eden.corrupt_(parameter, UNIFORM)
    assert same(parameter.detach(), expected)
    with torch.inference_mode():
        assert same(eden.corrupt(x, UNIFORM), expected)


def test_global_generators_are_untouched():
    before = torch.random.get_rng_state()
    eden.corrupt(random(torch.float32, 100), UNIFORM)
    assert torch.equal(before, torch.random.get_rng_state())


def test_gradient_is_straight_through():
    x = random(torch.float32, 100).requires_grad_()
    eden.corrupt(x, eden.Uniform(1e-3)).mul(torch.arange(100.0)).nansum().backward()
    assert torch.equal(x.grad, torch.arange(100.0))


def tensors(x, errors=UNIFORM, correction="none", address=0):
    return (
        x,
        torch.tensor(ops.region(errors, address, correction)),
        torch.tensor(0),
        torch.tensor(0),
    )


def test_quantized_gradient_is_clipped():
    x = torch.tensor([-2.0, -1.0, 0.3, 1.0, 1.5]).requires_grad_()
    scale = torch.tensor(1.0 / 127)
    y = torch.ops.eden.corrupt(*tensors(x, eden.Uniform(0.0)), scale, None, ops.STORAGES["int8"], -1)
    assert torch.allclose(y, torch.tensor([-1.0, -1.0, 0.3, 1.0, 1.0]), atol=0.5 / 127)
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_batches_restart_at_the_address():
    sample = random(torch.float32, 3, 50)
    alone = torch.ops.eden.corrupt(*tensors(sample), None, None, 0, -1)
    for dim in (0, 1, 2):
        batch = torch.stack([sample] * 4, dim)
        read = torch.ops.eden.corrupt(*tensors(batch), None, None, 0, dim)
        for one in read.unbind(dim):
            assert same(one, alone)


@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize("correction", ["none", "zero", "clamp"])
def test_opcheck(storage, correction):
    # Rates of 0 or integer results: opcheck compares values, and flipped floats can be NaN.
    x = random(torch.float32, 4, 9)
    errors = eden.Uniform(0.0) if storage == "float32" else eden.Uniform(0.05)
    scale = torch.tensor(0.02) if storage == "int8" else None
    bounds = None if correction == "none" else torch.tensor([-1.5, 2.0])
    for gradient in (False, True):
        arguments = (*tensors(x.clone().requires_grad_(gradient), errors, correction), scale, bounds)
        arguments = (*arguments, ops.STORAGES[storage], 0)
        torch.library.opcheck(torch.ops.eden.corrupt.default, arguments)
    arguments = (*tensors(x, errors, correction), scale, bounds, ops.STORAGES[storage], 0)
    torch.library.opcheck(torch.ops.eden.corrupt_.default, arguments)
    torch.library.opcheck(torch.ops.eden.corrupt_out.default, arguments, {"out": torch.empty_like(x)})


def test_opcheck_int8():
    arguments = (*tensors(random(torch.int8, 100)), None, None, ops.STORAGES["int8"], -1)
    torch.library.opcheck(torch.ops.eden.corrupt.default, arguments)


def test_compiled_equals_eager():
    x = random(torch.float32, 64, 64)
    region, chip, access = tensors(x)[1:]

    def read(x, region, chip, access):
        return torch.ops.eden.corrupt(x * 3, region, chip, access, None, None, 0, 0).nan_to_num() * 2

    compiled = torch.compile(read, fullgraph=True)
    for ber in (1e-4, 1e-2, 0.2):
        region.copy_(torch.tensor(ops.region(eden.Uniform(ber), 0)))
        assert same(compiled(x, region, chip, access), read(x, region, chip, access))


def test_meta_tensors():
    assert eden.corrupt(torch.empty(3, 4, device="meta"), UNIFORM).shape == (3, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: eden.corrupt([1.0], UNIFORM), TypeError, "x is a list"),
        (
            lambda x: eden.corrupt(x.double(), UNIFORM),
            TypeError,
            "x has the dtype torch.float64; allowed are torch.float32",
        ),
        (lambda x: eden.corrupt(x.to_sparse(), UNIFORM), TypeError, "x has the layout torch.sparse_coo"),
        (lambda x: eden.corrupt(x, 1e-3), TypeError, "errors is a float"),
        (lambda x: eden.corrupt(x, UNIFORM, seed=1.5), TypeError, "seed is a float"),
        (lambda x: eden.corrupt(x, UNIFORM, seed=2**63), ValueError, "seed is 9223372036854775808"),
        (lambda x: eden.corrupt(x, UNIFORM, seed=torch.tensor(1.0)), TypeError, "seed is a torch.float32 tensor"),
        (lambda x: eden.corrupt(x, UNIFORM, address=-32), ValueError, "address is -32"),
        (lambda x: eden.corrupt(x, UNIFORM, address=8), ValueError, "multiple of the element's 32 bits"),
        (lambda x: eden.corrupt(x, UNIFORM, address=2**63 - 32), ValueError, "address is 9223372036854775776"),
        (lambda x: eden.corrupt(x, UNIFORM, address=0.5), TypeError, "address is a float"),
        (lambda x: eden.corrupt(x, UNIFORM, access=-1), ValueError, "access is -1"),
        (lambda x: eden.corrupt(x, UNIFORM, out=x), ValueError, "out shares its memory with x"),
        (lambda x: eden.corrupt(x, UNIFORM, out=x[:3].clone()), ValueError, r"out has shape \(3,\)"),
        (lambda x: eden.corrupt(x, UNIFORM, out=3), TypeError, "out is a int"),
        (lambda x: eden.corrupt_(x.requires_grad_(), UNIFORM), ValueError, "x requires a gradient"),
        (lambda x: eden.Uniform(1.5), ValueError, "ber is 1.5; allowed is 0 to 1"),
        (lambda x: eden.Uniform(float("nan")), ValueError, "ber is nan"),
        (lambda x: eden.Uniform(0.5, failure=0.2), ValueError, r"ber is 0.5; allowed is at most failure \(0.2\)"),
        (
            lambda x: ops.region(UNIFORM, 0, "median"),
            ValueError,
            "correction is 'median'; allowed are none, zero, clamp",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.ones(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: torch.zeros(3, dtype=torch.int64)}, "region"),
        ({2: torch.zeros(1)}, "chip"),
        ({3: torch.zeros(2, dtype=torch.int64)}, "access"),
        ({5: torch.zeros(3)}, "bounds"),
        ({6: 77}, "storage is 77"),
        ({6: 1}, "scale is missing"),
        ({7: 4}, "batch_dim is 4"),
    ],
)
def test_the_operator_itself_checks_its_arguments(change, message):
    arguments = [*tensors(torch.ones(10)), None, None, 0, -1]
    for position, value in change.items():
        arguments[position] = value
    with pytest.raises(RuntimeError, match=message):
        torch.ops.eden.corrupt(*arguments)


def test_a_backward_pass_notices_that_a_saved_tensor_was_corrupted():
    for change in (
        lambda x: eden.corrupt_(x, eden.Uniform(0.3)),
        lambda x: eden.corrupt(torch.ones(64), eden.Uniform(0.3), out=x),
    ):
        weight, x = torch.ones(64, requires_grad=True), torch.ones(64)
        loss = (weight * x).sum()
        change(x)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    with torch.inference_mode():
        eden.corrupt_(torch.ones(64), eden.Uniform(0.3))
