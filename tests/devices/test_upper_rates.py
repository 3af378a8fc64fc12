"""Do upper ends hold for all rates of a device at once, at the level asked for, and is it said what they are?"""

import chain
import numpy as np
import pytest
from latency_csv import simulate, write
from scipy import stats

import eden
from eden import _core
from eden.devices.likelihoods import fit_counts
from eden.devices.likelihoods.ratios import student_ratio
from eden.devices.upper_rates import Rates, raised, upper
from eden.placement.defaults import UpperRates


def readings(rng: np.random.Generator, rate: float, count: int, dispersion: float, cells: float = 1e7) -> list:
    odds = np.log(rate / (1 - rate)) + np.sqrt(dispersion) * rng.standard_normal(count)
    return [(float(rng.binomial(int(cells), 1 / (1 + np.exp(-x)))), cells) for x in odds]


def test_an_end_at_its_own_level_is_what_it_was_and_at_another_that_of_the_likelihood() -> None:
    assert raised(1e-4, 3e-4, 0.025, 5) == pytest.approx(3e-4)
    assert raised(0.0, 3e-9, 0.05, 0, 4, 0.2) == pytest.approx(3e-9)
    # Of cells without dispersion that never failed: (1 - p)^N is the tail.
    assert raised(0.0, 1 - 0.05**1e-6, 1e-4) == pytest.approx(1 - 1e-4**1e-6, rel=1e-3)
    groups, tail = [readings(np.random.default_rng(3), 1e-3, 8, 0.04)], 1e-3
    found = fit_counts(groups)
    wanted = float(stats.t.isf(tail, 7)) ** 2
    exact = _core.fit_rates(groups, 8 * np.log1p(wanted / 7), 0.05, None).rates[0]
    assert student_ratio(8, 1) < 8 * np.log1p(wanted / 7)
    ends = raised(found.rates[0].estimate, found.rates[0].high, tail, 7, 8, found.dispersion)
    assert np.log(ends) == pytest.approx(np.log(exact.high), abs=0.02)
    nothing = [[(0.0, 1e7)] * 4]
    found = fit_counts(nothing, 0.5)
    exact = _core.fit_rates(nothing, 1.0, tail, 0.5).rates[0]
    assert raised(0.0, found.rates[0].high, tail, 0, 4, 0.5) == pytest.approx(exact.high, rel=1e-3)


def test_all_rates_of_a_module_are_below_their_ends_at_once() -> None:
    """160 modules of 8 rates at 10%: more than 28 misses have the probability 1e-3 if they miss as often as they may.

    The 95% intervals that the ends are made of miss in far more modules than that.
    """
    rng, rates, error = np.random.default_rng(5), np.geomspace(1e-5, 0.2, 8), 0.1
    missed = alone = 0
    for _ in range(160):
        ends, plain = [], []
        for rate in rates:
            found = fit_counts([readings(rng, rate, 4, 0.05)]).rates[0]
            ends.append(raised(found.estimate, found.high, error / len(rates), 3))
            plain.append(found.high)
        # The rate of the median reading is what the log-odds of readings vary about.
        missed += any(end < rate for end, rate in zip(ends, rates, strict=True))
        alone += any(end < rate for end, rate in zip(plain, rates, strict=True))
    assert missed <= stats.binom.isf(1e-3, 160, error) < alone + missed
    assert missed > 0


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> eden.Device:
    """A module of which each bank was read once at 7.5 ns."""
    rng = np.random.default_rng(2)
    lines = simulate(rng, {10.0: (0.0, 0.0), 5.0: (5e-3, 5e-3)}, repeats=4, dispersion=0.1)
    lines += simulate(rng, {7.5: (1e-4, 1e-4)}, repeats=1, dispersion=0.1)[2:]
    return eden.fit(write(tmp_path_factory.mktemp("campaign") / "campaign.csv", lines))


