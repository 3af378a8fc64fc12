"""Do the flips that the operator makes have the lines, maps and rates that Models 1 and 2 and cell maps promise?

Seeds are fixed. Bounds are 5 standard deviations of a mean of many cells or lines, about normal, unless said otherwise:
a right operator is outside of one for 6e-7 of all seeds.
"""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import eden
from eden.devices.fitting import fit_counts
from eden.memory.errors import ErrorModel

# A wordline of 256 cells, a bitline of 64.
GEOMETRY = eden.Geometry(row_bits=256, subarray_rows=64, bank_rows=4096)
SUBARRAY_BITS = 256 * 64
KINDS = [eden.Bitline, eden.Wordline]


def flips(errors: ErrorModel, subarrays: int, seed: int, address: int = 0, access: int = 0) -> NDArray[np.bool_]:
    """Which cells of the subarrays flip when they store 0: of shape (subarrays, wordlines, bitlines)."""
    zeros = torch.zeros(subarrays * SUBARRAY_BITS // 8, dtype=torch.int8)
    read = eden.corrupt(zeros, errors, seed=seed, address=address, access=access)
    bits = np.unpackbits(read.numpy().view(np.uint8), bitorder="little")
    return bits.astype(np.bool_).reshape(subarrays, 64, 256)


def counts(cells: NDArray[np.bool_], kind: type[ErrorModel]) -> NDArray[np.int64]:
    """Flips of each line, in the order of the lines' numbers, and so of one row per subarray."""
    return np.asarray(cells.sum(axis=1 if kind is eden.Bitline else 2))


def length(kind: type[ErrorModel]) -> int:
    return 64 if kind is eden.Bitline else 256


def fitted(kind: type[ErrorModel], cells: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean and intra-class correlation of the lines of a kind, by the project's own beta-binomial fit."""
    readings = [(float(count), float(length(kind))) for count in counts(cells, kind).ravel()]
    fit = fit_counts([readings])
    mean = fit.rates[0].estimate
    variance = fit.dispersion * mean * (1 - mean)
    return mean, variance / (1 + variance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("ber", "dispersion", "failure"), [(1e-3, 0.05, 1.0), (0.02, 0.1, 1.0), (0.2, 0.3, 1.0), (0.1, 0.02, 0.5)]
)
def test_the_mean_over_chips_is_the_rate(kind, ber, dispersion, failure):
    errors = kind(ber, dispersion, failure, GEOMETRY)
    chips, subarrays = 16, 8 if kind is eden.Bitline else 32
    means = [flips(errors, subarrays, seed, address=seed * 2**30, access=seed).mean() for seed in range(chips)]
    # Lines are the clusters: the variance of a line's share of flips, not of a cell's flip.
    mean, cells = ber / failure, length(kind)
    between = failure**2 * dispersion * mean * (1 - mean)
    within = (ber - ber**2 - between) / cells
    lines = chips * subarrays * SUBARRAY_BITS / cells
    assert abs(np.mean(means) - ber) < 5 * math.sqrt((between + within) / lines)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("ber", "dispersion"), [(0.02, 0.1), (0.1, 0.01), (0.2, 0.4)])
def test_the_fit_recovers_mean_and_dispersion(kind, ber, dispersion):
    subarrays = 16 if kind is eden.Bitline else 64  # 4096 lines
    cells = flips(kind(ber, dispersion, geometry=GEOMETRY), subarrays, seed=5)
    mean, found = fitted(kind, cells)
    between = dispersion * ber * (1 - ber)
    within = (ber * (1 - ber) - between) / length(kind)
    assert abs(mean - ber) < 5 * math.sqrt((between + within) / 4096)
    # The estimate's relative standard deviation, found by simulating beta-binomial counts, is 3% to 5% for such lines.
    assert abs(found / dispersion - 1) < 0.25
    # Across the lines there is no structure: each crosses as many good lines as bad ones. Both models have their own.
    other = eden.Wordline if kind is eden.Bitline else eden.Bitline
    # Of n lines of k cells without any, the estimate's standard deviation is at most sqrt(2 / n) / (k - 1) = 1.8e-4.
    assert fitted(other, cells)[1] < 0.1 * dispersion


@pytest.mark.parametrize("kind", KINDS)
def test_without_dispersion_it_is_model_0(kind):
    cells = flips(kind(0.05, 0.0, geometry=GEOMETRY), 16, seed=3)
    assert abs(cells.mean() - 0.05) < 5 * math.sqrt(0.05 * 0.95 / cells.size)
    for lines in KINDS:
        share = counts(cells, lines) / length(lines)
        # The variance of n binomial shares has the relative standard deviation sqrt(2 / n) to first order.
        ratio = share.var() / (0.05 * 0.95 / length(lines))
        assert abs(ratio - 1) < 6 * math.sqrt(2 / share.size)


@pytest.mark.parametrize("kind", KINDS)
def test_operands_on_a_line_share_its_weakness(kind):
    errors = kind(0.1, 0.3, geometry=GEOMETRY)
    if kind is eden.Bitline:  # the upper and the lower half of a subarray cross the same bitlines
        size, addresses, axis = (32, 256), (0, SUBARRAY_BITS // 2, SUBARRAY_BITS), 0
    else:  # two operands of half a row in each, beside each other
        size, addresses, axis = (1, 128), (0, 128, 256), 1
    here, beside, elsewhere = [], [], []
    for seed in range(4 if kind is eden.Bitline else 1024):
        # Where row and operand are one, the chip is what varies.
        for into, address in zip((here, beside, elsewhere), addresses, strict=True):
            zeros = torch.zeros(math.prod(size) // 8, dtype=torch.int8)
            read = eden.corrupt(zeros, errors, seed=seed, address=address).numpy().view(np.uint8)
            into.append(np.unpackbits(read, bitorder="little").reshape(size).mean(axis=axis))
    of = [np.concatenate(shares) for shares in (here, beside, elsewhere)]
    # 1024 lines of n cells: the correlation is rho / (rho + (1 - rho) / n), above 0.9, or 0 within 5 of its standard
    # deviations of 1 / sqrt(1024).
    assert np.corrcoef(of[0], of[1])[0, 1] > 0.85
    assert abs(np.corrcoef(of[0], of[2])[0, 1]) < 5 / math.sqrt(of[0].size)


@pytest.mark.parametrize("kind", KINDS)
def test_chips_have_lines_of_their_own(kind):
    errors = kind(0.1, 0.3, geometry=GEOMETRY)
    one, other = (counts(flips(errors, 8, seed), kind).ravel() for seed in (1, 2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / math.sqrt(one.size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("failure", [1.0, 0.6])
def test_a_higher_rate_only_adds_flips(kind, failure):
    for dispersion in (1e-3, 0.1, 0.5):
        errors = kind(0.0, dispersion, failure, GEOMETRY)
        last = flips(errors, 4, seed=9, access=2)
        assert not last.any()
        for ber in (1e-5, 1e-4, 1.01e-4, 1e-3, 0.01, 0.05, 0.0501, 0.1, 0.3, failure):
            cells = flips(errors.scaled(ber), 4, seed=9, access=2)
            assert (cells >= last).all()
            last = cells
        if failure == 1.0:
            assert last.all()


@pytest.mark.parametrize("kind", KINDS)
def test_measured_lines_have_their_rates(kind):
    rates = np.tile([0.0, 1.0, 0.003, 0.05, 0.4], 10)
    errors = kind.measured(rates, geometry=GEOMETRY)
    first = 7  # not at the beginning of the lines
    chips = 8
    found = sum(
        counts(flips(errors, 8, seed, address=first * SUBARRAY_BITS), kind).ravel().astype(np.int64)
        for seed in range(chips)
    )
    lines = first * SUBARRAY_BITS // length(kind) + np.arange(found.size)
    for rate in np.unique(rates):
        of = rates[lines % rates.size] == rate
        cells = of.sum() * length(kind) * chips
        assert abs(found[of].sum() - rate * cells) <= 5 * math.sqrt(cells * rate * (1 - rate))


def test_a_table_of_one_subarrays_bitlines_holds_for_every_subarray():
    rates = (np.arange(GEOMETRY.row_bits) % 3 == 0).astype(np.float64)
    cells = flips(eden.Bitline.measured(rates, geometry=GEOMETRY), 3, seed=0, address=5 * SUBARRAY_BITS)
    assert (cells == (rates == 1.0)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_reads_of_a_weak_cell_fail_by_themselves(kind):
    errors = kind(0.1, 0.3, 0.5, GEOMETRY)
    weak = flips(kind(0.2, 0.3, 1.0, GEOMETRY), 4, seed=1)
    failed = [flips(errors, 4, seed=1, access=access) for access in range(4)]
    for cells in failed:
        assert (cells <= weak).all()
        assert abs(cells[weak].mean() - 0.5) < 5 * math.sqrt(0.25 / weak.sum())
    both = (failed[0] & failed[1])[weak].mean()
    assert abs(both - 0.25) < 5 * math.sqrt(0.25 * 0.75 / weak.sum())


def test_a_map_flips_its_cells_and_no_others():
    numbers = np.random.default_rng(0)
    bits = 2**16
    cells = np.sort(numbers.choice(bits, 3000, replace=False))
    zero = numbers.random(3000) < 0.5
    one = ~zero | (numbers.random(3000) < 0.5)
    errors = eden.CellMap(cells, zero, one, bits)
    for address, size in ((0, bits), (4096, 8192), (bits - 8, 8)):
        for stored, of in ((0, zero), (-1, one)):
            x = torch.full((size // 8,), stored, dtype=torch.int8)
            read = eden.corrupt(x, errors, seed=3, address=address) ^ x
            found = np.flatnonzero(np.unpackbits(read.numpy().view(np.uint8), bitorder="little")) + address
            expected = cells[of & (cells >= address) & (cells < address + size)]
            assert found.tolist() == expected.tolist()
    with pytest.raises(ValueError, match="address"):
        eden.corrupt(torch.zeros(2, dtype=torch.int8), errors, address=bits - 8)


def test_cells_of_a_map_fail_with_its_probability():
    errors = eden.CellMap(np.arange(0, 2**17, 2), True, True, 2**17, failure=0.3)
    read = [flips(errors, 8, seed=4, access=access).ravel() for access in range(2)]
    for cells in read:
        assert not cells[1::2].any()
        assert abs(cells[::2].mean() - 0.3) < 5 * math.sqrt(0.21 / 2**16)
    assert abs((read[0] & read[1])[::2].mean() - 0.09) < 5 * math.sqrt(0.09 * 0.91 / 2**16)


def test_outside_of_the_geometry_is_refused():
    geometry = eden.Geometry(row_bits=128, subarray_rows=32, bank_rows=32, banks=1, ranks=1)
    errors = eden.Bitline(0.1, 0.1, geometry=geometry)
    eden.corrupt(torch.zeros(4096 // 8, dtype=torch.int8), errors)
    with pytest.raises(ValueError, match="address"):
        eden.corrupt(torch.zeros(4096 // 8, dtype=torch.int8), errors, address=8)
