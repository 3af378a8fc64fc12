"""Does the operator give, bit for bit, what its mathematics says, for any shape, strides, address, rate and model?

The second implementation is reference_cells.py. Its thresholds are those of the exact rates, the operator's those of
rates in double precision, so a number can fall between them: for fewer than one in 2^30 cells.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_cells as reference
import torch
from accepted import DTYPES
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from one_region import one_region
from operator_grid import operator_arguments
from torch import Tensor

import eden
from eden import _core
from eden.memory.storage import CORRECTIONS

MOST_ELEMENTS = 2048

# Fields of a region, csrc/memory/region.h, for cells that store 0 and 1.
SPARSE_FIELDS, DENSE_FIELDS, FAILURE_FIELD, CORRECTION_FIELD = slice(3, 5), slice(5, 7), 7, 8

SETTINGS = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


def words_of(x: Tensor) -> Any:
    """The stored words of a tensor in row-major order, whatever its strides."""
    width = x.element_size()
    flat = x.detach().contiguous().view({4: torch.int32, 2: torch.int16, 1: torch.int8}[width])
    return flat.numpy().view({4: np.uint32, 2: np.uint16, 1: np.uint8}[width])


@st.composite
def rates(draw: Any) -> tuple[float, float, float]:
    """BER of zeros, BER of ones, failure."""
    failure = draw(st.sampled_from([1.0, 1.0, 0.5, 0.7, 1e-3]) | st.floats(1e-6, 1.0))
    limit = 0.06058693718652422  # where the dense part begins
    probability = (
        st.sampled_from([0.0, 1.0, 0.5, limit, limit * (1 - 1e-12), limit * (1 + 1e-12), 2.0**-20])
        | st.floats(-9.0, 0.0).map(lambda exponent: 10.0**exponent)
        | st.floats(0.0, 1.0)
    )
    zero = min(draw(probability) * failure, failure)
    one = zero if draw(st.booleans()) else min(draw(probability) * failure, failure)
    return zero, one, failure


@st.composite
def layouts(draw: Any) -> tuple[tuple[int, ...], str, int]:
    """A shape, a way to lay it out, and a number for that way."""
    shape = tuple(draw(st.lists(st.integers(0, 12) | st.sampled_from([1, 31, 64, 100]), max_size=4)))
    assume(np.prod(shape, dtype=np.int64) <= MOST_ELEMENTS)
    kinds = ["contiguous", "permuted", "sliced", "offset", "expanded", "overlapping", "channels_last"]
    return shape, draw(st.sampled_from(kinds)), draw(st.integers(0, 1000))


def random_words(dtype: torch.dtype, elements: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    integers = torch.randint(0, 256, (elements * dtype.itemsize,), generator=generator, dtype=torch.uint8)
    return integers.view(dtype)


def laid_out(dtype: torch.dtype, layout: tuple[tuple[int, ...], str, int], seed: int) -> Tensor:
    """A tensor of random words of a shape in a layout."""
    shape, kind, number = layout
    elements = int(np.prod(shape, dtype=np.int64))
    if kind == "permuted":
        order = np.random.default_rng(number).permutation(len(shape)).tolist()
        stored = random_words(dtype, elements, seed).view([shape[d] for d in order])
        return stored.permute(np.argsort(order).tolist()) if shape else stored
    if kind == "sliced" and shape:
        step = 2 + number % 2
        wide = [*shape[:-1], shape[-1] * step + 1]
        return random_words(dtype, int(np.prod(wide)), seed).view(wide)[..., 1::step][..., : shape[-1]]
    if kind == "offset":  # so that no vector of elements is aligned
        return random_words(dtype, elements + 1 + number % 7, seed)[1 + number % 7 :][:elements].view(shape)
    if kind == "expanded" and shape:
        dim = number % len(shape)
        small = [*shape[:dim], 1, *shape[dim + 1 :]]
        return random_words(dtype, int(np.prod(small)), seed).view(small).expand(shape)
    if kind == "overlapping":
        strides = [1 + number % 3] * len(shape)
        reach = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True) if size)
        return random_words(dtype, max(reach, 1), seed).as_strided(shape, strides)
    x = random_words(dtype, elements, seed).view(shape)
    if kind == "channels_last" and len(shape) == 4:
        return x.to(memory_format=torch.channels_last)
    return x


def by_sample(words: Any, batch_dim: int) -> Any:
    """Words as (samples, elements of a sample)."""
    if batch_dim < 0 or words.ndim == 0:
        return words.reshape(1, -1)
    moved = np.moveaxis(words, batch_dim, 0)
    return moved.reshape(moved.shape[0], int(np.prod(moved.shape[1:], dtype=np.int64)))


def to_shape(samples: Any, shape: tuple[int, ...], batch_dim: int) -> Any:
    """The inverse of by_sample."""
    if batch_dim < 0 or not shape:
        return samples.reshape(shape)
    moved = (shape[batch_dim], *shape[:batch_dim], *shape[batch_dim + 1 :])
    return np.moveaxis(samples.reshape(moved), 0, batch_dim)


chips = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, -1])
accesses = st.integers(0, 2**54 - 1) | st.integers(0, 3)
# In elements; an operand ends below 2^63.
places = st.integers(0, 40) | st.integers(0, 2**56) | st.integers(0, 300).map(lambda i: (1 << 27) - i)


def test_the_reference_is_of_this_layout():
    assert _core.RANDOM_LAYOUT_VERSION == reference.LAYOUT_VERSION


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, 2**64 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            0x299F31D0A4093822,
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_references_random_numbers_have_their_known_answers(counter, key, expected):
    found = reference.philox(np.array([counter], dtype=np.uint64), key)[0]
    assert " ".join(f"{word:08x}" for word in found) == expected


def test_the_table_of_marks_in_a_block_is_that_of_exact_arithmetic():
    header = Path(__file__).parents[2] / "csrc" / "base" / "poisson.h"
    table = [int(number, 16) for number in re.findall(r"0x([0-9a-f]+)u", header.read_text())]
    assert table == reference.poisson_table().tolist()


@given(rates())
@SETTINGS
def test_thresholds_are_those_of_exact_arithmetic(rate):
    ber_zero, ber_one, failure = rate
    fields = np.ravel(one_region(eden.DataDependent(ber_zero, ber_one, failure))).astype(np.int64).view(np.uint64)
    limits = zip((ber_zero, ber_one), fields[SPARSE_FIELDS], fields[DENSE_FIELDS], strict=True)
    for ber, sparse, dense in limits:
        exact = reference.threshold(ber, failure)
        # Double precision: a few units in 2^52 of the rate; what is left of a difference of nearly equal numbers.
        assert abs(int(sparse) - exact.sparse) <= 1
        assert abs(int(dense) - exact.dense) <= 2**64 * 2**-50
    assert int(fields[FAILURE_FIELD]) == reference.fraction(failure)


@given(
    dtype=st.sampled_from(list(DTYPES)),
    layout=layouts(),
    rate=rates(),
    chip=chips,
    place=places,
    access=accesses,
    batch=st.integers(-1, 3),
    way=st.sampled_from(["new", "out", "strided out", "in place"]),
    seed=st.integers(0, 2**31),
)
@example("float32", ((2, 3), "contiguous", 0), (1.0, 1.0, 1.0), 0, 0, 0, 0, "new", 0)
@example("int8", ((), "contiguous", 0), (0.5, 0.5, 0.5), -1, 2**56, 2**54 - 1, 0, "in place", 1)
@SETTINGS
def test_bits_are_those_of_the_mathematics(dtype, layout, rate, chip, place, access, batch, way, seed):
    ber_zero, ber_one, failure = rate
    x = laid_out(DTYPES[dtype], layout, seed)
    batch_dim = min(batch, x.dim() - 1)
    width = 8 * x.element_size()
    address = place * width
    stored = words_of(x).reshape(x.shape)
    expected = to_shape(
        reference.read(by_sample(stored, batch_dim), width, chip, address, access, (ber_zero, ber_one), failure),
        tuple(x.shape),
        batch_dim,
    )
    errors = eden.DataDependent(ber_zero, ber_one, failure)
    arguments = operator_arguments(x, errors, chip, address, access, batch_dim=batch_dim)
    if way == "new" or layout[1] in ("expanded", "overlapping"):
        y = torch.ops.eden.corrupt(**arguments)
    elif way == "in place":
        y = x
        torch.ops.eden.corrupt_(**arguments)
    else:
        y = torch.empty(x.shape, dtype=x.dtype)
        if way == "strided out" and x.dim():
            y = torch.empty((*x.shape[:-1], 2 * x.shape[-1]), dtype=x.dtype)[..., ::2]
        torch.ops.eden.corrupt_out(**arguments, out=y)
    assert np.array_equal(words_of(y).reshape(x.shape), expected)
    if way != "in place":
        assert np.array_equal(words_of(x).reshape(x.shape), stored)


@pytest.mark.parametrize("chip", [0, -(2**62) + 12345])
@pytest.mark.parametrize("level", range(reference.SHALLOWEST, reference.DEEPEST + 1))
def test_a_cell_is_weak_from_its_lowest_mark_on(chip, level):
    # Marks of deep levels are too rare for the tests above to meet, and so are those that only their last bits decide.
    for block in (0, (2**62 >> reference.block_bits(level)) + 3):
        cells, _ = reference.marks(chip, level, np.array([block], dtype=np.uint64))
        for cell in np.unique(cells)[:3]:
            around = (cell & ~np.uint64(7)) + np.arange(8, dtype=np.uint64)
            lowest = reference.lowest_marks(chip, around)
            code = int(lowest[int(cell) & 7])
            assert code < (reference.DEEPEST - level + 1) * reference.WORD
            for limit in (code, code + 1):
                arguments = operator_arguments(
                    torch.zeros(1, dtype=torch.int8), eden.Uniform(0.0), chip, int(around[0])
                )
                arguments["region"][..., SPARSE_FIELDS] = limit
                flips = int(torch.ops.eden.corrupt(**arguments).view(torch.uint8))
                assert flips == sum(1 << bit for bit in range(8) if int(lowest[bit]) < limit)


@given(
    storage=st.sampled_from(["float32", *reference.CODES]),
    layout=layouts(),
    rate=rates(),
    chip=chips,
    place=places,
    batch=st.integers(-1, 3),
    correction=st.sampled_from(["none", "zero", "clamp"]),
    bounds=st.tuples(st.floats(-4.0, 0.0, width=32), st.floats(0.0, 4.0, width=32)),
    scale=st.floats(2.0**-9, 0.125, width=32) | st.sampled_from([0.0, float("nan"), 2.0**-5]),
    seed=st.integers(0, 2**31),
)
@SETTINGS
def test_values_are_those_of_the_mathematics(
    storage, layout, rate, chip, place, batch, correction, bounds, scale, seed
):
    ber_zero, ber_one, failure = rate
    x = laid_out(torch.float32, layout, seed)
    # Values of a plausible size; every fifth whatever the bits say: NaN, infinities, denormal numbers; and ties.
    usual = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    place_in_five = torch.arange(x.numel()).reshape(x.shape) % 5
    x = torch.where(place_in_five == 0, x, usual)
    if scale > 0.0:
        x = torch.where(place_in_five == 1, (torch.floor(usual / scale) + 0.5) * scale, x)
    batch_dim = min(batch, x.dim() - 1)
    address = place * 32
    errors = eden.DataDependent(ber_zero, ber_one, failure)
    stored_scale, read_scale = np.float32(1.0 if scale == 0.0 else scale), np.float32(scale)  # a range of 0 reads 0
    low, high = (np.float32(bound) for bound in bounds)
    values = x.numpy()
    codes = reference.CODES.get(storage)
    if codes is None:
        width, words = 32, values.view(np.uint32)
        if correction != "none":  # what is beyond an end is stored as the end; one of 0 has the sign of what is beyond
            ends = np.where(low == 0, np.float32(-0.0), low), np.where(high == 0, np.float32(0.0), high)
            with np.errstate(invalid="ignore"):
                stored = np.where(values < low, ends[0], np.where(values > high, ends[1], values))
            words = np.where(np.isnan(values), words, stored.astype(np.float32).view(np.uint32))
    else:
        width, words = codes.bits, reference.encode(values, stored_scale, codes).astype(np.uint16)
        with np.errstate(all="ignore"):
            low, high = (
                reference.decode(reference.encode(np.array([bound]), stored_scale, codes), read_scale, codes)[0]
                for bound in (low, high)
            )
    read = reference.read(by_sample(words, batch_dim), width, chip, address, 0, (ber_zero, ber_one), failure)
    read = np.ascontiguousarray(to_shape(read, tuple(x.shape), batch_dim))
    decoded = read.view(np.float32) if codes is None else reference.decode(read.astype(np.uint64), read_scale, codes)
    expected = reference.correct(decoded, correction, low, high).reshape(-1)
    region = operator_arguments(x, errors, chip, address)["region"]
    region[..., CORRECTION_FIELD] = CORRECTIONS.index(correction)
    y = torch.ops.eden.corrupt(
        **operator_arguments(
            x,
            errors,
            chip,
            address,
            region=region,
            batch_dim=batch_dim,
            storage=storage,
            scale=None if storage == "float32" else torch.tensor(scale),
            bounds=None if correction == "none" else torch.tensor(bounds),
        )
    )
    result = y.numpy().reshape(-1)
    if storage == "float32":
        assert np.array_equal(result.view(np.uint32), expected.view(np.uint32))
    else:  # which NaN a product with a NaN scale is, is not said
        assert np.array_equal(result, expected, equal_nan=True)