def test_a_single_reading_does_not_let_an_operand_in(once: eden.Device) -> None:
    point = once.partition("bank1").point(trcd=7.5)
    between = (max(point.errors.ber_zero, point.errors.ber_one) * max(point.zero[1], point.one[1])) ** 0.5
    wanted = chain.tolerance({"fc.weight": between}, model=eden.Uniform(1e-3))
    mean = eden.place(wanted, once, rates="mean")
    assert mean.point_of("fc.weight").trcd == 7.5
    assert mean.rates == Rates()
    assert "nothing is claimed" in mean.table()
    sure = eden.place(wanted, once)
    assert sure.point_of("fc.weight").trcd == 10.0
    assert sure.rates.kind == "upper"
    assert sure.rates.error == pytest.approx(0.025)
    assert str(sure.rates) in sure.table()
    assert any(str(sure.rates) in note for note in sure.notes)
    # Of a lower error it is no lower, and the file keeps it.
    rate = [
        eden.place(wanted, once, rates=UpperRates(level)).errors["fc.weight"].ber for level in (0.5, 0.975, 0.99999)
    ]
    assert rate == sorted(rate)


def test_points_between_the_measured_ones_are_raised_too() -> None:
    device = eden.Device.builtin("ddr3-b33")
    found, _ = upper(device, device.partitions, 0.975, 0.95)
    for before, after in zip(device.partitions, found, strict=True):
        for parameter in ("trcd", "trp") if before.curves else ():
            rates = []
            for latency in np.linspace(*(5.0, 2.5) if parameter == "trcd" else (10.0, 7.5), 6):
                asked = {parameter: float(latency), "between": "curve"}
                mean, high = before.errors(**asked), after.errors(**asked)
                assert mean.ber_zero <= high.ber_zero
                assert mean.ber_one <= high.ber_one
                rates.append((high.ber_zero, high.ber_one))
            assert rates == sorted(rates)


def test_what_rates_of_other_modules_and_of_none_say() -> None:
    vendor = eden.Device.builtin("ddr3-vendor-b")
    found, rates = upper(vendor, vendor.partitions, 0.975, 0.9)
    assert (rates.confidence, rates.readings, rates.modules) == (None, 0, 0.9)
    assert "0.9 of the vendor's modules" in str(rates)
    assert rates.error == 0.0
    bank, median = found[1], vendor.partitions[1]
    assert all(high.errors.ber >= mean.errors.ber for high, mean in zip(bank.points, median.points, strict=True))
    # A module that is drawn from the population has rates, and no doubt about them.
    drawn = vendor.draw(7)
    _, rates = upper(drawn.model_copy(update={"voltage": None}), drawn.partitions, 0.975, 0.9)
    assert (rates.readings, rates.modules) == (0, None)
    assert rates.untold > 0
    assert "have no interval and are taken as they are" in str(rates)
    modules = [vendor.draw(seed).partitions[1] for seed in range(200)]
    held = sum(
        all(
            own.errors.ber_zero <= high.errors.ber_zero and own.errors.ber_one <= high.errors.ber_one
            for own, high in zip(module.points, bank.points, strict=True)
        )
        for module in modules
    )
    # Fewer than so many of 200 have the probability 1e-3 if it is nine in ten.
    assert held >= stats.binom.ppf(1e-3, 200, 0.9)


def test_levels_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"rates is 'median'; allowed are 'upper', 'mean', and an"):
        eden.place(chain.tolerance({"fc.weight": 1e-3}), chain.device(), rates="median")
    for given, message in (({"confidence": 1.0}, "confidence is 1.0"), ({"modules": 0}, "modules is 0")):
        with pytest.raises(ValueError, match=rf"{message}; allowed is inside \(0, 1\)"):
            UpperRates(**given)
    with pytest.raises(ValueError, match="kind is 'mean', and a confidence"):
        Rates(kind="mean", confidence=0.9)


def test_points_at_other_temperatures_have_upper_ends() -> None:
    device = eden.Device.builtin("ddr3-b1")
    ((whole,), _) = upper(device, (device.whole,), 0.975, 0.95)
    before, after = (part.points_at_other_temperatures for part in (device.whole, whole))
    assert len(before) == len(after)
    told = [
        (at.errors.ber_zero, at.zero[1], to.errors.ber_zero)
        for at, to in zip(before, after, strict=True)
        if at.errors.ber > 0
    ]
    assert told
    # One in forty at each point: beyond the end of a 95% interval, but where a harsher point bounds it.
    assert all(rate < raised <= 1.0 for rate, _, raised in told)
    assert any(raised > high for _, high, raised in told)
