"""Is no rate below that of the worst pattern of zeros and ones that was read?"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from latency_csv import CELLS, line, write

import eden
from eden.devices.fitting.patterns import lifted
from eden.devices.partition import Partition
from eden.devices.prediction import check

ALONE = {7.5: (2e-6, 8e-6), 5.0: (1e-3, 9e-3), 2.5: (0.2, 0.4)}
WORSE = {(7.5, "0xaa"): 1.5e-5, (7.5, "0xcc"): 3e-6, (5.0, "0x33"): 4e-3, (2.5, "0x1"): 0.24}
"""At 7.5 ns 0xaa fails three times as often as zeros and ones alone; 0xcc does not, nor does 0x33 at 5 ns."""


def campaign(folder: Path, worse: dict[tuple[float, str], float], seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    rows = [line(0, pattern, trcd=12.5) for pattern in ("0x0", "0xff")]
    for trcd, pattern, rate in [
        *(
            (trcd, pattern, rate)
            for trcd, pair in ALONE.items()
            for pattern, rate in zip(("0x0", "0xff"), pair, strict=True)
        ),
        *((*where, rate) for where, rate in worse.items()),
    ]:
        for _ in range(4):
            counts = random.binomial(CELLS, np.minimum(rate * np.exp(random.normal(0, 0.05, 8)), 1.0))
            rows.append(line([float(count) for count in counts], pattern, trcd))
    return write(folder / "a.csv", rows)


def mixed(part: Partition, trcd: float, ones: float = 0.5) -> float:
    errors = part.errors(trcd=trcd)
    return (1 - ones) * errors.ber_zero + ones * errors.ber_one


def test_rates_are_raised_to_the_worst_pattern(tmp_path: Path) -> None:
    path = campaign(tmp_path, WORSE)
    device = eden.fit(path)
    rows = {(row.trcd, row.pattern): row for row in device.measured}
    (point,) = [point for point in device.whole.points if point.trcd == 7.5]
    worst = point.worst_pattern
    assert worst is not None
    assert (worst.pattern, worst.readings) == ("0xaa", 4)
    assert mixed(device.whole, 7.5) >= rows[7.5, "0xaa"].rate * (1 - 1e-4) > 1.2 * rows[7.5, "0xaa"].predicted
    assert mixed(device.whole, 2.5, 1 / 8) >= rows[2.5, "0x1"].rate * (1 - 1e-4)
    assert (point.zero[0], point.one[0]) == (worst.zero.low, worst.one.low)
    assert (point.zero[1] + point.one[1]) / 2 >= rows[7.5, "0xaa"].high * (1 - 1e-3)
    # A pattern that is as each value alone says raises nothing.
    assert next(point for point in device.whole.points if point.trcd == 5.0).worst_pattern is None
    # Each bank is raised to what was counted in it.
    found = check(device, path)
    assert found.too_low == ()
    assert all(one.verdict == "inside" for one in found.conditions if one.pattern in ("zeros", "ones", "0xaa"))
    for part in device.partitions[1:]:
        assert next(point for point in part.points if point.trcd == 7.5).worst_pattern is not None
    assert any("the worst pattern that was read, at every operating point" in text for text in device.assumptions)
    assert "raised: tRCD 7.5 tRP 12.5: pattern 0xaa fails at" in device.describe()
    device.save(tmp_path / "device.json")
    loaded = eden.Device.load(tmp_path / "device.json")
    assert loaded.whole == device.whole
    doubled = loaded.with_margin(2.0)
    assert mixed(doubled.whole, 7.5) == pytest.approx(2 * mixed(device.whole, 7.5))


def test_a_harsher_point_is_no_better_with_a_pattern(tmp_path: Path) -> None:
    device = eden.fit(campaign(tmp_path, {(7.5, "0xaa"): 2e-2}))
    errors = [device.errors(trcd=trcd) for trcd in (7.5, 5.0, 2.5)]
    assert mixed(device.whole, 7.5) >= 0.018
    for mild, harsh in itertools.pairwise(errors):
        assert mild.ber_zero <= harsh.ber_zero
        assert mild.ber_one <= harsh.ber_one
    # Only at 7.5 ns was a pattern of both read.
    assert any("and where none was, as zeros and ones that are stored alone do" in text for text in device.assumptions)
    none = eden.fit(campaign(tmp_path, {}))
    assert any("no pattern of both was read" in text for text in none.assumptions)
    with pytest.raises(ValueError, match=r"failure is 0\.45; allowed is .* with the pattern 0xaa at tRCD 2"):
        eden.fit(campaign(tmp_path, {(2.5, "0xaa"): 0.48}), failure=0.45)


def test_lifted_rates_have_their_odds_multiplied_by_one_number() -> None:
    random = np.random.default_rng(3)
    for _ in range(200):
        zero, one = np.exp(random.uniform(math.log(1e-10), 0, 2))
        ones = int(random.integers(1, 8)) / 8
        before = (1 - ones) * zero + ones * one
        least = before + (1 - before) * float(np.exp(random.uniform(-20, -0.01)))
        low, high = lifted(zero, one, ones, least)
        assert (1 - ones) * low + ones * high == pytest.approx(least, rel=1e-9)
        odds = [
            after * (1 - rate) / (rate * (1 - after)) for rate, after in ((zero, low), (one, high)) if after < 0.999
        ]
        assert len(odds) < 2 or odds[0] == pytest.approx(odds[1], rel=1e-5)
    assert lifted(1e-3, 2e-3, 0.5, 1.4e-3) == (1e-3, 2e-3)
    assert lifted(0.0, 0.0, 0.5, 1e-5) == (1e-5, 1e-5)
    assert lifted(1e-3, 0.0, 0.5, 0.75) == pytest.approx((1.0, 0.5))


def test_flips_with_a_pattern_that_was_not_fitted_count(tmp_path: Path) -> None:
    """Cells that fail more often beside neighbours of the other value, in a file that names cells."""
    random = np.random.default_rng(7)
    rates = {("0x00", 0): 2e-3, ("0xff", 1): 8e-3, ("0xaa", 0): 1e-2, ("0xaa", 1): 9e-3}
    lines, counted = ["refresh_interval,temperature,pattern,bank,row,bit"], {}
    for (pattern, value), rate in rates.items():
        holds = (int(pattern, 16) >> np.arange(8) & 1) == value
        cells = (random.random((64, 1024)) < rate) & np.tile(holds, 128)
        counted[pattern, value] = cells.sum() / (64 * np.tile(holds, 128).sum())
        lines += [f"512,50,{pattern},0,{row},{bit}" for row, bit in np.argwhere(cells)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    device = eden.fit(path, tested=eden.Tested(banks=1, rows=64, row_bits=1024, subarray_rows=64))
    errors = device.errors(refresh_interval=512)
    assert errors.ber_zero >= counted["0xaa", 0]
    assert errors.ber_one >= max(counted["0xaa", 1], counted["0xff", 1])
    worst = device.whole.points[-1].worst_pattern
    assert worst is not None
    assert (worst.pattern, worst.zero.rate) == ("0xaa", pytest.approx(counted["0x00", 0], rel=0.01))


def test_counts_of_both_values_of_a_pattern_are_a_reading_of_it(tmp_path: Path) -> None:
    cells, rows = 2**25, ["trcd,temperature,pattern,stored,bank,repeat,errors,cells"]
    for repeat in range(3):
        for trcd, pattern, stored, errors, of in (
            *((12.5, pattern, stored, 0, cells) for pattern, stored in (("0x00", 0), ("0xff", 1))),
            *((7.5, "0x00", 0, 100, cells), (7.5, "0xff", 1, 300, cells)),
            *((7.5, "0xaa", 0, 900, cells // 2), (7.5, "0xaa", 1, 150, cells // 2)),
            *((5.0, "0xaa", 0, 2000, cells // 2), (5.0, "0xaa", 1, 3000, cells // 2)),
            *((4.0, "0x00", 0, 4000, cells), (4.0, "0xff", 1, 3000, cells)),
        ):
            rows.append(f"{trcd},50,{pattern},{stored},1,{repeat},{errors + (errors > 0) * repeat},{of}")
    path = tmp_path / "a.csv"
    path.write_text("\n".join(rows) + "\n")
    device = eden.fit(path)
    assert mixed(device.whole, 7.5) >= 1052 / cells * (1 - 1e-12)
    # At 5 ns a pattern of both alone was read: no rates of zeros and ones, and none lower at what is harsher.
    assert mixed(device.whole, 4.0) >= 5002 / cells * (1 - 1e-12)
    with pytest.raises(ValueError, match=r"trcd 5 ns in it is left out: stored zeros were not measured"):
        device.errors(trcd=5.0)


def test_readings_that_vary_leave_no_rate_below_what_they_counted(tmp_path: Path) -> None:
    rows = [line(0, pattern, trcd=12.5) for pattern in ("0x0", "0xff")]
    rows += [line(count, "0x0", 7.5) for count in (100.0, 110.0, 400.0)]
    rows += [line(count, "0xff", 7.5) for count in (3e3, 3e3, 3.3e3)]
    device = eden.fit(write(tmp_path / "a.csv", rows))
    assert device.errors(trcd=7.5).ber_zero >= 610 / 3 / CELLS * (1 - 1e-12)


def test_drawn_modules_are_as_much_worse_with_patterns_as_the_median_one() -> None:
    vendor = eden.Device.builtin("ddr3-vendor-a")
    point = next(point for point in vendor.whole.points if point.trcd == 5.0 and point.trp == 12.5)
    assert point.worst_pattern is not None
    assert vendor.population is not None
    drawn, rates = vendor.draw(3), vendor.population.draw(3)
    for stored in ("zero", "one"):
        alone, raised = getattr(point.worst_pattern, stored).rate, getattr(point.errors, f"ber_{stored}")
        found = getattr(drawn.errors(trcd=5.0), f"ber_{stored}")
        odds = [rate / (1 - rate) for rate in (rates["trcd", stored, 5.0], found, alone, raised)]
        assert odds[1] / odds[0] == pytest.approx(odds[3] / odds[2], rel=1e-6)


def of_values(folder: Path, seed: int) -> tuple[Path, dict[tuple[int, float, int], float]]:
    """Counts of two banks that tell zeros and ones of patterns apart, some of one value alone; and the highest counted.

    The latter by bank (-1: both), tRCD and stored value.
    """
    random = np.random.default_rng(seed)
    cells, lines, counted = 2**23, ["trcd,temperature,pattern,stored,bank,repeat,errors,cells"], {}
    for trcd in (7.5, 5.0):
        for pattern, values in {"0x00": [0], "0xff": [1], "0xaa": [0, 1], "0x11": [0, 1], "0xcc/0x33": [0, 1]}.items():
            told = values if len(values) == 1 or random.random() < 0.7 else [int(random.integers(2))]
            for stored in told:
                share = 1.0 if len(values) == 1 else {"0x11": (0.75, 0.25)}.get(pattern, (0.5, 0.5))[stored]
                rates = 10 ** random.uniform(-5, -3, 2) * (100 if trcd == 5.0 else 1)
                of = int(cells * share)
                errors = random.binomial(of, rates)
                lines += [
                    f"{trcd},50,{pattern},{stored},{bank},{repeat},{count},{of}"
                    for repeat in range(2)
                    for bank, count in enumerate(errors)
                ]
                for bank, rate in ((0, errors[0] / of), (1, errors[1] / of), (-1, errors.sum() / (2 * of))):
                    counted[bank, trcd, stored] = max(counted.get((bank, trcd, stored), 0.0), rate)
    path = folder / f"{seed}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path, counted


def test_no_value_is_below_its_own_count_under_any_pattern(tmp_path: Path) -> None:
    raised = 0
    for seed in range(12):
        path, counted = of_values(tmp_path, seed)
        device = eden.fit(path, nominal=eden.Condition(trcd=12.5), partitions="bank")
        for (bank, trcd, stored), rate in counted.items():
            part = device.whole if bank < 0 else device.partition(f"bank{bank}")
            if part.nominal:
                continue
            errors = part.errors(trcd=trcd)
            assert (errors.ber_one if stored else errors.ber_zero) >= rate
        raised += sum("(its " in str(point.worst_pattern) for point in device.whole.points)
    assert raised > 3
    path.write_text(path.read_text() + "12.5,50,0xaa,1,0,0,3,4194304\n")
    with pytest.raises(eden.FileError, match=r"found 3 errors of stored ones .* pattern 0xaa at its nominal"):
        eden.fit(path, nominal=eden.Condition(trcd=12.5))
