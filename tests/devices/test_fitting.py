"""Does the fit give back what campaigns were simulated from, and does it leave out, by name, what it cannot fit?"""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from campaign_arguments import grouped
from latency_csv import CELLS, line, simulate, write

import eden.devices.catalogue
from eden import DataDependent, Device, FileError, Uniform, fit
from eden.devices.fitting import FitReport, analyse, fit_counts


def sweep(*points: tuple[float, float, float], repeats: int = 3, **changes: float) -> list[dict[str, str]]:
    """Readings of (tRCD, errors of zeros, errors of ones per bank), a percent apart between repeats."""
    return [
        line(round(errors * (1 + 0.01 * repeat)), pattern, trcd, **changes)  # type: ignore[arg-type]
        for trcd, *counts in points
        for pattern, errors in zip(("0x0", "0xff"), counts, strict=True)
        for repeat in range(repeats)
    ]


def report(path: Path, rows: list[dict[str, str]], **options: object) -> FitReport:
    return analyse(write(path / "a.csv", rows), **grouped(options))


def reasons(result: FitReport) -> dict[tuple[float, float], str]:
    return {(gap.trcd, gap.trp): gap.reason for gap in result.device.whole.left_out}


NOMINAL = (12.5, 0, 0)


def test_data_dependent_campaigns_are_recovered(tmp_path: Path) -> None:
    rates = {7.5: (2e-4, 1e-5), 5.0: (0.05, 0.01)}
    covered = total = 0
    for seed in range(20):
        rows = simulate(np.random.default_rng(seed), rates, repeats=5, dispersion=0.02)
        device = fit(write(tmp_path / "a.csv", rows))
        assert device.model == "data_dependent"
        for point in device.whole.points:
            if point.trcd in rates:
                for truth, (low, high) in zip(rates[point.trcd], (point.zero, point.one), strict=True):
                    covered += low <= truth <= high
                    total += 1
        errors = device.errors(trcd=7.5)
        assert isinstance(errors, DataDependent)
        # The mean of five readings of relative spread 0.14 has 0.063: 5 sigma.
        assert errors.ber_zero == pytest.approx(2e-4, rel=0.32)
        assert errors.ber_one == pytest.approx(1e-5, rel=0.32)
    # 80 intervals of 95%: fewer than 68 has a probability of 2e-4.
    assert total == 80
    assert covered >= 68


def test_uniform_campaigns_are_recovered_and_model_3_is_not_claimed(tmp_path: Path) -> None:
    rates = {7.5: (1e-4, 1e-4), 5.0: (0.03, 0.03)}
    chosen = covered = 0
    for seed in range(20):
        rows = simulate(np.random.default_rng(100 + seed), rates, repeats=6, dispersion=0.02)
        device = fit(write(tmp_path / "a.csv", rows))
        chosen += device.model == "data_dependent"
        if device.model == "uniform":
            assert isinstance(device.errors(trcd=5.0), Uniform)
            covered += sum(
                point.zero[0] <= rates[point.trcd][0] <= point.zero[1]
                for point in device.whole.points
                if point.trcd in rates
            )
    # The gain, a sum of 12 ln(1 + F / 10) over both points with F of 1 and 10 degrees of freedom, must pass
    # 10 + 2 ln 12: a probability of 2.5e-3 per campaign, so two of 20 have 1.2e-3.
    assert chosen <= 1
    # 40 (or 38) intervals of 95%: fewer than 31 has a probability of at most 1e-3.
    assert covered >= 31


def test_intervals_from_three_readings_cover() -> None:
    random = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        rate, dispersion = 1e-3, 0.1
        total = 1 / (dispersion * rate * (1 - rate))
        counts = random.binomial(CELLS, random.beta(rate * total, (1 - rate) * total, 3))
        low, high = (
            getattr(fit_counts([[(float(c), CELLS) for c in counts]]).rates[0], end) for end in ("low", "high")
        )
        covered += low <= rate <= high
    # 400 intervals of 95%: outside 364 to 394 has a probability of 4e-4.
    assert 364 <= covered <= 394


