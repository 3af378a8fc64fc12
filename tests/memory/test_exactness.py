"""Is the operator exact: every rate met by every bit, storage and model, flips as independent as they ought to be?

Every statistical comparison of this file is two-sided and either exact (binomial, hypergeometric) or a rigorous bound
(Chernoff's, for lines that cells share), so that with a right operator all of them together fail for at most
FALSE_ALARMS of all choices of the seeds: each comparison gets an equal part, and the code counts them.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from accepted import DISPERSION, DTYPES, MODELS, QUANTIZED, read_quantized
from operator_grid import operator_arguments
from scipy import optimize, special, stats

import eden
from eden.memory.storage import SYMMETRIC

Words = npt.NDArray[Any]

FALSE_ALARMS = 1e-6
"""Probability that a right operator fails anything in this file."""

_planned: list[int] = []


def budgeted(cases: Iterable[Any], count: Callable[[Any], int]) -> Any:
    """Parametrize a test over cases, each with the number of its comparisons, which share in the false alarms."""
    counted = [(case, count(case)) for case in cases]
    _planned.extend(number for _, number in counted)
    return pytest.mark.parametrize(("case", "comparisons"), counted, ids=[str(case) for case, _ in counted])


def judge(p_values: dict[str, float], comparisons: int) -> None:
    """Fail if a comparison's p-value is below its part of the false alarms, or if it was not counted."""
    assert len(p_values) == comparisons
    allowed = FALSE_ALARMS / sum(_planned)
    worst = min(p_values, key=lambda name: p_values[name])
    assert p_values[worst] >= allowed, f"{worst}: p = {p_values[worst]:.3g}, allowed is {allowed:.3g}"


def binomial(count: int, n: int, p: float) -> float:
    """Two-sided p-value of a count that ought to be binomial."""
    return float(min(1.0, 2 * min(stats.binom.cdf(count, n, p), stats.binom.sf(count - 1, n, p))))


def chernoff(total: float, lines: int, cells: int, mean: float, rho: float, value: Callable[[Any], Any]) -> float:
    """Bound on the two-sided p-value of a sum of value(errors) over lines whose errors are beta-binomial.

    For the errors themselves it holds for lines less dispersed than the beta distribution of this mean and intra-class
    correlation too (the generating function is convex in a line's probability), as those are whose probabilities come
    from a table of conditional means. ``value`` is increasing.
    """
    k = np.arange(cells + 1)
    prior = (1 - rho) / rho
    log_pmf = stats.betabinom.logpmf(k, cells, mean * prior, (1 - mean) * prior)
    x = value(k.astype(float))
    largest = float(x.max())
    total, x = total / largest, x / largest

    def log_tail(t: float) -> float:
        return float(lines * special.logsumexp(log_pmf + t * x) - t * total)

    # Any t gives a bound; the best one is looked for.
    tails = [
        min(0.0, float(optimize.minimize_scalar(lambda s, sign=sign: log_tail(sign * math.exp(s)), (-5.0, 5.0)).fun))
        for sign in (1, -1)
    ]
    return min(1.0, 2 * math.exp(min(tails)))


