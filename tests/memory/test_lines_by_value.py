"""Do lines with a rate for each stored value flip what lines of each rate flip, and go together as they say?

What cells that store 0 do is what a model of lines with the rate of zeros does, to the bit; so it is of ones where
lines have one mark. What is left is checked by means of many lines, within 5 standard deviations.
"""

import itertools
import math

import numpy as np
import pytest
import torch

import eden
from eden.memory.errors import ErrorModel
from eden.memory.lines_by_value import BitlineByValue, WordlineByValue

GEOMETRY = eden.Geometry(row_bits=256, subarray_rows=64, bank_rows=4096)
KINDS = {BitlineByValue: eden.Bitline, WordlineByValue: eden.Wordline}
MARKS = ("alike", "opposite", "apart")
RATES = [(1e-3, 2e-2), (0.2, 0.05), (0.0, 0.3), (0.03, 0.03)]


def words(kind: str, size: int = 1 << 15) -> torch.Tensor:
    """Bytes that store zeros, ones, or both."""
    if kind != "both":
        return torch.full((size,), 0 if kind == "zeros" else -1, dtype=torch.int8)
    return torch.randint(-128, 128, (size,), generator=torch.Generator().manual_seed(3), dtype=torch.int8)


def flips(errors: ErrorModel, stored: str, seed: int = 7, address: int = 0) -> torch.Tensor:
    x = words(stored)
    return eden.corrupt(x, errors, seed=seed, address=address, access=5) ^ x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("zero", "one"), RATES)
@pytest.mark.parametrize("failure", [1.0, 0.6])
def test_each_value_flips_as_lines_of_its_rate_do(kind, zero, one, failure):
    rates = [rate * failure for rate in (zero, one)]
    lines = [KINDS[kind](rate, 0.1, failure, GEOMETRY) for rate in rates]
    for marks, address in itertools.product(MARKS, (0, 8 * 1001)):
        errors = kind(*rates, 0.1, failure, GEOMETRY, marks)
        zeros, ones = (flips(errors, stored, address=address) for stored in ("zeros", "ones"))
        assert torch.equal(zeros, flips(lines[0], "zeros", address=address))
        if marks == "alike":
            assert torch.equal(ones, flips(lines[1], "ones", address=address))
        # Of words of both values, each bit flips as its value does.
        x = words("both")
        assert torch.equal(flips(errors, "both", address=address), (zeros & ~x) | (ones & x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("marks", MARKS)
def test_a_higher_rate_only_adds_flips(kind, marks):
    for failure in (1.0, 0.6):
        last = [torch.zeros_like(words("zeros"))] * 2
        for ber in (1e-4, 1.01e-4, 1e-2, 0.0606, 0.07, 0.3, 1.0):
            errors = kind(min(2 * ber, 1.0) * failure, ber * failure / 3, 0.2, failure, GEOMETRY, marks)
            found = [flips(errors, stored) for stored in ("zeros", "ones")]
            for mild, harsh in zip(last, found, strict=True):
                assert torch.equal(mild & harsh, mild)
            last = found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("marks", MARKS)
def test_means_and_how_lines_go_together(kind, marks):
    zero, one, dispersion, length = 0.05, 0.15, 0.3, 64 if kind is BitlineByValue else 256
    errors = kind(zero, one, dispersion, geometry=GEOMETRY, marks=marks)
    shares = []
    for stored in ("zeros", "ones"):
        of_chips = []
        for seed in range(24):
            bits = np.unpackbits(flips(errors, stored, seed=seed).numpy().view(np.uint8), bitorder="little")
            cells = bits.reshape(-1, 64, 256)
            of_chips.append(cells.mean(axis=1 if kind is BitlineByValue else 2).ravel())
        shares.append(np.concatenate(of_chips))
    for share, rate in zip(shares, (zero, one), strict=True):
        variance = rate * (1 - rate) * (dispersion + (1 - dispersion) / length)
        assert abs(share.mean() - rate) < 5 * math.sqrt(variance / share.size)
    found = np.corrcoef(*shares)[0, 1]
    # Beta laws of one size: their quantiles are correlated by 0.9 where they rise together.
    assert {"alike": found > 0.8, "opposite": found < -0.1, "apart": abs(found) < 5 / math.sqrt(shares[0].size)}[marks]


def test_threads_and_chunks_find_the_same():
    errors = BitlineByValue(0.01, 0.08, 0.1, geometry=GEOMETRY, marks="opposite")
    x = words("both", 1 << 20)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = eden.corrupt(x, errors, seed=2)
        torch.set_num_threads(2)
        assert torch.equal(eden.corrupt(x, errors, seed=2), alone)
    finally:
        torch.set_num_threads(before)
    half = eden.corrupt(x[1 << 19 :], errors, seed=2, address=8 << 19)
    assert torch.equal(half, alone[1 << 19 :])


def test_scaling_keeps_the_asymmetry():
    errors = WordlineByValue(0.01, 0.03, 0.1, failure=0.5)
    assert errors.ber == pytest.approx(0.02)
    assert errors.scaled(0.04) == WordlineByValue(0.02, 0.06, 0.1, failure=0.5)
    # One value at F, the other with the rest.
    assert errors.scaled(0.4).ber_zero == pytest.approx(0.3)
    assert errors.scaled(0.4).ber_one == 0.5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.6, 0.1, 0.1, 0.5), ValueError, "ber_zero is 0.6; allowed is at most failure"),
        ((0.1, -0.1, 0.1), ValueError, "ber_one is -0.1"),
        ((0.1, 0.1, 1e-9), ValueError, "dispersion is 1e-09; allowed is 0, or 1e-06 to 0.999"),
        ((0.1, 0.1, 0.1, 0.0), ValueError, "failure is 0.0"),
        ((0.1, 0.1, 0.1, 1.0, 512), TypeError, "geometry is a int"),
        ((0.1, 0.1, 0.1, 1.0, GEOMETRY, "same"), ValueError, "marks is 'same'; allowed are alike, opposite, apart"),
    ],
)
def test_what_no_lines_have_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        BitlineByValue(*arguments)