def test_a_binomial_would_have_claimed_absurd_certainty(tmp_path: Path) -> None:
    rows = simulate(np.random.default_rng(3), {5.0: (0.05, 0.01)}, repeats=5, dispersion=0.02)
    point = fit(write(tmp_path / "a.csv", rows)).whole.points[-1]
    binomial = 2 * 1.96 * np.sqrt(0.05 * 0.95 / (8 * CELLS * 5))
    assert point.zero[1] - point.zero[0] > 1000 * binomial
    assert point.dispersion_fitted
    assert 0.002 < point.dispersion < 0.1


def test_the_table_sums_and_decides(tmp_path: Path) -> None:
    result = report(tmp_path, sweep(NOMINAL, (7.5, 1000, 9000), (5.0, 10**6, 10**7), repeats=4))
    rows = result.device.choice
    for model in ("uniform", "data_dependent"):
        parts = [row for row in rows if row.model == model and row.point is not None]
        (whole,) = [row for row in rows if row.model == model and row.point is None]
        assert {row.point.trcd for row in parts if row.point} == {7.5, 5.0}
        assert whole.bic == pytest.approx(sum(row.bic for row in parts), abs=0.01)
        for row in parts:
            assert row.bic == pytest.approx(
                row.parameters * np.log(row.observations) - 2 * row.log_likelihood, abs=0.01
            )
    sums = {row.model: row.bic for row in rows if row.point is None}
    assert sums["data_dependent"] < sums["uniform"] - 10
    assert "chose Model 3 (data-dependent): the BIC of Model 3 is" in "\n".join(result.device.notes)


def test_a_difference_that_is_not_decisive_leaves_model_0(tmp_path: Path) -> None:
    device = report(tmp_path, sweep(NOMINAL, (7.5, 1000, 1005), (5.0, 10**6, 1004000), repeats=4)).device
    sums = {row.model: row.bic for row in device.choice if row.point is None}
    assert sums["data_dependent"] > sums["uniform"] - 10
    assert device.model == "uniform"


def test_a_condition_that_never_failed_has_ber_0_with_an_upper_limit(tmp_path: Path) -> None:
    device = report(tmp_path, sweep(NOMINAL, (10.0, 0, 0), (7.5, 1000, 5000))).device
    errors = device.errors(trcd=10.0)
    assert (errors.ber_zero, errors.ber_one) == (0.0, 0.0)
    point = device.curve()[1]
    # At least the binomial limit for 3 readings of 8 banks, at most what the borrowed dispersion of 1e-4 adds.
    assert point.zero[0] == 0.0
    assert point.zero[1] == pytest.approx(-np.log(0.05) / (24 * CELLS), rel=0.01)
    assert not point.dispersion_fitted
    fewer = report(tmp_path, sweep(NOMINAL, (10.0, 0, 0), (7.5, 1000, 5000), repeats=2)).device.curve()[1]
    assert fewer.zero[1] > point.zero[1]


def test_single_readings_borrow_the_largest_dispersion(tmp_path: Path) -> None:
    rows = [*sweep(NOMINAL, (7.5, 1000, 5000)), line(10**6, "0x0", 5.0), line(2 * 10**6, "0xff", 5.0)]
    points = {point.trcd: point for point in report(tmp_path, rows).device.whole.points}
    assert points[7.5].dispersion_fitted
    assert not points[5.0].dispersion_fitted
    assert points[5.0].dispersion == points[7.5].dispersion


def test_a_campaign_without_repeats_takes_the_dispersion_between_banks(tmp_path: Path) -> None:
    banks = [float(900 + 30 * bank) for bank in range(8)]
    rows = [line(0, "0x0", 12.5), line(0, "0xff", 12.5), line(banks, "0x0"), line([4 * b for b in banks], "0xff")]
    (point,) = report(tmp_path, rows).device.whole.points[1:]
    assert not point.dispersion_fitted
    assert point.dispersion > 1e-3
    assert point.zero[1] > 1.1 * point.errors.ber_zero