@dataclasses.dataclass(frozen=True)
class Storage:
    """How the tests put words into a memory and read them back."""

    name: str
    bits: int
    dtype: torch.dtype | None  # None where float32 values are quantized

    def __str__(self) -> str:
        return self.name if self.dtype is not None else f"quantized {self.name}"

    SCALE = 2.0**-6  # a power of two, so that codes come back from values exactly

    @property
    def word(self) -> Any:
        """Unsigned type that holds a word."""
        return {32: np.uint32, 16: np.uint16}.get(self.bits, np.uint8)

    def pattern(self, elements: int) -> Words:
        """Words in which every bit position stores as many zeros as ones, alone and among equals."""
        ones = (1 << self.bits) - 1
        four = np.array([0, ones, 0xAAAAAAAA & ones, 0x55555555 & ones], dtype=self.word)
        return np.resize(four, elements)

    def tensor(self, words: Words) -> torch.Tensor:
        """The tensor that is stored as these words."""
        signed = {np.uint32: np.int32, np.uint16: np.int16, np.uint8: np.int8}[self.word]
        if self.dtype is not None:
            return torch.from_numpy(words.copy().view(signed)).view(self.dtype)
        codes = words.astype(np.int64)
        if self.name == "sign":
            codes = 1 - 2 * codes
        elif self.name != "uint8":
            codes = codes - ((codes >> (self.bits - 1)) << self.bits)
        return torch.from_numpy((codes * self.SCALE).astype(np.float32))

    def words(self, tensor: torch.Tensor) -> Words:
        """The words of a tensor that was read."""
        if self.dtype is not None:
            integer = {32: torch.int32, 16: torch.int16, 8: torch.int8}[self.bits]
            result: Words = tensor.contiguous().view(integer).numpy().view(self.word)
            return result
        codes = np.rint(tensor.numpy() / self.SCALE).astype(np.int64)
        if self.name == "sign":
            codes = codes < 0
        return (codes & ((1 << self.bits) - 1)).astype(self.word)

    def flips(self, words: Words, errors: Any, **arguments: int) -> Words:
        """Which bits of these words a read inverts."""
        x = self.tensor(words)
        if self.dtype is None:
            y = read_quantized(x, errors, self.name, self.SCALE, **arguments)
        else:
            y = eden.corrupt(x, errors, **arguments)
        return self.words(y) ^ words


OWN = [Storage(name, 8 * dtype.itemsize, dtype) for name, dtype in DTYPES.items()]
# A magnitude of 0 is read as 0 whatever its sign, so that not every word can be told from its value.
CODES = [Storage(name, bits, None) for name, bits in QUANTIZED.items() if name not in SYMMETRIC]
LINES = ["Bitline", "Wordline"]
BYTES = Storage("int8", 8, torch.int8)


def count_by_bit(words: Words, flips: Words, bits: int) -> npt.NDArray[np.int64]:
    """Flips by bit position and value stored before: shape (bits, 2)."""
    at = np.flatnonzero(flips)
    stored, flipped = words[at], flips[at]
    counts = np.zeros((bits, 2), dtype=np.int64)
    for bit in range(bits):
        value = stored[(flipped >> bit) & 1 == 1] >> bit & 1
        counts[bit] = np.bincount(value, minlength=2)
    return counts


# -- rates -------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class RateCase:
    """`reads` reads of `size` bytes of words at addresses of their own."""

    storage: Storage
    model: str
    ber: float
    failure: float
    size: int
    reads: int

    def __str__(self) -> str:
        failure = "" if self.failure == 1.0 else f", failure {self.failure}"
        return f"{self.storage}, {self.model} {self.ber:g}{failure}"

    def errors(self) -> Any:
        """The error model."""
        errors = MODELS[self.model](self.ber)
        return dataclasses.replace(errors, failure=self.failure) if self.failure < 1.0 else errors


SPARSE_LIMIT = -math.expm1(-(2.0**-4))  # where the sparse marks end and the dense part begins
RATES = (  # with bytes of words and reads
    (1e-9, 1 << 22, 1024),
    (1e-7, 1 << 22, 512),
    (1e-5, 1 << 22, 16),
    (1e-3, 1 << 22, 4),
    (0.02, 1 << 19, 4),
    (0.99 * SPARSE_LIMIT, 1 << 19, 2),
    (1.01 * SPARSE_LIMIT, 1 << 19, 2),
    (0.25, 1 << 18, 1),
    (0.5, 1 << 18, 1),
)


