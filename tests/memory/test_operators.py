"""Does the operator keep its contracts: exact, reproducible, nested, registered for compile and autograd?"""

import itertools
import math

import kernels
import pytest
import torch
from one_region import one_region
from torch._subclasses.fake_tensor import FakeTensorMode

import eden
from eden import _core
from eden.memory import reading
from eden.memory import storage as quantization
from eden.memory.gradient import clipped_gradient
from eden.memory.region import region_rows
from eden.memory.storage import STORAGES

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


def tensors(x, errors=UNIFORM, correction="none", address=0, **changes):
    """All arguments of the operator in the order of its schema."""
    known = {
        "x": x,
        "region": torch.tensor(one_region(errors, address, correction)),
        "chip": torch.tensor(0),
        "access": torch.tensor(0),
        "storage": STORAGES["float32"],
        "channel_dim": -1,
        "batch_dim": -1,
        **changes,
    }
    return tuple(known.get(argument.name) for argument in torch.ops.eden.corrupt.default._schema.arguments)


def test_quantized_gradient_is_clipped():
    x = torch.tensor([-2.0, -1.0, 0.3, 1.0, 1.5]).requires_grad_()
    scale = torch.tensor(1.0 / 127)
    y = torch.ops.eden.corrupt(*tensors(x, eden.Uniform(0.0), scale=scale, storage=STORAGES["int8"]))
    assert torch.allclose(y, torch.tensor([-1.0, -1.0, 0.3, 1.0, 1.0]), atol=0.5 / 127)
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("correction", ["none", "zero", "clamp"])
def test_gradient_stops_where_reliable_memory_would_be_corrected(dtype, correction):
    x = torch.randn(4096, generator=torch.Generator().manual_seed(7)).to(dtype)
    x[:2] = torch.tensor([math.nan, math.inf])
    bounds = torch.tensor([-0.5, 1.0])
    storage = STORAGES[{torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}[dtype]]
    weights = torch.arange(4096.0).remainder(251.0).to(dtype) + 1
    passes = (x >= -0.5) & (x <= 1.0) if correction != "none" else torch.ones(4096, dtype=torch.bool)
    assert 0.05 < float(passes.float().mean()) <= 1.0

    def gradient(call, x):
        x = x.clone().requires_grad_()
        arguments = tensors(x, eden.Uniform(1e-2), correction, bounds=bounds.clone(), storage=storage)
        y = call(*arguments)
        # Neither a change of the rates nor one of the bounds comes between a forward pass and its gradient.
        arguments[1].zero_()
        arguments[7].zero_()
        return torch.autograd.grad(y, x, weights)[0]

    compiled = torch.compile(lambda *arguments: reading.read(*arguments), fullgraph=True, backend="aot_eager")
    for call in (reading.read, torch.ops.eden.corrupt, compiled):
        assert torch.equal(gradient(call, x), torch.where(passes, weights, 0.0))
    arguments = tensors(x, eden.Uniform(1e-2), correction, bounds=bounds, storage=storage)
    _, tangent = torch.func.jvp(lambda x: reading.read(x, *arguments[1:]), (x,), (weights,))
    assert torch.equal(tangent, torch.where(passes, weights, 0.0))
    inside = x.clamp(-0.5, 1.0).nan_to_num(0.0)
    assert torch.equal(gradient(reading.read, inside), weights)


def test_batches_restart_at_the_address():
    sample = random(torch.float32, 3, 50)
    alone = torch.ops.eden.corrupt(*tensors(sample))
    for dim in (0, 1, 2):
        batch = torch.stack([sample] * 4, dim)
        read = torch.ops.eden.corrupt(*tensors(batch, batch_dim=dim))
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
    rest = {"scale": scale, "bounds": bounds, "storage": STORAGES[storage], "batch_dim": 0}
    for gradient in (False, True):
        arguments = tensors(x.clone().requires_grad_(gradient), errors, correction, **rest)
        torch.library.opcheck(torch.ops.eden.corrupt.default, arguments)
    arguments = tensors(x, errors, correction, **rest)
    torch.library.opcheck(torch.ops.eden.corrupt_.default, arguments)
    torch.library.opcheck(torch.ops.eden.corrupt_out.default, arguments, {"out": torch.empty_like(x)})


def test_opcheck_int8():
    arguments = tensors(random(torch.int8, 100), storage=STORAGES["int8"])
    torch.library.opcheck(torch.ops.eden.corrupt.default, arguments)