def test_mixed_regimes_are_left_out_by_name(tmp_path: Path) -> None:
    rows = [*sweep(NOMINAL, (7.5, 10**6, 10**6), (5.0, 10**8, 10**8)), line(100, "0x0", 7.5)]
    result = report(tmp_path, rows)
    assert reasons(result).keys() == {(7.5, 12.5)}
    assert "stored zeros mix two regimes" in reasons(result)[7.5, 12.5]
    for trcd in (7.5, 6.0, 9.0):
        with pytest.raises(
            ValueError,
            match=r"trcd is .* ns; .* outside of the region from trcd 12.5 ns to trcd 5 ns, .*mix two regimes",
        ):
            result.device.errors(trcd=trcd)
    assert result.device.errors(trcd=5.0).ber > 0.05
    assert "mix two regimes" in result.text()


def test_few_errors_by_chance_are_no_regimes(tmp_path: Path) -> None:
    rows = [*sweep(NOMINAL, (5.0, 1000, 1000)), line(0, "0x0"), line([1, *[0] * 7], "0x0"), line([1] * 8, "0xff")]
    assert reasons(report(tmp_path, rows)) == {}


def test_a_curve_that_is_not_monotone_ends_the_range(tmp_path: Path) -> None:
    rows = sweep(NOMINAL, (7.5, 1000, 1000), (5.0, 10**8, 10**6), (2.5, 10**7, 10**8), (1.5, 10**9, 10**9))
    result = report(tmp_path, rows)
    assert set(reasons(result)) == {(2.5, 12.5), (1.5, 12.5)}
    assert "stored zeros fail at 0.00941, but at 0.0941 at the milder 5 ns" in reasons(result)[2.5, 12.5]
    assert "harsher than 2.5 ns" in reasons(result)[1.5, 12.5]
    with pytest.raises(ValueError, match=r"trcd is 2.5 ns; allowed for whole at 20 C is 5 to 12.5 ns; 2.5 ns is left"):
        result.device.errors(trcd=2.5)


def test_rates_that_reach_one(tmp_path: Path) -> None:
    rows = [*sweep(NOMINAL, (5.0, 10**8, 10**8)), *(line(CELLS, pattern, 2.5) for pattern in ("0x0", "0xff"))]
    device = report(tmp_path, rows).device
    assert device.errors(trcd=2.5).ber == 1.0
    low, high = device.whole.points[-1].zero
    assert 0.9 < low < high == 1.0


def test_a_missing_stored_value_leaves_the_point_out(tmp_path: Path) -> None:
    result = report(tmp_path, [*sweep(NOMINAL, (5.0, 1000, 1000)), line(10, "0x0", 7.5)])
    assert reasons(result) == {(7.5, 12.5): "stored ones were not measured (pattern 0xff)"}
    with pytest.raises(FileError, match=r"column Pattern: module m1 has no reading of the patterns 0x0 or 0xff"):
        report(tmp_path, [line(10, "0xaa")])


def test_untested_banks_are_left_out_of_the_rates(tmp_path: Path) -> None:
    rows = sweep(NOMINAL)
    rows += [line([0, *[1000 + i] * 7], pattern) for pattern in ("0x0", "0xff") for i in range(3)]
    device = report(tmp_path, rows).device
    # Seven of seven banks, not seven of eight.
    assert device.errors(trcd=7.5).ber == pytest.approx(1001 / CELLS, rel=1e-3)


