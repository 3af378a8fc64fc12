"""What a device answers between its measured points: continuous, rising, and said for each value what it rests on."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy

import eden
from eden.devices.between import log_odds, multilinear
from eden.devices.partition import AXES, Answer, Partition, shares_between

NEAR = 1e-9  # of a step
CELLS = 2**26


def rates(answer: Answer) -> tuple[float, float]:
    return answer.errors.ber_zero, answer.errors.ber_one


def of_value(answer: Answer, stored: int) -> str:
    """What the rate of a stored value rests on."""
    parts = dict(part.split(": ") for part in answer.basis.split(", ") if ": " in part)
    return parts.get(("zeros", "ones")[stored], answer.basis)


def check_sweep(part: Partition, name: str, temperature: float) -> int:
    """Answers along one parameter between every two neighbours; how many of them are estimates."""
    along = next(one for one in AXES if one.name == name)
    sweep = sorted(part.sweep(name, temperature), key=along.harshness)
    checked = 0
    for mild, harsh in itertools.pairwise(sweep):
        ends = getattr(mild, name), getattr(harsh, name)
        answers: list[Answer] = []
        for share in (0.0, NEAR, 0.2, 0.5, 0.8, 1.0 - NEAR, 1.0):
            arguments: dict[str, Any] = {name: ends[0] + share * (ends[1] - ends[0])}
            with contextlib.suppress(ValueError):  # inside a region that was left out
                answers.append(part.point(**arguments, temperature=temperature, between="curve"))
        for before, after in itertools.pairwise(answers):
            assert all(low <= high for low, high in zip(rates(before), rates(after), strict=True)), (part.name, before)
        if len(answers) < 7:
            continue
        for stored in (0, 1):
            if of_value(answers[3], stored) not in ("curve", "interpolated"):
                assert rates(answers[3])[stored] == rates(answers[-1])[stored]
                continue
            checked += 1
            for first, second in (answers[:2], answers[-2:]):
                step = log_odds(rates(second)[stored]) - log_odds(rates(first)[stored])
                assert step < 1e-3, (part.name, first, second)
        for answer in answers:
            for rate, (low, high) in zip(rates(answer), (answer.zero, answer.one), strict=True):
                assert low <= rate <= high
    return checked


def test_the_catalogue_answers_continuously() -> None:
    checked = 0
    for name in eden.Device.builtin_names():
        device = eden.Device.builtin(name)
        for temperature in device.temperatures:
            for parameter in ("trcd", "trp"):
                parts = (device.whole, device.partitions[-1]) if device.whole.curves else (device.whole,)
                checked += sum(check_sweep(part, parameter, temperature) for part in parts)
    assert checked > 100


def test_each_value_says_what_it_rests_on() -> None:
    part = eden.Device.builtin("ddr3-b33").whole
    answer = part.point(trcd=7.49, between="curve")
    assert answer.basis == "zeros: interpolated, ones: curve"
    measured = part.point(trcd=7.5)
    assert rates(answer) == pytest.approx(rates(measured), rel=0.05)
    assert part.point(trcd=4.0, between="curve").basis == "curve"
    assert part.point(trcd=9.0, between="curve").basis == "bound"


def test_a_temperature_between_two_measured_ones() -> None:
    part = eden.Device.builtin("ddr3-y17").whole
    cold, warm = part.point(trcd=5.0, temperature=50.0), part.point(trcd=5.0, temperature=70.0)
    worse = part.point(trcd=5.0, temperature=65.0)
    assert rates(worse) == tuple(map(max, rates(cold), rates(warm)))
    assert worse.basis == "measured, between 50 and 70 C"
    answer = part.point(trcd=5.0, temperature=65.0, between="curve")
    for i in (0, 1):
        expected = 0.25 * log_odds(rates(cold)[i]) + 0.75 * log_odds(rates(warm)[i])
        assert log_odds(rates(answer)[i]) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"temperature is 71.0 C; .* and what lies between 20 and 70 C"):
        part.errors(trcd=5.0, temperature=71.0)


def test_a_box_is_multilinear_in_the_log_odds() -> None:
    corners = {(0, 0): 1e-6, (0, 1): 1e-4, (1, 0): 1e-3, (1, 1): 1e-2}
    assert multilinear([0.0, 1.0], corners) == pytest.approx(1e-4)
    assert log_odds(multilinear([0.5, 0.5], corners)) == pytest.approx(sum(map(log_odds, corners.values())) / 4)
    rows = [[multilinear([i / 8, j / 8], corners) for j in range(9)] for i in range(9)]
    assert all(a <= b for row in rows for a, b in itertools.pairwise(row))
    assert all(a <= b for column in zip(*rows, strict=True) for a, b in itertools.pairwise(column))
    assert multilinear([0.5], {(0,): 1.0, (1,): 1.0}) == 1.0


def test_refresh_intervals_are_spread_as_their_logarithms_are() -> None:
    along = next(one for one in AXES if one.name == "refresh_interval")
    assert shares_between(along, 1448.15, 1024.0, 2048.0) == pytest.approx(0.5, abs=1e-4)
    assert along.value(along.need(1536.0)) == pytest.approx(1536.0)


def of_stress(vdd: float, interval: float, stored: int) -> float:
    """A share of cells whose retention times are lognormal, of a mean that rises with the voltage."""
    need = (math.log(interval) - 12.0 - 8.0 * (vdd - 1.2) + 0.4 * stored) / 1.1
    return float(scipy.stats.norm.cdf(need))


def of_retention(vdd: float, interval: float, stored: int) -> float:
    return of_stress(1.2, interval, stored) if interval > 400.0 else 0.0


def of_voltage(vdd: float, interval: float, stored: int) -> float:
    return float(scipy.stats.norm.cdf((0.75 - vdd + 0.02 * stored) / 0.07)) if vdd < 1.15 else 0.0


def fitted(
    path: Path, points: Iterable[tuple[float, float]], rate: Callable[[float, float, int], float]
) -> eden.Device:
    random = np.random.default_rng(7)
    rows = ["vdd,refresh_interval,temperature,stored,bank,repeat,errors,cells"]
    for vdd, interval in points:
        for stored, bank, repeat in itertools.product((0, 1), range(2), range(3)):
            errors = random.binomial(CELLS, rate(vdd, interval, stored))
            rows.append(f"{vdd},{interval},50,{stored},{bank},{repeat},{errors},{CELLS}")
    path.write_text("\n".join(rows) + "\n")
    return eden.fit(path)


def test_curves_along_refresh_intervals_and_voltages(tmp_path: Path) -> None:
    """Rates between the measured values are those that the counts were drawn from, and so are the parameters."""
    device = fitted(tmp_path / "a.csv", [(1.2, t) for t in (64.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0)], of_retention)
    curve = next(c for c in device.whole.curves if (c.parameter, c.stored) == ("refresh_interval", "zero"))
    assert curve.location == pytest.approx(math.exp(12.0), rel=0.1)
    assert curve.scale == pytest.approx(1.1, rel=0.02)
    assert (curve.mildest, curve.harshest) == (512.0, 16384.0)
    for interval in (700.0, 1536.0, 2048.0, 8000.0):
        answer = device.whole.point(refresh_interval=interval, between="curve")
        assert answer.basis == "curve"
        for i, rate in enumerate(rates(answer)):
            assert rate == pytest.approx(of_retention(1.2, interval, i), rel=0.15)
    bound = device.errors(refresh_interval=1536.0)
    assert bound == device.errors(refresh_interval=4096.0)

    device = fitted(tmp_path / "b.csv", [(v, 64.0) for v in (1.2, 1.1, 1.0, 0.9, 0.8)], of_voltage)
    for vdd in (1.05, 0.95, 0.84):
        answer = device.whole.point(vdd=vdd, between="curve")
        assert answer.basis == "curve"
        for i, rate in enumerate(rates(answer)):
            assert rate == pytest.approx(of_voltage(vdd, 64.0, i), rel=0.15)
    assert device.whole.point(vdd=0.7, extrapolate=True).basis == "extrapolated"


def test_a_surface_over_points_measured_together(tmp_path: Path) -> None:
    grid = itertools.product((1.2, 1.1, 1.0), (64.0, 1024.0, 4096.0, 16384.0))
    device = fitted(tmp_path / "a.csv", grid, lambda v, t, s: 0.0 if (v, t) == (1.2, 64.0) else of_stress(v, t, s))
    for vdd, interval in ((1.05, 2048.0), (1.15, 8000.0), (1.05, 1024.0)):
        answer = device.whole.point(vdd=vdd, refresh_interval=interval, between="curve")
        assert answer.basis == "interpolated"
        for i, rate in enumerate(rates(answer)):
            assert rate == pytest.approx(of_stress(vdd, interval, i), rel=0.35)
    assert any("take log-odds for linear in each parameter" in text for text in device.assumptions)
    # Across the borders of boxes, too.
    before = 0.0
    for interval in np.geomspace(1024.0, 16384.0, 40):
        answer = device.whole.point(vdd=1.05, refresh_interval=float(interval), between="curve")
        assert answer.errors.ber >= before
        assert before == 0.0 or answer.errors.ber < 2.0 * before
        before = answer.errors.ber