def rate_cases() -> list[RateCase]:
    cases = [
        RateCase(storage, model, ber, 1.0, size, reads)
        for storage in OWN
        for model in ("Uniform", "DataDependent")
        for ber, size, reads in RATES
    ]
    # Words are changed by the reads before, which a quantized storage would clip: it is read once.
    cases += [
        RateCase(storage, model, ber, 1.0, min(size, storage.bits << 17), 1)
        for storage in CODES
        for model in ("Uniform", "DataDependent")
        for ber, size, reads in RATES
        if ber >= 1e-5
    ]
    cases += [
        RateCase(storage, model, ber, 0.3, size, 1)
        for storage in OWN
        for model, ber, size in (
            ("Uniform", 1e-5, 1 << 22),
            ("DataDependent", 1e-3, 1 << 20),
            ("Uniform", 0.25, 1 << 18),
        )
    ]
    # 2^39 cells.
    return [*cases, RateCase(OWN[0], "Uniform", 1.001e-9, 1.0, 1 << 24, 1 << 12)]


def changed_after(reads: int, rates: Words) -> Words:
    """Probability that a bit is not what it was, by what it was, after it went through several cells in turn."""
    if reads == 1:
        return rates
    total = rates.sum()
    result: Words = rates / total * -math.expm1(reads * math.log1p(-total))
    return result