def test_both_latencies_reduced_are_a_point_unless_they_fail_less_than_one(tmp_path: Path) -> None:
    rows = [*sweep(NOMINAL, (7.5, 1000, 1000)), *sweep((7.5, 50, 50), trp=5.0), *sweep((7.5, 9000, 9000), trp=2.5)]
    result = report(tmp_path, rows)
    assert [(point.trcd, point.trp) for point in result.device.whole.points] == [(12.5, 12.5), (7.5, 12.5)]
    assert "at the milder tRCD 7.5 ns, tRP 12.5 ns" in reasons(result)[7.5, 5.0]
    assert "harsher than tRCD 7.5 ns, tRP 5 ns" in reasons(result)[7.5, 2.5]
    joint = report(tmp_path, [*rows[:12], *rows[18:]]).device
    assert joint.errors(trcd=7.5, trp=2.5).ber == pytest.approx(9090 / CELLS, rel=1e-3)
    assert joint.errors(trcd=8.0, trp=10.0).ber == joint.errors(trcd=7.5, trp=2.5).ber


def test_both_sweeps_are_fitted_each_along_its_latency(tmp_path: Path) -> None:
    rows = [
        *sweep(NOMINAL, (7.5, 1000, 2000)),
        *sweep((12.5, 100, 300), trp=7.5),
        *sweep((12.5, 10**5, 10**6), trp=5.0),
    ]
    device = report(tmp_path, rows).device
    assert [(point.trcd, point.trp) for point in device.whole.points] == [
        (12.5, 12.5),
        (7.5, 12.5),
        (12.5, 7.5),
        (12.5, 5.0),
    ]
    assert device.errors(trp=7.5).ber_one == pytest.approx(303 / CELLS, rel=1e-3)
    with pytest.raises(ValueError, match=r"trcd is 7.5 ns and trp is 7.5 ns; allowed for whole is one of them off"):
        device.errors(trcd=7.5, trp=7.5)


def test_temperatures_are_kept_apart(tmp_path: Path) -> None:
    rows = [*sweep(NOMINAL, (7.5, 1000, 2000)), *sweep(NOMINAL, (7.5, 5000, 9000), temperature=70)]
    device = report(tmp_path, rows).device
    assert device.nominal.temperature == 70
    assert device.errors(trcd=7.5).ber_zero == pytest.approx(5050 / CELLS, rel=1e-3)
    assert device.errors(trcd=7.5, temperature=20).ber_zero == pytest.approx(1010 / CELLS, rel=1e-3)
    assert device.errors(temperature=20).ber == 0
    with pytest.raises(ValueError, match="temperature is 71 C; allowed for whole are the measured 20, 70 C"):
        device.errors(trcd=7.5, temperature=71)
    assert {point.temperature for part in device.partitions for point in part.points} == {70}
    cold = report(tmp_path, rows, temperature=20).device
    assert cold.errors(trcd=7.5).ber_zero == pytest.approx(1010 / CELLS, rel=1e-3)
    with pytest.raises(ValueError, match="temperature is 50; allowed for m1 are the measured 20, 70 C"):
        report(tmp_path, rows, temperature=50)


def test_partitions_have_their_own_rates_and_one_is_reliable(tmp_path: Path) -> None:
    rows = sweep(NOMINAL)
    counts = [1000.0 * (bank + 1) for bank in range(8)]
    for pattern, scale in (("0x0", 1), ("0xff", 4)):
        rows += [line([round(count * scale * (1 + 0.01 * i)) for count in counts], pattern) for i in range(3)]
    device = report(tmp_path, rows).device
    assert [part.name for part in device.partitions] == [f"bank{bank}" for bank in range(8)]
    assert {part.capacity_bytes for part in device.partitions} == {2**27}
    assert [part.nominal for part in device.partitions] == [True, *[False] * 7]
    assert [len(part.points) for part in device.partitions] == [1, *[2] * 7]
    for bank in range(1, 8):
        errors = device.errors(trcd=7.5, partition=f"bank{bank}")
        assert errors.ber_one == pytest.approx(4040 * (bank + 1) / CELLS, rel=1e-3)
        assert device.partitions[bank].errors(trcd=7.5) == errors
    assert device.errors(partition="bank0").ber == 0
    with pytest.raises(
        ValueError, match=r"trcd is 7.5 ns; allowed for bank0 at 20 C is 12.5 ns \(nominal\): it is kept"
    ):
        device.errors(trcd=7.5, partition="bank0")
    other = report(tmp_path, rows, reliable="bank5").device
    assert [part.nominal for part in other.partitions].index(True) == 5
    with pytest.raises(ValueError, match="reliable is 'bank8'; allowed are bank0, bank1"):
        report(tmp_path, rows, reliable="bank8")


