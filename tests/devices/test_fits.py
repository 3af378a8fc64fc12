"""Do the fits give back what counts were drawn from, and say what the counts do not tell?"""

import importlib
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import processes
import pytest
import torch
from scipy import stats

import eden
from eden import Bitline, DataDependent, Geometry, Uniform, Wordline
from eden.devices.likelihoods import Counts, Estimate, Lines, compare_pattern, fit_counts, fit_models, measured_lines
from eden.memory.errors import ErrorModel

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GEOMETRY = Geometry(row_bits=1024, subarray_rows=256, bank_rows=1024, banks=2)
ROWS = 1024
BITS = ROWS * GEOMETRY.row_bits


def read_chip(errors: ErrorModel, seed: int, stored: int, reads: int, address: int = 0) -> np.ndarray[Any, Any]:
    """How often each cell failed, by row and column, of memory that stores one value."""
    x = torch.full((BITS // 8,), 255 * stored, dtype=torch.uint8)
    failures = np.zeros(BITS, dtype=np.int64)
    for access in range(reads):
        y = eden.corrupt(x, errors, seed=seed, address=address, access=access)
        failures += np.unpackbits((x ^ y).numpy(), bitorder="little")
    return failures.reshape(ROWS, GEOMETRY.row_bits)


def count(failures: np.ndarray[Any, Any], reads: int) -> Counts:
    seen = failures > 0
    subarrays = seen.reshape(-1, GEOMETRY.subarray_rows, GEOMETRY.row_bits)
    lines = {
        "bitlines": Lines(GEOMETRY.subarray_rows, subarrays.sum(axis=1).reshape(-1)),
        "wordlines": Lines(GEOMETRY.row_bits, seen.sum(axis=1)),
    }
    if reads == 1:
        return Counts.of_lines(**lines)
    return Counts.of_cells(np.bincount(failures.reshape(-1), minlength=reads + 1), **lines)


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.identified and estimate.low <= truth <= estimate.high


def from_file(errors: ErrorModel, path: Path) -> ErrorModel:
    path.write_text(json.dumps(errors.to_dict()))
    return ErrorModel.from_dict(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("model", "errors", "reads"),
    [
        ("uniform", Uniform(2e-3, failure=0.4), 5),
        ("bitline", Bitline(3e-3, 0.05, failure=0.6, geometry=GEOMETRY), 4),
        ("bitline", Bitline(0.05, 0.3, geometry=GEOMETRY), 1),
        ("wordline", Wordline(4e-3, 0.02, failure=0.3, geometry=GEOMETRY), 6),
        ("wordline", Wordline(0.1, 0.1, geometry=GEOMETRY), 1),
        ("data_dependent", DataDependent(1e-3, 4e-3, failure=0.5), 3),
    ],
)
def test_a_device_comes_back_from_the_chips_that_the_operator_reads(
    model: str, errors: ErrorModel, reads: int, tmp_path: Path
) -> None:
    errors = from_file(errors, tmp_path / "errors.json")
    chips = 20
    held: dict[str, int] = {}
    rhos = []
    for chip in range(chips):
        # Zeros and ones lie in different cells.
        zero = count(read_chip(errors, chip, 0, reads), reads)
        one = count(read_chip(errors, chip, 1, reads, address=BITS), reads)
        result = fit_models(zero=zero, one=one, replicates=0)
        assert result.chosen.model == model
        fit = result.chosen
        truths = {"failure": (fit.failure, errors.failure)} if reads > 1 else {}
        rates = (errors.ber_zero, errors.ber_one) if model == "data_dependent" else (errors.ber,)
        for stored, ber, weak, rate in zip(fit.stored, fit.ber, fit.weak, rates, strict=True):
            truths[f"ber {stored}"] = (ber, rate)
            if reads > 1:
                truths[f"weak {stored}"] = (weak, rate / errors.failure)
        if isinstance(errors, (Bitline, Wordline)):
            assert fit.dispersion is not None
            truths["dispersion"] = (fit.dispersion, errors.dispersion)
            rhos.append(fit.dispersion.estimate)
        for name, (estimate, truth) in truths.items():
            held[name] = held.get(name, 0) + holds(estimate, truth)
        back = fit.error_model(GEOMETRY)
        assert type(back) is type(errors)
        assert back.ber == pytest.approx(errors.ber, rel=0.3)
        assert (fit.failure.identified, fit.failure.estimate) == (True, back.failure) if reads > 1 else (False, 1.0)
    # Of 20 intervals of 95%, fewer than 15 hold with a probability of 3e-4; there are 19 such counts in all cases.
    assert min(held.values()) >= 15, held
    if rhos:
        assert np.mean(rhos) == pytest.approx(errors.dispersion, rel=0.1)  # type: ignore[attr-defined]


def test_measured_lines_come_back_from_the_chip() -> None:
    rng = np.random.default_rng(0)
    table = rng.beta(0.5, 20.0, size=GEOMETRY.row_bits)
    errors = Bitline.measured(table, geometry=GEOMETRY)
    counts = count(read_chip(errors, 3, 0, 1), 1)
    back = measured_lines("bitline", counts, geometry=GEOMETRY)
    assert isinstance(back, Bitline)
    assert back.rates is not None
    truth = np.tile(table, back.rates.size // table.size)
    cells = GEOMETRY.subarray_rows
    statistic = float(((back.rates - truth) ** 2 / (truth * (1 - truth) / cells)).sum())
    # Chi-square's mean and deviation, 6 sigma; binomials of few errors have a longer tail than normal counts.
    assert abs(statistic - truth.size) < 6 * math.sqrt(2 * truth.size + float((1 / (cells * truth)).sum()))
    half = measured_lines("bitline", counts, failure=0.5, geometry=GEOMETRY)
    assert half.ber == pytest.approx(back.ber, rel=1e-9)
    with pytest.raises(ValueError, match="no wordlines"):
        measured_lines("wordline", Counts.of_lines(bitlines=counts.bitlines))


def test_totals_identify_the_product_alone_and_say_what_was_assumed() -> None:
    result = fit_models(both=Counts.of_total(100, 10**9))
    fit = result.chosen
    assert (fit.model, fit.failure.identified, fit.weak[0].identified, fit.ber[0].identified) == (
        "uniform",
        False,
        False,
        True,
    )
    assert fit.failure.estimate == 1.0
    assert (fit.failure.low, fit.failure.high) == (0.0, 1.0)
    assert any("assumed F = 1" in note for note in result.notes)
    assert any("not counted along them" in note for note in result.notes)
    assert list(result.fits) == ["uniform"]
    given = fit_models(both=Counts.of_total(100, 10**9), failure=0.25)
    assert given.chosen.error_model() == Uniform(given.chosen.ber[0].estimate, 0.25)
    assert given.chosen.ber[0].estimate == pytest.approx(1e-7)
    assert given.chosen.weak[0].estimate == pytest.approx(4e-7)
    assert any("F = 0.25 was given" in note for note in given.notes)


def test_intervals_are_one_sided_at_bounds() -> None:
    none = fit_models(both=Counts.of_total(0, 10**6)).chosen.ber[0]
    assert (none.estimate, none.low, none.bound) == (0.0, 0.0, "low")
    assert none.high == pytest.approx(-math.log(0.05) / 10**6, rel=1e-4)
    persistent = fit_models(both=Counts.of_cells([10**6, 0, 0, 40])).chosen
    assert (persistent.failure.estimate, persistent.failure.high, persistent.failure.bound) == (1.0, 1.0, "high")
    assert 0.97 < persistent.failure.low < 1.0
    once = fit_models(both=Counts.of_cells([10**6, 40, 0, 0]))
    assert not once.chosen.failure.identified
    assert once.chosen.weak[0].high == 1.0
    assert once.chosen.ber[0].identified
    assert any("more than one of its reads" in note for note in once.notes)


def test_lines_and_data_dependence_together_are_not_ignored() -> None:
    errors = [Bitline(ber, 0.05, geometry=GEOMETRY) for ber in (2e-3, 8e-3)]
    zero, one = (count(read_chip(errors[v], 1, v, 1, address=v * BITS), 1) for v in (0, 1))
    result = fit_models(zero=zero, one=one, replicates=0)
    assert result.chosen.model == "bitline_by_value"
    others = [fit.bic for name, fit in result.fits.items() if name != result.chosen.model]
    assert min(others) > result.chosen.bic + 100
    found = result.chosen.error_model(GEOMETRY, marks="apart")
    rates = [rate.estimate for rate in result.chosen.ber]
    assert found == Bitline.by_value(*rates, result.chosen.dispersion.estimate, geometry=GEOMETRY, marks="apart")
    for rate, interval in zip((2e-3, 8e-3), result.chosen.ber, strict=True):
        assert interval.low <= rate <= interval.high
    # Each value's lines are tested against a fit of their own.
    tested = fit_models(zero=zero, one=one, replicates=19)
    assert [test.bins[0].stored for test in tested.goodness] == ["zero", "one"]
    assert all(test.p_value > 0.01 for test in tested.goodness)


def both_axes(ber: float, seed: int) -> np.ndarray[Any, Any]:
    """Cells that fail along bad bitlines and along bad wordlines, half of each."""
    bitlines, wordlines = Bitline(ber / 2, 0.05, geometry=GEOMETRY), Wordline(ber / 2, 0.05, geometry=GEOMETRY)
    return np.maximum(read_chip(bitlines, seed, 0, 1), read_chip(wordlines, seed + 1000, 0, 1))


@pytest.mark.parametrize(
    "errors",
    [
        Uniform(5e-3),
        DataDependent(1e-3, 2e-2),
        Bitline(5e-3, 0.05, geometry=GEOMETRY),
        Wordline(5e-3, 0.05, geometry=GEOMETRY),
        None,
    ],
    ids=["uniform", "data_dependent", "bitline", "wordline", "both axes"],
)
def test_only_a_chip_that_clusters_along_both_axes_is_said_to(errors: ErrorModel | None) -> None:
    for seed in range(10):
        if errors is None:
            zero, one = (count(both_axes(ber, 2 * seed + v), 1) for v, ber in enumerate((5e-3, 2e-2)))
        else:
            zero, one = (count(read_chip(errors, seed, v, 1, address=v * BITS), 1) for v in (0, 1))
        # Values apart and one value alone. A difference of BIC of 10 against a truth is far below 1 in 1,000.
        for result in (fit_models(zero=zero, one=one, replicates=0), fit_models(both=one, replicates=0)):
            told = any("cluster along bitlines and along wordlines" in note for note in result.notes)
            assert told == (errors is None)


def test_a_model_that_does_not_fit_is_told_with_the_classes_for_its_plot() -> None:
    # Half of the bitlines never fail, the others all alike: no Beta law.
    errors = Bitline.measured(np.tile([0.0, 0.05], 512), geometry=GEOMETRY)
    counts = count(read_chip(errors, 0, 0, 1), 1)
    result = fit_models(both=counts)
    assert result.chosen.model == "bitline"
    (test,) = result.goodness
    assert test.of == "bitline"
    assert test.p_value == 1 / 200
    assert any("does not describe the counts of bitlines" in note for note in result.notes)
    assert counts.bitlines is not None
    assert sum(b.observed for b in test.bins) == counts.bitlines.failed.size
    assert sum(b.expected for b in test.bins) == pytest.approx(counts.bitlines.failed.size)
    assert [b.low for b in test.bins[1:]] == [b.high + 1 for b in test.bins[:-1]]
    good = fit_models(both=count(read_chip(Bitline(0.01, 0.05, geometry=GEOMETRY), 0, 0, 1), 1))
    assert good.goodness[0].p_value > 0.01
    assert "goodness of fit, bitline: p = " in good.text()
    assert good == fit_models(both=count(read_chip(Bitline(0.01, 0.05, geometry=GEOMETRY), 0, 0, 1), 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lines(8, [1, 9]), "line 1: 9 of 8 cells failed"),
        (lambda: Lines(8, [0.5]), "failed is of the type float64"),
        (lambda: Lines([8, 8], [1]), r"cells has the shape \(2,\)"),
        (lambda: Lines(8, np.zeros(0, int)), "failed holds no lines"),
        (lambda: Counts.of_total(5, 4), "errors is 5"),
        (lambda: Counts.of_lines(), "neither bitlines nor wordlines"),
        (lambda: Counts.of_lines(bitlines=Lines(8, [1, 2]), wordlines=Lines(8, [1, 1])), "wordlines: 2 of 16"),
        (lambda: Counts.of_cells([3]), r"histogram is \[3\]"),
        (lambda: Counts.of_cells([3, -1]), "none below 0"),
        (lambda: Counts.of_cells([14, 2], bitlines=Lines(8, [1, 2])), "bitlines: 3 of 16"),
        (lambda: fit_models(), "counts of nothing"),
        (lambda: fit_models(both=Counts.of_total(1, 9), one=Counts.of_total(1, 9)), "one, both are given"),
        (lambda: fit_models(both=Counts.of_total(1, 9), failure=0.0), "failure is 0.0"),
        (lambda: fit_models(both=Counts.of_total(1, 9), replicates=-1), "replicates is -1"),
        (lambda: compare_pattern([(1, 9)], [(1, 9)], [(1, 9)], level=0.0), "level is 0.0"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def readings(rng: np.random.Generator, rate: float, dispersion: float, number: int) -> list[tuple[float, float]]:
    cells = 2**30
    size = 1 / (dispersion * rate * (1 - rate))
    rates = rng.beta(rate * size, (1 - rate) * size, number)
    return [(float(rng.binomial(cells, p)), float(cells)) for p in rates]


def test_repeats_of_totals_vary_as_an_effect() -> None:
    held = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        zero, one = fit_counts([readings(rng, 1e-4, 0.02, 6), readings(rng, 1e-3, 0.02, 6)]).rates
        held += (zero.low <= 1e-4 <= zero.high) + (one.low <= 1e-3 <= one.high)
        # A binomial's interval would be 1e-5 of the rate wide, not a tenth.
        assert zero.high / zero.low > 1.05
    # 60 intervals of 95%: fewer than 50 have a probability of 1e-4.
    assert held >= 50


def test_a_pattern_is_a_factor_of_its_own_as_often_as_stated() -> None:
    refused = 0
    campaigns = 200
    for seed in range(campaigns):
        rng = np.random.default_rng(seed)
        zero, one = readings(rng, 1e-4, 0.05, 5), readings(rng, 1e-3, 0.05, 5)
        refused += compare_pattern(zero, one, readings(rng, 5.5e-4, 0.05, 4), level=0.05).own_factor
        # So far off that every campaign tells it.
        if seed < 20:
            assert compare_pattern(zero, one, readings(rng, 5e-3, 0.05, 4)).own_factor
    # Binomial of 200 at 5%: above 20 with a probability of 1e-3.
    assert refused <= 20
    test = compare_pattern(
        [(100.0, 1e6), (110.0, 1e6), (90.0, 1e6)],
        [(900.0, 1e6), (960.0, 1e6), (840.0, 1e6)],
        [(500.0, 1e6), (540.0, 1e6), (460.0, 1e6)],
    )
    assert test.predicted == pytest.approx(5e-4, rel=1e-2)
    assert test.p_value > 0.5


@pytest.fixture
def recovery(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("recovery")
    # Intervals hold as often however many cells fail.
    monkeypatch.setattr(module, "MOST_FAILED", 2**14)
    return module


@pytest.mark.parametrize("model", ["uniform", "bitline", "wordline", "data_dependent"])
def test_a_small_recovery_is_as_asked(recovery: ModuleType, model: str) -> None:
    outcomes = [recovery.run(model, seed, 1) for seed in range(40)]
    intervals = [held for outcome in outcomes for held in outcome.intervals.values()]
    share = sum(held.holds for held in intervals) / len(intervals)
    # Some 100 intervals, three to a campaign that stray together: a share of 95% is below 85% with a probability of
    # 1e-3 for 40 independent ones.
    assert len(intervals) > 60
    assert share >= stats.binom.ppf(1e-3, 40, 0.95) / 40
    lines, _ = recovery.summarize(model, outcomes)
    assert lines[0].startswith(f"{model}: 40 campaigns")
    assert any("choose uniform" in line or f"choose {model}" in line for line in lines)


def test_recovery_prints_the_same_for_the_same_seed(recovery: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    printed = processes.run(BENCHMARKS / "recovery.py", "--campaigns", 2, "--redraws", 1, "--models", "uniform").stdout
    lines, _ = recovery.summarize("uniform", [recovery.run("uniform", seed, 1) for seed in range(2)])
    assert printed.splitlines()[: len(lines)] == lines
    assert lines[0].startswith("uniform: 2 campaigns")