@budgeted(rate_cases(), lambda case: 2 * case.storage.bits + 2)
def test_every_bit_position_and_value_meets_the_rate(case, comparisons):
    # Reading the same words again and again in place, each time from other cells, makes of every bit a Markov chain of
    # two states with known transitions, so the changes counted in the end are exactly binomial: astronomic numbers of
    # cells cost one count.
    errors = case.errors()
    elements = 8 * case.size // case.storage.bits if case.storage.dtype is not None else case.size
    words = case.storage.pattern(elements)
    if case.reads == 1:
        flips = case.storage.flips(words, errors, seed=21)
    else:
        x = case.storage.tensor(words)
        for read in range(case.reads):
            eden.corrupt_(x, errors, seed=21 + read % 3, address=8 * case.size * read)
        flips = case.storage.words(x) ^ words
    counts = count_by_bit(words, flips, case.storage.bits)
    changed = changed_after(case.reads, np.array([errors.ber_zero, errors.ber_one]))
    p_values = {
        f"bit {bit}, stored {value}": binomial(counts[bit, value], elements // 2, changed[value])
        for bit in range(case.storage.bits)
        for value in (0, 1)
    }
    # Together they notice a bias that no single bit position shows.
    for value in (0, 1):
        cells = elements // 2 * case.storage.bits
        p_values[f"stored {value}"] = binomial(counts[:, value].sum(), cells, changed[value])
    judge(p_values, comparisons)


@pytest.mark.parametrize("storage", [*OWN, *CODES], ids=str)
def test_flips_are_those_of_the_cells_whatever_the_storage(storage):
    # So what is shown of one storage's cells at the lowest rates holds for all.
    size, address = 1 << 15, 3 << 40
    words = storage.pattern(8 * size // storage.bits)
    if storage.name == "int4" or storage.name == "sign":
        stored = np.packbits(
            ((words[:, None] >> np.arange(storage.bits, dtype=np.uint8)) & 1).ravel(), bitorder="little"
        )
    else:
        stored = words.view(np.uint8)
    for errors in (eden.Uniform(1e-2), eden.DataDependent(0.3, 0.01), eden.Uniform(0.01, 0.25)):
        expected_flips = BYTES.flips(stored, errors, seed=8, address=address)
        flips = storage.flips(words, errors, seed=8, address=address)
        if flips.nbytes != size:
            bits = (flips[:, None] >> np.arange(storage.bits, dtype=np.uint8)) & 1
            flips = np.packbits(bits.ravel(), bitorder="little")
        assert expected_flips.any()
        assert np.array_equal(flips.view(np.uint8), expected_flips)


@budgeted([(1.0, 0.0), (0.0, 0.5)], lambda case: 2)
def test_the_sign_bit_of_floats_flips_by_what_it_stores(case, comparisons):
    # A one in bit 31 is where a shift in a signed integer goes wrong.
    ber_zero, ber_one = case
    errors = eden.DataDependent(ber_zero, ber_one)
    x = torch.cat([torch.full((1 << 16,), 1.5), torch.full((1 << 16,), -1.5)])
    y = eden.corrupt(x, errors, seed=4)
    changed = (torch.signbit(x) != torch.signbit(y)).view(2, -1).sum(1).tolist()
    judge(
        {f"stored {value}": binomial(changed[value], 1 << 16, rate) for value, rate in enumerate((ber_zero, ber_one))},
        comparisons,
    )


# -- cells of several reads --------------------------------------------------------------------------------------------

ACCESSES = 8


@budgeted(itertools.product(OWN, ((0.006, 0.3), (0.2, 0.7), (0.5, 0.5))), lambda case: ACCESSES + 1)
def test_repeated_reads_fail_as_weak_cells_do(case, comparisons):
    # The number of a cell's failures is zero-inflated binomial, so the number of cells with k of them is binomial.
    storage, (ber, failure) = case
    words = storage.pattern(8 * (1 << 17) // storage.bits)
    errors = eden.Uniform(ber, failure)
    failures = np.zeros(1 << 20, dtype=np.uint8)
    for access in range(ACCESSES):
        flips = storage.flips(words, errors, seed=6, address=1 << 33, access=access + (access % 2 << 32))
        failures += np.unpackbits(flips.view(np.uint8))
    cells = np.bincount(failures, minlength=ACCESSES + 1)
    weak = ber / failure
    probability = weak * stats.binom.pmf(np.arange(ACCESSES + 1), ACCESSES, failure)
    probability[0] += 1 - weak
    judge(
        {f"{k} failures": binomial(cells[k], len(failures), probability[k]) for k in range(ACCESSES + 1)},
        comparisons,
    )


@budgeted([(storage, failure) for storage in OWN for failure in (1.0, 0.5)], lambda case: 1)
def test_samples_that_share_cells_share_their_flips(case, comparisons):
    # A batch has the errors of one sample, as many times as it has samples: its cells are the clusters.
    storage, failure = case
    samples, elements = 8, 1 << 14
    words = np.tile(storage.pattern(elements), (samples, 1))
    x = storage.tensor(words.ravel()).view(samples, elements)
    errors = eden.Uniform(0.03, failure)
    y = torch.ops.eden.corrupt(**operator_arguments(x, errors, seed=3, access=5, batch_dim=0))
    flips = storage.words(y.view(-1)).reshape(samples, elements) ^ words
    assert (flips == flips[0]).all()
    assert np.array_equal(flips[0], storage.flips(words[0], errors, seed=3, access=5))
    count = int(np.unpackbits(flips[0].view(np.uint8)).sum())
    judge({"flips of a sample": binomial(count, elements * storage.bits, errors.ber)}, comparisons)


# -- independence ------------------------------------------------------------------------------------------------------

CELLS = 1 << 21
PROCESSES = {  # sparse marks alone, nearly all that can be, dense part too, failures
    "sparse": lambda: eden.Uniform(0.01),
    "all levels": lambda: eden.Uniform(0.06),
    "dense": lambda: eden.Uniform(0.2),
    "failing": lambda: eden.Uniform(0.05, 0.5),
    "dense, failing": lambda: eden.Uniform(0.2, 0.3),
}


def flipped_cells(errors: Any, cells: int = CELLS, **arguments: int) -> npt.NDArray[np.uint8]:
    """One number for each cell, 1 if it was inverted."""
    return np.unpackbits(BYTES.flips(np.zeros(cells // 8, dtype=np.uint8), errors, **arguments), bitorder="little")


DISTANCES = (1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 64, 96, 127, 128, 129, 256, 1024, 4096, 1 << 16, 1 << 20)


@budgeted(PROCESSES, lambda case: len(DISTANCES))
def test_pairs_of_cells_are_independent(case, comparisons):
    # Of pairs that have no cell in common, those with two flips are binomial.
    errors = PROCESSES[case]()
    cells = flipped_cells(errors, seed=2)
    p_values = {}
    for distance in DISTANCES:
        pairs = cells[: len(cells) // (2 * distance) * 2 * distance].reshape(-1, 2, distance)
        both = int((pairs[:, 0] & pairs[:, 1]).sum())
        p_values[f"distance {distance}"] = binomial(both, pairs.shape[0] * distance, errors.ber**2)
    judge(p_values, comparisons)


@budgeted(PROCESSES, lambda case: 1)
def test_runs_are_those_of_chance(case, comparisons):
    # With n flips among N cells, all places equally likely, the number of runs of flips is hypergeometric.
    cells = flipped_cells(PROCESSES[case](), seed=12)
    flips, rest = int(cells.sum()), int((1 - cells).sum())
    runs = int(cells[0]) + int((cells[1:] > cells[:-1]).sum())
    law = stats.hypergeom(len(cells), rest + 1, flips)
    judge({"runs": float(min(1.0, 2 * min(law.cdf(runs), law.sf(runs - 1))))}, comparisons)


@budgeted([(storage, process) for storage in OWN for process in PROCESSES if process != "sparse"], lambda case: 5)
def test_words_have_several_flips_as_often_as_chance_has_it(case, comparisons):
    storage, process = case
    errors = PROCESSES[process]()
    words = storage.pattern(1 << 17)
    flips = storage.flips(words, errors, seed=17)
    per_word = np.bitwise_count(flips)
    judge(
        {
            f"{k} flips": binomial(int((per_word == k).sum()), len(words), stats.binom.pmf(k, storage.bits, errors.ber))
            for k in range(5)
        },
        comparisons,
    )


PLACES = {
    "addresses": [{"address": address} for address in (0, CELLS, 1 << 32, 1 << 36, 1 << 40, 1 << 41, 5 << 40, 1 << 62)],
    # Also seeds that differ by Philox's own increments of the key.
    "chips": [{"seed": seed} for seed in (0, 1, 2, 1 << 32, -1, 2**63 - 1, 0x9E3779B9, 0x3B67AE85 << 32)],
}


@budgeted(
    [(place, process) for place in PLACES for process in PROCESSES],
    lambda case: math.comb(len(PLACES[case[0]]), 2) + len(PLACES[case[0]]) + 1,
)
def test_layers_and_chips_are_independent(case, comparisons):
    place, process = case
    errors = PROCESSES[process]()
    sets = [flipped_cells(errors, CELLS // 2, **arguments) for arguments in PLACES[place]]
    n = len(sets[0])
    p_values = {
        f"{i} and {j}": binomial(int((sets[i] & sets[j]).sum()), n, errors.ber**2)
        for i, j in itertools.combinations(range(len(sets)), 2)
    }
    together = np.sum(sets, axis=0)
    for k in range(len(sets) + 1):
        p = stats.binom.pmf(k, len(sets), errors.ber)
        p_values[f"{k} of them"] = binomial(int((together == k).sum()), n, p)
    judge(p_values, comparisons)


ACCESS_NUMBERS = (0, 1, 2, 1 << 24, 1 << 32, (1 << 32) + 1, 1 << 51)


@budgeted([(0.05, 0.5), (0.2, 0.3), (0.5, 0.6)], lambda case: math.comb(len(ACCESS_NUMBERS), 2))
def test_accesses_are_independent_given_the_weak_cells(case, comparisons):
    ber, failure = case
    errors = eden.Uniform(ber, failure)
    sets = [flipped_cells(errors, CELLS // 2, access=access) for access in ACCESS_NUMBERS]
    judge(
        {
            f"{i} and {j}": binomial(int((sets[i] & sets[j]).sum()), len(sets[i]), ber * failure)
            for i, j in itertools.combinations(range(len(sets)), 2)
        },
        comparisons,
    )


# -- nesting -----------------------------------------------------------------------------------------------------------

NESTED = (1e-9, 1e-7, 1e-6, 1e-5, 3e-4, 1e-3, 5e-3, 0.03, 0.06, 0.0606, 0.07, 0.1, 0.3, 0.5)


@pytest.mark.parametrize("storage", [*OWN, *CODES], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_nesting_over_rates_is_exact(storage, model):
    words = storage.pattern(1 << 15)
    milder = np.zeros_like(words)
    for ber in NESTED:
        flips = storage.flips(words, MODELS[model](ber), seed=5, address=1 << 44)
        assert not (milder & ~flips).any()
        milder = flips
    assert milder.any()


@pytest.mark.parametrize("storage", [*OWN, *CODES], ids=str)
@pytest.mark.parametrize("weak", [1e-3, 0.05, 0.4])
def test_nesting_over_failures_is_exact(storage, weak):
    words = storage.pattern(1 << 15)
    rarer = np.zeros_like(words)
    for failure in (1e-3, 0.1, 0.25, 0.5, 0.7, 0.999, 1.0):
        flips = storage.flips(words, eden.Uniform(weak * failure, failure), seed=5, access=3)
        assert not (rarer & ~flips).any()
        rarer = flips
    assert rarer.any()


def test_nesting_holds_in_the_deepest_levels():
    # Some 40 flips at 1e-9, each of which the reads at higher rates must show too.
    x = torch.zeros(1 << 22, dtype=torch.int8)
    found = 0
    for read in range(1024):
        y = eden.corrupt_(x, eden.Uniform(1e-9), address=read << 25)
        if not y.any():
            continue
        found += 1
        for ber in (1.5e-9, 4e-9, 1e-8, 1e-6):
            harsher = eden.corrupt(torch.zeros_like(x), eden.Uniform(ber), address=read << 25)
            assert torch.equal(harsher & x, x)
        x.zero_()
    assert found >= 4


# -- lines -------------------------------------------------------------------------------------------------------------

ROW_BITS, SUBARRAY_ROWS = 65_536, 512
LINE_ROWS, LINE_CHIPS = 32, 96
LINE_RATES = (1e-3, 0.02, 0.25)
TABLE_RESOLUTION = 0.99  # the dispersion of conditional means over bins is a little below the whole


def line_counts(model: str, storage: Storage, ber: float, of_bit: int | None) -> npt.NDArray[np.int64]:
    """Flips by line, over all chips, of cells of one bit position of the words (all of them for None)."""
    errors = MODELS[model](ber)
    words = storage.pattern(LINE_ROWS * ROW_BITS // storage.bits)
    counts = []
    for chip in range(LINE_CHIPS):
        flips = storage.flips(words, errors, seed=100 + chip)
        cells = np.unpackbits(flips.view(np.uint8), bitorder="little").reshape(LINE_ROWS, ROW_BITS)
        if of_bit is not None:
            cells = cells[:, of_bit :: storage.bits]
        counts.append(cells.sum(axis=0 if model == "Bitline" else 1, dtype=np.int64))
    return np.concatenate(counts)


@budgeted(itertools.product(LINES, OWN[:1], LINE_RATES), lambda case: 2)
def test_lines_meet_the_rate_and_the_dispersion(case, comparisons):
    model, storage, ber = case
    counts = line_counts(model, storage, ber, None)
    cells = LINE_ROWS if model == "Bitline" else ROW_BITS
    pairs = float((counts * (counts - 1.0)).sum())
    # A table coarser than the beta distribution lowers the number of pairs; a little of that is allowed.
    dispersions = (DISPERSION, TABLE_RESOLUTION * DISPERSION)
    judge(
        {
            "rate": chernoff(float(counts.sum()), len(counts), cells, ber, DISPERSION, lambda k: k),
            "pairs": max(
                chernoff(pairs, len(counts), cells, ber, dispersion, lambda k: k * (k - 1))
                for dispersion in dispersions
            ),
        },
        comparisons,
    )


@budgeted(itertools.product(LINES, OWN, (0.02, 0.25)), lambda case: case[1].bits)
def test_every_bit_position_meets_the_rate_of_lines(case, comparisons):
    model, storage, ber = case
    errors = MODELS[model](ber)
    words = storage.pattern(LINE_ROWS * ROW_BITS // storage.bits)
    totals = np.zeros(storage.bits, dtype=np.int64)
    for chip in range(LINE_CHIPS // 2):
        flips = storage.flips(words, errors, seed=500 + chip)
        totals += count_by_bit(words, flips, storage.bits).sum(axis=1)
    in_row = ROW_BITS // storage.bits
    lines, cells = (in_row, LINE_ROWS) if model == "Bitline" else (LINE_ROWS, in_row)
    judge(
        {
            f"bit {bit}": chernoff(float(totals[bit]), lines * (LINE_CHIPS // 2), cells, ber, DISPERSION, lambda k: k)
            for bit in range(storage.bits)
        },
        comparisons,
    )


@budgeted(LINES, lambda case: 1)
def test_operands_on_one_line_share_how_weak_it_is(case, comparisons):
    # Two operands on the same lines, in cells of their own, find the same lines weak; operands on other lines do not:
    # given how many lines are weak to each, the number that is weak to both is hypergeometric.
    errors = MODELS[case](0.02)
    half = LINE_ROWS // 2
    counts: dict[str, list[Any]] = {"one": [], "same": [], "other": []}
    for chip in range(LINE_CHIPS):
        if case == "Bitline":
            places = {"one": 0, "same": half * ROW_BITS, "other": SUBARRAY_ROWS * ROW_BITS}
            for name, address in places.items():
                cells = flipped_cells(errors, half * ROW_BITS, seed=chip, address=address).reshape(half, ROW_BITS)
                counts[name].append(cells.sum(axis=0, dtype=np.int64))
        else:
            cells = flipped_cells(errors, LINE_ROWS * ROW_BITS, seed=chip).reshape(LINE_ROWS, 2, ROW_BITS // 2)
            by_half = cells.sum(axis=2, dtype=np.int64)
            counts["one"].append(by_half[:, 0])
            counts["same"].append(by_half[:, 1])
            counts["other"].append(np.roll(by_half[:, 1], 1))
    joined = {name: np.concatenate(found) for name, found in counts.items()}
    weak = {name: found > found.mean() for name, found in joined.items()}

    def tails(name: str) -> tuple[float, float]:
        law = stats.hypergeom(len(weak["one"]), int(weak["one"].sum()), int(weak[name].sum()))
        both = int((weak["one"] & weak[name]).sum())
        return float(law.cdf(both)), float(law.sf(both - 1))

    assert tails("same")[1] < FALSE_ALARMS
    judge({"other lines": min(1.0, 2 * min(tails("other")))}, comparisons)


@pytest.mark.parametrize(("bias", "holds"), [(1.0, True), (0.7, False), (1.4, False)])
def test_the_bound_for_lines_notices_a_bias(bias, holds):
    generator = np.random.default_rng(1)
    lines, cells, mean = 20_000, 64, 0.02
    prior = (1 - DISPERSION) / DISPERSION
    weak = generator.beta(bias * mean * prior, (1 - bias * mean) * prior, lines)
    counts = generator.binomial(cells, weak)
    p = chernoff(float(counts.sum()), lines, cells, mean, DISPERSION, lambda k: k)
    assert (p >= FALSE_ALARMS / sum(_planned)) == holds


@pytest.mark.parametrize(("rho", "holds"), [(DISPERSION, True), (0.5 * DISPERSION, False), (2 * DISPERSION, False)])
def test_the_bound_for_pairs_notices_another_dispersion(rho, holds):
    generator = np.random.default_rng(2)
    lines, cells, mean = 200_000, 64, 0.02
    prior = (1 - rho) / rho
    counts = generator.binomial(cells, generator.beta(mean * prior, (1 - mean) * prior, lines))
    p = chernoff(float((counts * (counts - 1.0)).sum()), lines, cells, mean, DISPERSION, lambda k: k * (k - 1))
    assert (p >= FALSE_ALARMS / sum(_planned)) == holds