def test_patterns_of_both_values_are_predicted_not_fitted(tmp_path: Path) -> None:
    rows = sweep(NOMINAL, (7.5, 1000, 3000), (5.0, 10**6, 3 * 10**6))
    plain = report(tmp_path, rows).device
    rows += [line(2000, "0xaa", 7.5), line(10**5, "0xcc", 5.0)]
    result = report(tmp_path, rows)
    assert result.device.whole == plain.whole  # raised to none, since none fails more often than predicted
    assert "1 of 2 conditions within a factor of 2" in result.text()
    (row,) = [row for row in result.device.measured if row.pattern == "0xaa"]
    assert row.rate == pytest.approx(2000 / CELLS, rel=1e-3)
    assert row.predicted == pytest.approx(2020 / CELLS, rel=1e-3)


def test_measured_rows_hold_what_was_read(tmp_path: Path) -> None:
    device = report(tmp_path, sweep(NOMINAL, (7.5, 1000, 3000), (5.0, 10**6, 3 * 10**6))).device
    rows = device.measured_curve("trcd")
    assert [(row.trcd, row.pattern, row.readings) for row in rows] == [
        (trcd, pattern, 3) for trcd in (12.5, 7.5, 5.0) for pattern in ("0x0", "0xff")
    ]
    row = rows[2]
    assert row.least == pytest.approx(1000 / CELLS, rel=1e-3)
    assert row.most == pytest.approx(1020 / CELLS, rel=1e-3)
    assert row.low < row.rate < row.high
    with pytest.raises(ValueError, match="parameter is 'twr'; allowed are trcd, trp, vdd, refresh_interval, tras"):
        device.measured_curve("twr")


def test_geometry_is_assumed_or_given(tmp_path: Path) -> None:
    rows = sweep(NOMINAL, (7.5, 1000, 3000))
    assert any(
        "subarrays of 512 rows: the measurements do not" in text for text in report(tmp_path, rows).device.assumptions
    )
    geometry = eden.Geometry(row_bits=2**15, subarray_rows=1024, bank_rows=2**15)
    device = report(tmp_path, rows, geometry=geometry).device
    assert device.geometry == geometry
    assert not any("subarrays" in text for text in device.assumptions)
    assert [part.address for part in device.partitions] == [bank * 2**30 for bank in range(8)]
    small = eden.Geometry(row_bits=2**15, subarray_rows=1024, bank_rows=2**14)
    with pytest.raises(ValueError, match=r"geometry has 8 banks of 536870912 cells; allowed is one that holds the"):
        report(tmp_path, rows, geometry=small)
    larger = report(tmp_path, rows, geometry=eden.Geometry()).device
    assert "1073741824 cells of a bank were measured, which stand for all 2147483648 of it" in larger.assumptions
    odd = report(tmp_path, sweep(NOMINAL, (7.5, 0, 0)), cells_per_bank=2**30 + 2**24).device
    assert odd.geometry.bank_rows * odd.geometry.row_bits == 33 * 2**25
    assert "1090519040 cells of a bank were measured, which stand for all 1107296256 of it" in odd.assumptions