def test_compiled_equals_eager():
    kernels.needs_inductor()
    x = random(torch.float32, 64, 64)
    _, region, _, chip, access, *rest = tensors(x, batch_dim=0)

    def read(x, region, chip, access):
        return torch.ops.eden.corrupt(x * 3, region, None, chip, access, *rest).nan_to_num() * 2

    compiled = torch.compile(read, fullgraph=True)
    for ber in (1e-4, 1e-2, 0.2):
        region.copy_(torch.tensor(one_region(eden.Uniform(ber), 0)))
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
            lambda x: region_rows([(UNIFORM, 0, 0)], 0, 1, "median"),
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
        ({"region": torch.zeros(3, dtype=torch.int64)}, "region"),
        ({"chip": torch.zeros(1)}, "chip"),
        ({"access": torch.zeros(2, dtype=torch.int64)}, "access"),
        ({"access": torch.tensor(2**54)}, r"access is 18014398509481984; allowed is 0 to 2\^54 - 1"),
        ({"access": torch.tensor(-1)}, "access is -1"),
        ({"bounds": torch.zeros(3)}, "bounds"),
        ({"storage": 77}, "storage is 77"),
        ({"batch_dim": 4}, "batch_dim is 4"),
        ({"table": torch.zeros(3)}, "table"),
        ({"storage": 1, "scale": torch.ones(2)}, "scale"),
        ({"storage": 1, "scale": torch.ones(1), "zero_point": torch.zeros(1)}, "zero_point"),
        ({"storage": 10}, "storage"),
        ({"channel_dim": 0, "batch_dim": 0}, "channel_dim is 0"),
    ],
)
def test_the_operator_itself_checks_its_arguments(change, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        torch.ops.eden.corrupt(*tensors(torch.ones(10), **change))


@pytest.mark.parametrize("shift", [1, -1, 9, -9])
def test_the_operator_refuses_an_output_that_shares_a_part_of_its_memory_with_the_input(shift):
    memory = torch.arange(20, dtype=torch.float32)
    x, out = (memory[:10], memory[shift:][:10]) if shift > 0 else (memory[-shift:][:10], memory[:10])
    with pytest.raises(RuntimeError, match="out shares a part of its memory with x; allowed is x itself"):
        torch.ops.eden.corrupt_out(*tensors(x), out=out)
    expected = torch.ops.eden.corrupt(*tensors(memory[:10]))
    torch.ops.eden.corrupt_out(*tensors(memory[:10]), out=memory[10:])
    assert torch.equal(memory[10:], expected)
    torch.ops.eden.corrupt_out(*tensors(memory[:10]), out=memory[:10])
    assert torch.equal(memory[:10], expected)


def test_an_output_beside_the_input_in_one_storage_is_written_and_one_in_it_is_refused():
    def try_each(x, out, expected):
        eden.corrupt(x[:10], UNIFORM, out=out[10:])
        with pytest.raises(ValueError, match="out shares its memory with x"):
            eden.corrupt(x[:10], UNIFORM, out=out[9:19])
        return expected is None or torch.equal(out[10:], expected)

    memory = torch.arange(20, dtype=torch.float32)
    assert try_each(memory, memory, eden.corrupt(memory[:10], UNIFORM))
    with FakeTensorMode():
        fake = torch.zeros(20)
        assert try_each(fake, fake, None)
    meta = torch.zeros(20, device="meta")
    assert try_each(meta, meta, None)


@pytest.mark.parametrize("name", ["scale", "bounds", "zero_point"])
def test_nothing_that_is_read_may_lie_in_what_is_written(name):
    memory = torch.ones(12)
    options = {"storage": "int8", "scale": torch.ones(1)} if name != "bounds" else {"correction": "zero"}
    options[name] = memory[3:5] if name == "bounds" else memory[3:4]
    if name == "zero_point":
        options[name] = options[name].view(torch.int32)
    for write in (
        lambda: eden.corrupt_(memory, UNIFORM, **options),
        lambda: eden.corrupt(torch.ones(12), UNIFORM, out=memory, **options),
    ):
        with pytest.raises(RuntimeError, match=f"what is to be written shares memory with {name}"):
            write()
    assert torch.equal(memory, torch.ones(12))


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


DTYPES = [getattr(torch, name) for name in STORAGES if hasattr(torch, name) and name not in ("int4", "sign")]
NO_ERRORS = eden.Uniform(0.0)


def words(dtype: torch.dtype, n: int) -> torch.Tensor:
    size = torch.empty((), dtype=dtype).element_size()
    numbers = torch.randint(0, 256, (n * size,), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)
    return numbers.view(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_read_in_its_own_storage(dtype):
    x = words(dtype, 5000)
    assert torch.equal(eden.corrupt(x, NO_ERRORS).view(torch.uint8), x.view(torch.uint8))
    flips = eden.corrupt(x, UNIFORM, seed=1).view(torch.uint8) ^ x.view(torch.uint8)
    # The same cells whatever the bytes mean.
    as_bytes = eden.corrupt(x.view(torch.uint8), UNIFORM, seed=1) ^ x.view(torch.uint8)
    assert flips.any()
    assert torch.equal(flips, as_bytes)


def reference(x: torch.Tensor, storage: str, scale: torch.Tensor, zero_point: torch.Tensor | None) -> torch.Tensor:
    """Float32 values through a reliable storage, by torch's own arithmetic; scale as it broadcasts."""
    if storage == "sign":
        return torch.where(torch.signbit(x), -scale, scale)
    if storage not in quantization.CODE_BITS:
        return x.to(getattr(torch, storage.removesuffix("_secded"))).float()
    lowest, highest = quantization.code_range(storage, zero_point is not None)
    point = 0 if zero_point is None else zero_point
    return ((torch.round(x / scale) + point).clamp(lowest, highest) - point) * scale


IN_WORD = [x for x in STORAGES if "float" in x and x.endswith(("_mset", "_cep", "_hamming", "_bch"))]


@pytest.mark.parametrize("storage", [x for x in STORAGES if x != "int32" and x not in IN_WORD])
@pytest.mark.parametrize("channels", [False, True])
def test_values_pass_a_reliable_storage_as_torch_converts_them(storage, channels):
    x = random(torch.float32, 6, 50)
    quantized = storage in quantization.CODE_BITS
    if channels and not quantized and storage != "sign":
        pytest.skip("no scale")
    for affine in (False, True) if quantized and storage not in quantization.SYMMETRIC else (False,):
        shape = (6,) if channels else ()
        scale = torch.linspace(0.01, 0.3, 6) if channels else torch.tensor(0.1)
        point = torch.full(shape, 3, dtype=torch.int32) if affine else None
        given = {"scale": scale, "zero_point": point, "channel_dim": 0 if channels else None}
        options = given if quantized or storage == "sign" else {}
        read = eden.corrupt(x, NO_ERRORS, storage=storage, **options)
        expected = reference(x, storage, scale.unsqueeze(1) if channels else scale, None if point is None else 3)
        assert torch.equal(read, expected)
        half = eden.corrupt(x.half(), NO_ERRORS, storage=storage, **options)
        assert half.dtype == torch.float16
        leaf = x.clone().requires_grad_()
        eden.corrupt(leaf, eden.Uniform(0.01), storage=storage, **options).nan_to_num().sum().backward()
        ones = torch.ones_like(x)
        clipped = clipped_gradient(ones, x, scale, point, storage, 0 if channels else -1)
        if not quantized and storage != "sign":
            continue  # where a flip made a NaN, nan_to_num stops the gradient
        assert torch.equal(leaf.grad, clipped)


def test_a_correction_replaces_implausible_values():
    x = torch.tensor([-3.0, -1.0, 0.5, 2.0, torch.nan, torch.inf])
    # What is beyond a range is stored as its end, in every floating-point storage; a NaN cannot be.
    for storage in (None, "bfloat16", "float8_e5m2", "float32_secded", "bfloat16_mset", "bfloat16_hamming"):
        for correction in ("zero", "clamp"):
            read = eden.corrupt(x, NO_ERRORS, bounds=(-1.0, 1.0), correction=correction, storage=storage)
            assert read.tolist() == [-1, -1, 0.5, 1, 0, 1]
    # An error that leads beyond it is corrected: the sign bit, and the highest bit of the exponent.
    hit = eden.CellMap([31, 32 + 30, 64 + 30], True, True, bits=128)
    values = torch.tensor([0.5, 0.5, 1.0, -0.5])
    options = {"bounds": (-0.25, 1.0), "errors": hit}
    assert eden.corrupt(values, **options, correction="zero").tolist() == [0, 0, 0, -0.25]
    assert eden.corrupt(values, **options, correction="clamp").tolist() == [-0.25, 1, 1, -0.25]


@pytest.mark.parametrize("model", [eden.Bitline, eden.Wordline])
def test_pieces_are_read_as_operands_of_their_own(model):
    x = random(torch.int8, 3000)
    lines, cells = model(0.05, 0.1), eden.CellMap(range(0, 8000, 3), True, True, 8000)
    pieces = [(lines, 800, 8000), (cells, 160, 4000), (None, 0, 4000), (UNIFORM, 8 * 12345, 80000)]
    read = eden.corrupt(x, pieces, seed=3)
    alone = [
        eden.corrupt(x[:1000], lines, seed=3, address=800),
        eden.corrupt(x[1000:1500], cells, seed=3, address=160),
        x[1500:2000],
        eden.corrupt(x[2000:], UNIFORM, seed=3, address=8 * 12345),
    ]
    assert torch.equal(read, torch.cat(alone))
    assert not torch.equal(read[:1000], x[:1000])
    batch = torch.stack([x, x], 1)
    assert torch.equal(eden.corrupt(batch, pieces, seed=3, batch_dim=1), torch.stack([read, read], 1))
    if torch.__version__.startswith("2.10."):
        pytest.skip("the compiler of torch 2.10 cannot rebuild frozen dataclasses, as error models are")
    compiled = torch.compile(lambda x: eden.corrupt(x, pieces, seed=3), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), read)


SCALED = {"storage": "int8", "scale": 0.1}


@pytest.mark.parametrize(
    ("x", "errors", "options", "error", "message"),
    [
        (torch.ones(4), UNIFORM, {"storage": "int3"}, ValueError, "storage is 'int3'; allowed are float32, int8"),
        (torch.ones(4), UNIFORM, {"storage": 3}, TypeError, "storage is a int"),
        (torch.ones(4), UNIFORM, {"storage": "int32"}, TypeError, r"'int32', which cannot hold torch\.float32"),
        (torch.ones(4).byte(), UNIFORM, {"storage": "int8"}, TypeError, r"cannot hold torch\.uint8; .* are uint8"),
        (torch.ones(4), UNIFORM, {"storage": "int8"}, ValueError, "scale is None"),
        (torch.ones(4), UNIFORM, {"storage": "int8", "zero_point": 1}, ValueError, "scale is None, and zero_point"),
        (torch.ones(4), UNIFORM, {"scale": 1.0}, ValueError, "scale is given, but float32 storage"),
        (torch.ones(4), UNIFORM, SCALED | {"scale": "x"}, TypeError, "scale is a str"),
        (torch.ones(4), UNIFORM, SCALED | {"scale": -1.0}, ValueError, "scale is -1.0"),
        (torch.ones(4), UNIFORM, SCALED | {"scale": torch.ones(1).double()}, TypeError, r"torch\.float64 tensor"),
        (torch.ones(4), UNIFORM, SCALED | {"scale": torch.ones(4)}, ValueError, "allowed without channel_dim is one"),
        (torch.ones(4), UNIFORM, SCALED | {"scale": torch.ones(3), "channel_dim": 0}, ValueError, "scale has 3.* or 4"),
        (torch.ones(4), UNIFORM, SCALED | {"channel_dim": 1}, ValueError, "channel_dim is 1"),
        (torch.ones(4), UNIFORM, SCALED | {"zero_point": 0.5}, TypeError, "zero_point is a float"),
        (torch.ones(4), UNIFORM, SCALED | {"zero_point": 128}, ValueError, "zero_point is 128; .* -128 to 127"),
        (torch.ones(4), UNIFORM, SCALED | {"storage": "sign", "zero_point": 1}, ValueError, "zero_point is given"),
        (torch.ones(4), UNIFORM, SCALED | {"batch_dim": 0, "channel_dim": 0}, ValueError, "are both 0"),
        (torch.ones(4), UNIFORM, {"batch_dim": True}, TypeError, "batch_dim is a bool"),
        (torch.ones(4), UNIFORM, {"correction": "median"}, ValueError, "correction is 'median'"),
        (torch.ones(4), UNIFORM, {"correction": "zero"}, ValueError, "bounds is None"),
        (torch.ones(4), UNIFORM, {"bounds": (0.0, 1.0)}, ValueError, "bounds is given"),
        (torch.ones(4), UNIFORM, {"bounds": (1.0, 0.0), "correction": "zero"}, ValueError, "low at most high"),
        (torch.ones(4), UNIFORM, {"bounds": 3.0, "correction": "zero"}, TypeError, "bounds is 3.0"),
        (torch.ones(4).byte(), UNIFORM, {"bounds": (0.0, 1.0), "correction": "zero"}, ValueError, "allowed for codes"),
        (torch.ones(4), [], {}, TypeError, "errors holds what is no piece"),
        (torch.ones(4), [(UNIFORM, 0)], {}, TypeError, "errors holds what is no piece"),
        (torch.ones(4), [(UNIFORM, 0, 64)], {}, ValueError, "pieces of 64 bits in all; .* 128, or more"),
        (torch.ones(4), [(UNIFORM, 0, 128)], {"address": 32}, ValueError, "address is 32"),
        (torch.ones(4), [(UNIFORM, 8, 128)], {}, ValueError, r"address of pieces\[0\] is 8"),
        (torch.ones(4), eden.CellMap([3], True, True, 100), {}, ValueError, "address is 0; .* at 100, where its map"),
    ],
)
def test_bad_storages_and_memories_are_named(x, errors, options, error, message):
    for read in (eden.corrupt, eden.corrupt_):
        with pytest.raises(error, match=message):
            read(x, errors, **options)