def test_failure_is_an_assumption_and_bounds_the_rates(tmp_path: Path) -> None:
    rows = sweep(NOMINAL, (7.5, 1000, 3000), (5.0, 10**8, 10**8))
    device = report(tmp_path, rows, failure=0.5).device
    assert device.errors(trcd=7.5).failure == 0.5
    assert any(text.startswith("failure F = 0.5") for text in device.assumptions)
    with pytest.raises(ValueError, match=r"failure is 0.05; allowed is 0.094\d* to 1, because stored zeros of m1 fail"):
        report(tmp_path, rows, failure=0.05)
    for name in ("failure", "vdd", "refresh_interval"):
        for value in (0.0, -1.0, float("nan"), 1e9):
            with pytest.raises(ValueError, match=f"{name} is .*; allowed is (above 0|a finite number)"):
                report(tmp_path, rows, **{name: value})


def test_errors_at_the_nominal_point_are_an_error(tmp_path: Path) -> None:
    rows = sweep(NOMINAL, (7.5, 1000, 1000))
    for pattern in ("0x0", "0xff", "0xaa"):
        with pytest.raises(FileError, match=r"line 14: found 8 errors of module m1 at its nominal operating point"):
            report(tmp_path, [*rows, line(1, pattern, 12.5)])


def test_errors_at_nominal_latencies_and_another_temperature_are_points(tmp_path: Path) -> None:
    rows = [*sweep(NOMINAL, (7.5, 1000, 1000)), *sweep((12.5, 500, 500), (7.5, 1000, 1000), temperature=10)]
    rows += [*sweep((12.5, 200, 200), trp=10.0, temperature=10), *sweep((12.5, 900, 900), trp=7.5, temperature=10)]
    result = report(tmp_path, rows)
    assert result.device.errors(temperature=10).ber == pytest.approx(505 / CELLS, rel=1e-3)
    assert "the curve is not monotone" in reasons(result)[12.5, 10.0]


def test_a_module_that_never_fails(tmp_path: Path) -> None:
    device = report(tmp_path, sweep(NOMINAL, (10.0, 0, 0))).device
    assert device.model == "uniform"
    assert device.choice == ()
    assert device.errors(trcd=10.0) == Uniform(0.0)


def test_the_report_says_what_was_read_left_out_and_chosen(tmp_path: Path) -> None:
    rows = [*sweep(NOMINAL, (7.5, 1000, 9000)), line([0, *[1010] * 7], "0x0"), line(5, "0xaa")]
    text = report(tmp_path, rows).text()
    for part in (
        "read 14 readings of module m1",
        "left out Bank0 in 1 readings",
        "fitted zeros and ones apart from 1 readings of patterns of both",
        "chose Model 3",
        "log-likelihood",
        "failure F = 1",
        "bank0",
    ):
        assert part in text


def test_damaged_files_give_a_device_or_a_clear_error(tmp_path: Path) -> None:
    rows = [*sweep(NOMINAL, (7.5, 1000, 9000), (5.0, 10**6, 10**7), repeats=2), line(5000, "0xaa")]
    text = write(tmp_path / "a.csv", rows).read_text()
    random = np.random.default_rng(11)
    path = tmp_path / "b.csv"
    refused = 0
    for _ in range(150):
        at, cut = int(random.integers(len(text))), int(random.integers(3))
        path.write_text(text[:at] + str(random.choice(list('0129.,-e"\nxab'))) + text[at + cut :])
        try:
            fit(path)
        except ValueError as error:
            assert "allowed" in str(error) or "choose one of" in str(error)  # noqa: PT017
            refused += 1
    assert refused > 30


@pytest.mark.data
def test_every_module_of_the_measurements_can_be_fitted_or_says_why(measurements: Path) -> None:
    device = fit(measurements, module="b18")
    # Zeros fail at 0.10 at 5 ns and at 0.019 at 2.5 ns in most readings.
    assert min(point.trcd for point in device.whole.points) == 5.0
    mixed = fit(measurements, module="b1", nominal=eden.Condition(temperature=70.0))
    assert 7.5 in {gap.trcd for gap in mixed.whole.left_out if "mix two regimes" in gap.reason}
    with pytest.raises(ValueError, match=r"7.5 ns.* mix two regimes"):
        mixed.errors(trcd=7.5)


def test_what_nothing_repeated_tells_is_said(tmp_path: Path) -> None:
    """One pass of each condition, over one bank: no number tells how far a second pass would lie."""
    lines = ["trcd,trp,temperature,pattern,bank,errors,cells"]
    for trcd, errors in ((12.5, 0), (7.5, 5000), (5.0, 9_000_000)):
        lines += [f"{trcd},12.5,50,{pattern},0,{errors},1073741824" for pattern in ("0x00", "0xff")]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    alone = fit(tmp_path / "a.csv").assumptions
    assert any(text.startswith("readings do not vary by more than chance: no condition with errors") for text in alone)
    rows = [line([500.0 * (1 + bank) for bank in range(8)], pattern) for pattern in ("0x0", "0xff")]
    banks = fit(write(tmp_path / "b.csv", [line(0, p, 12.5) for p in ("0x0", "0xff")] + rows)).assumptions
    assert any(text.startswith("readings vary as the banks within a reading do") for text in banks)
    told = fit(write(tmp_path / "b.csv", sweep(NOMINAL, (7.5, 5000, 9000)))).assumptions
    assert any(text.startswith("the largest dispersion between readings at other conditions") for text in told)


COUNTS = "trcd,trp,temperature,pattern,bank,repeat,errors,cells"


def counts(path: Path, *, scale: float = 1.0, warmer: float = 0.0, cells: int = 0) -> Path:
    """Counts of two banks: latencies times ``scale``, ``warmer`` per repeat, ``cells`` less per bank."""
    lines = [COUNTS]
    for trcd, errors in ((12.5, 0), (7.5, 5000), (5.0, 900_000)):
        for pattern in ("0x00", "0xff"):
            for repeat in range(2):
                place = f"{trcd * scale:g},{12.5 * scale:g},{50 + warmer * repeat:g},{pattern}"
                lines += [f"{place},{bank},{repeat},{errors + 70 * repeat * bool(errors)},{2**30 - bank * cells}"
                          for bank in range(2)]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return path


def test_numbers_in_other_units_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tRCD is 12500 ns at the nominal point of a.csv; allowed is up to 1000 ns"):
        fit(counts(tmp_path / "a.csv", scale=1000))
    with pytest.raises(ValueError, match=r"temperature is 323 C in a.csv; allowed is up to 200 C \(323 K are 50 C\)"):
        fit(counts(tmp_path / "a.csv", warmer=273))
    with pytest.raises(
        FileError, match=r"no readings to fit: made no readings of whole banks: the cells of a count di"
    ):
        fit(counts(tmp_path / "a.csv", cells=1))


def test_temperatures_that_a_heater_does_not_tell_apart_are_named(tmp_path: Path) -> None:
    def named(warmer: float) -> bool:
        told = fit(counts(tmp_path / "a.csv", warmer=warmer)).assumptions
        return any(text.startswith("temperatures differ where they are stated so: 50 and") for text in told)

    assert named(0.1)
    assert not named(0.0)
    assert not named(20.0)


def test_a_curve_that_a_step_would_do_for_has_an_open_scale(tmp_path: Path) -> None:
    """A rise from nothing to its asymptote between two latencies: how steep, no reading tells."""
    device = fit(write(tmp_path / "a.csv", sweep(NOMINAL, (10, 0, 0), (7.5, 4e8, 4e8), (5, 5e8, 5e8), (2.5, 5e8, 5e8))))
    assert device.whole.curves
    for curve in device.whole.curves:
        assert curve.intervals is not None
        assert curve.intervals.scale[0] is None
        assert curve.open == ("scale",)
    assert "hardly told: the curve along row activation latency tRCD of stored zeros leaves its scale open" in (
        device.describe()
    )
    again = Device.model_validate_json(device.model_dump_json())
    assert again == device
    answer = device.whole.point(trcd=6.0, between="curve")
    milder, harsher = device.whole.point(trcd=7.5), device.whole.point(trcd=5.0)
    # What the answer's interval rests on is the neighbours and not the slope.
    assert answer.zero == (milder.zero[0], harsher.zero[1])


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
# A simplex ends where it gains 1e-6: 1.5e-3 standard errors from its maximum, which are below 1 in log-odds. Those of
# a module are below a twentieth of how modules differ: correlations move by 4 x 1.5e-3 / 20.
LOG_ODDS_BOUND, CORRELATION_BOUND = 1.5e-3, 3e-4


def differences(found: Any, shipped: Any, place: str = "") -> list[str]:
    """Where two devices differ by more than processors do, which round their last digits otherwise.

    A figure of four digits, an end of three, one in a text: each can lie on the other side of where it is rounded. Of a
    curve whose scale is open no reading tells where on the ridge it lies, nor its link: its places have to overlap.
    """
    if (
        isinstance(found, dict)
        and "link" in found
        and None in (*found["intervals"]["scale"], *shipped["intervals"]["scale"])
    ):
        places = [one["intervals"]["location"] for one in (found, shipped)]
        lows, highs = ([end for end in ends if end is not None] for ends in zip(*places, strict=True))
        if max(lows, default=-math.inf) > min(highs, default=math.inf):
            return [f"{place}: {places[0]} and {places[1]}"]
        untold = ("link", "location", "scale", "intervals")
        found, shipped = ({key: one[key] for key in one if key not in untold} for one in (found, shipped))
    if isinstance(found, dict) and isinstance(shipped, dict) and found.keys() == shipped.keys():
        return [told for key in found for told in differences(found[key], shipped[key], f"{place}.{key}")]
    if isinstance(found, list) and isinstance(shipped, list) and len(found) == len(shipped):
        pairs = enumerate(zip(found, shipped, strict=True))
        return [told for i, pair in pairs for told in differences(*pair, f"{place}[{i}]")]
    if isinstance(found, str) and isinstance(shipped, str) and NUMBER.split(found) == NUMBER.split(shipped):
        numbers = [
            [float(number) if "." in number or "e" in number else int(number) for number in NUMBER.findall(text)]
            for text in (found, shipped)
        ]
        return differences(*numbers, f"{place}, number")
    if type(found) is type(shipped) is float:
        digits = 1.1e-2 if ".intervals" in place or "number" in place else 1.1e-3
        bound = abs(shipped) * digits
        if ".correlation" in place:
            bound = CORRELATION_BOUND
        elif ".knots" in place:
            bound += LOG_ODDS_BOUND
        elif ".choice" in place:
            bound = digits
        if abs(found - shipped) <= bound:
            return []
    return [] if found == shipped else [f"{place}: {found} and {shipped}"]


def test_devices_that_differ_are_told_apart() -> None:
    shipped = json.loads(Device.builtin("ddr3-vendor-a").model_dump_json())
    assert differences(shipped, shipped) == []
    other = json.loads(json.dumps(shipped))
    other["population"]["correlation"][1][0] += 5e-4
    other["population"]["knots"][-1]["mean"] += 0.1
    other["assumptions"][0] += "."
    assert [text.partition(":")[0] for text in differences(other, shipped)] == [
        ".assumptions[0]",
        f".population.knots[{len(shipped['population']['knots']) - 1}].mean",
        ".population.correlation[1][0]",
    ]


@pytest.mark.data
@pytest.mark.timeout(3600)
def test_the_catalogue_is_what_the_measurements_give(measurements: Path, tmp_path: Path) -> None:
    from eden.devices.catalogue.__main__ import build

    names = []
    for name, device in build(measurements.parents[2]):
        names.append(name)
        device.save(tmp_path / "again.json")
        shipped = Path(eden.devices.catalogue.__file__).with_name(f"{name}.json")
        assert differences(json.loads((tmp_path / "again.json").read_text()), json.loads(shipped.read_text())) == []
        assert shipped.stat().st_size < 300_000
    assert tuple(sorted(names)) == Device.builtin_names()
