"""Do curves say what the counts tell, no more, and refuse the rest by name?"""

import math
from pathlib import Path
from statistics import NormalDist

import latency_csv
import numpy as np
import processes
import pytest

from eden import _core
from eden.common.files import FileError
from eden.devices.curves import (
    Condition,
    Formula,
    LineErrors,
    Margin,
    Rate,
    VoltageModule,
    combine,
    fit_banks,
    fit_conditions,
    fit_latency,
    fit_population,
    fit_voltage,
    regimes,
    voltage_modules,
)
from eden.measurements.readers import read

CELLS = 2.0**33


def logit(rate: float) -> float:
    return math.log(rate) - math.log1p(-rate)


def simulate(
    random: np.random.Generator,
    formula: Formula,
    places: tuple[float, ...],
    repeats: int,
    deviation: float,
    cells: float = CELLS,
) -> list[Condition]:
    """Readings whose log-odds vary normally about a curve."""
    conditions = []
    for at in places:
        rate = formula.rate(at)
        readings = []
        for _ in range(repeats):
            odds = logit(rate) + deviation * random.normal()
            readings.append((float(random.binomial(int(cells), 1 / (1 + math.exp(-odds)))), cells))
        conditions.append(Condition(at, tuple(readings)))
    return conditions


FORMULA = Formula("probit", 4.5, 1.2, 0.7)
PLACES = (2.5, 4.0, 5.0, 6.0, 7.5)


def test_a_formula_is_the_curve_of_its_numbers():
    normal = 0.5 * math.erfc(-(4.5 - 6.0) / 1.2 / math.sqrt(2))
    assert FORMULA.rate(6.0) == pytest.approx(0.7 * normal)
    assert Formula("logit", 4.5, 1.2, 1.0).rate(4.5) == pytest.approx(0.5)


def test_a_curve_is_found_again_with_its_link_and_parameters():
    conditions = simulate(np.random.default_rng(1), FORMULA, PLACES, 20, 0.02)
    curve = fit_conditions({"zero": conditions})["zero"]
    assert curve.formula is not None
    assert curve.formula.link == "probit"
    assert curve.left_out == ()
    assert curve.fitted == tuple(sorted(PLACES, reverse=True))
    for name, parameter in curve.parameters().items():
        assert parameter.identified, name
        assert parameter.low < parameter.estimate < parameter.high
        # Seven standard errors or so; the interval's own coverage is tested below.
        half = (parameter.high - parameter.low) / 2
        assert abs(parameter.estimate - getattr(FORMULA, name)) < 3.5 * half


def test_rates_never_fall_towards_the_harsh_end():
    conditions = simulate(np.random.default_rng(2), FORMULA, PLACES, 6, 0.1)
    conditions.append(Condition(10.0, ((0.0, CELLS),) * 3))
    curve = fit_conditions({"zero": conditions})["zero"]
    answers = [curve.rate(float(at)) for at in np.linspace(2.5, 10.0, 31)]
    estimates = [answer.estimate for answer in answers]
    assert estimates == sorted(estimates, reverse=True)
    assert all(answer.low <= answer.estimate <= answer.high for answer in answers)


def test_intervals_of_rates_and_of_further_readings_cover():
    """95% intervals of 40 campaigns; 31 or fewer have a probability of 1.3e-4 for each of the three."""
    random = np.random.default_rng(3)
    between = single = mean = 0
    for _ in range(40):
        conditions = simulate(random, FORMULA, PLACES, 5, 0.1)
        curve = fit_conditions({"zero": conditions})["zero"]
        answer = curve.rate(5.5)
        between += answer.low <= FORMULA.rate(5.5) <= answer.high
        further = simulate(random, FORMULA, (5.0,), 4, 0.1)[0]
        errors, cells = further.readings[0]
        single += curve.predict(5.0).covers(errors / cells)
        mean += curve.predict(5.0, repeats=4).covers(further.rate)
    assert min(between, single, mean) >= 32


def test_the_mean_of_readings_is_predicted_more_closely_than_one():
    curve = fit_conditions({"zero": simulate(np.random.default_rng(4), FORMULA, PLACES, 8, 0.1)})["zero"]
    assert curve.predict(5.0, repeats=10).decades < curve.predict(5.0).decades


def test_outside_the_range_is_refused_unless_asked_and_then_marked():
    curve = fit_conditions({"zero": simulate(np.random.default_rng(5), FORMULA, PLACES, 6, 0.05)})["zero"]
    with pytest.raises(ValueError, match=r"zero: found 1 ns.*outside the measured range; allowed is 2.5 ns to 7.5 ns"):
        curve.rate(1.0)
    with pytest.raises(ValueError, match="outside the measured range"):
        curve.predict(9.0)
    answer = curve.rate(1.0, extrapolate=True)
    assert answer.basis == "extrapolation"
    assert not answer.identified
    assert answer.high == 1.0
    assert answer.low >= 0.9 * curve.rate(2.5).low
    assert curve.rate(9.0, extrapolate=True).low == 0.0


def test_one_latency_with_errors_tells_no_curve():
    conditions = [*simulate(np.random.default_rng(6), FORMULA, (5.0,), 4, 0.1), Condition(10.0, ((0.0, CELLS),))]
    curve = fit_conditions({"zero": conditions})["zero"]
    assert curve.formula is None
    assert curve.parameters() == {}
    assert "1 usable conditions have errors" in curve.notes[0]
    answer = curve.rate(7.5)
    assert answer.basis == "bracket"
    assert not answer.identified
    assert answer.low == 0.0
    assert answer.high == curve.rate(5.0).high
    with pytest.raises(ValueError, match="no curve was fitted to extrapolate with"):
        curve.rate(2.5, extrapolate=True)


def test_two_latencies_leave_the_asymptote_at_one():
    curve = fit_conditions({"zero": simulate(np.random.default_rng(7), FORMULA, (5.0, 7.5), 6, 0.05)})["zero"]
    assert curve.formula is not None
    assert curve.formula.asymptote == 1.0
    # Two points do not tell the link: the interval in between holds the curves of both through the two rates.
    first, second = (curve.rate(at).estimate for at in (5.0, 7.5))
    answer = curve.rate(6.25)
    for inverse, forward in ((NormalDist().inv_cdf, NormalDist().cdf), (logit, lambda z: 1 / (1 + math.exp(-z)))):
        assert answer.low < forward((inverse(first) + inverse(second)) / 2) < answer.high


def test_a_plateau_leaves_the_scale_open_below():
    steep = Formula("probit", 7.5, 0.05, 0.5)
    conditions = simulate(np.random.default_rng(8), steep, (2.5, 5.0, 7.5), 6, 0.02)
    parameters = fit_conditions({"zero": conditions})["zero"].parameters()
    assert parameters["asymptote"].identified
    assert parameters["asymptote"].estimate == pytest.approx(0.5, rel=0.02)
    assert not parameters["scale"].identified
    assert parameters["scale"].low == 0.0


def test_mixed_regimes_are_left_out_by_name_and_still_predicted():
    random = np.random.default_rng(9)
    conditions = simulate(random, FORMULA, (2.5, 5.0, 7.5), 6, 0.05)
    low = simulate(random, Formula("probit", 2.0, 1.2, 0.7), (6.0,), 4, 0.05)[0]
    high = simulate(random, FORMULA, (6.0,), 4, 0.05)[0]
    conditions.append(Condition(6.0, low.readings + high.readings))
    curve = fit_conditions({"zero": conditions})["zero"]
    assert [region.at for region in curve.left_out] == [6.0]
    assert "mix two regimes" in curve.left_out[0].reason
    with pytest.raises(ValueError, match="left out: the readings mix two regimes"):
        curve.rate(6.0)
    with pytest.raises(ValueError, match="in the region about 6 ns"):
        curve.rate(5.5)
    assert curve.rate(5.5, extrapolate=True).basis == "extrapolation"
    prediction = curve.predict(6.0)
    assert prediction.covers(low.rate)
    assert prediction.covers(high.rate)


def test_regimes_are_told_from_repeats_that_vary():
    random = np.random.default_rng(10)
    for _ in range(50):
        readings = simulate(random, FORMULA, (5.0,), 12, 0.3)[0].readings
        # Twelve normal readings, split at their largest gap: the threshold is 10 in BIC, "very strong".
        assert regimes(readings) is None
    assert regimes([(0.0, CELLS), (3.0, CELLS), (9.0, CELLS)]) is None
    assert regimes([(100.0, CELLS)]) is None
    lone = regimes([(1e5, CELLS), (1.1e5, CELLS), (0.9e5, CELLS), (1e7, CELLS)])
    assert lone is not None
    assert lone[1] == pytest.approx(1e7 / CELLS)


def test_where_the_rate_falls_the_range_ends():
    random = np.random.default_rng(11)
    conditions = simulate(random, FORMULA, (5.0, 6.0, 7.5), 6, 0.02)
    conditions.append(Condition(2.5, simulate(random, FORMULA, (5.5,), 6, 0.02)[0].readings))
    curve = fit_conditions({"zero": conditions})["zero"]
    assert [region.at for region in curve.left_out] == [2.5]
    assert "falls beyond its dispersion" in curve.left_out[0].reason
    with pytest.raises(ValueError, match="it was left out: the rate falls"):
        curve.rate(2.5)
    assert curve.rate(5.0).basis == "curve"


def test_a_fall_within_the_dispersion_is_none():
    random = np.random.default_rng(12)
    flat = Formula("probit", 8.0, 0.3, 0.5)
    kept = 0
    for _ in range(20):
        curve = fit_conditions({"zero": simulate(random, flat, (2.5, 5.0), 4, 0.1)}, share=False)["zero"]
        kept += not curve.left_out
    # One in a hundred is left out by chance: three of twenty have a probability of 1e-3.
    assert kept >= 18


def test_the_onset_that_no_curve_explains_is_bracketed():
    random = np.random.default_rng(13)
    conditions = simulate(random, Formula("logit", 3.0, 2.0, 1.0), (2.5, 5.0, 7.5), 6, 0.05)
    conditions.append(Condition(10.0, ((0.0, CELLS),) * 6))
    curve = fit_conditions({"zero": conditions})["zero"]
    assert any("the curve ends at 7.5 ns" in note for note in curve.notes)
    assert 10.0 not in curve.fitted
    assert curve.rate(8.0).basis == "bracket"
    assert curve.rate(10.0).estimate == 0.0


def test_groups_share_what_they_have_in_common():
    random = np.random.default_rng(14)
    groups = {
        "zero": simulate(random, Formula("probit", 4.0, 1.1, 0.6), PLACES, 10, 0.05),
        "one": simulate(random, Formula("probit", 5.0, 1.1, 0.6), PLACES, 10, 0.05),
    }
    curves = fit_conditions(groups)
    (chosen,) = [row for row in curves.choice if row.chosen]
    assert chosen.groups == ("zero", "one")
    assert chosen.shared_scale
    zero, one = curves.zero.formula, curves.one.formula
    assert zero is not None
    assert one is not None
    assert zero.scale == one.scale
    assert zero.location < one.location
    apart = fit_conditions(groups, share=False)
    assert [row.groups for row in apart.choice if row.chosen] == [("zero",), ("one",)]


def test_groups_that_differ_share_nothing():
    random = np.random.default_rng(15)
    groups = {
        "zero": simulate(random, Formula("probit", 4.0, 0.7, 0.3), PLACES, 10, 0.02),
        "one": simulate(random, Formula("probit", 5.0, 1.6, 0.9), PLACES, 10, 0.02),
    }
    assert all(not row.shared_scale for row in fit_conditions(groups).choice if row.chosen)


@pytest.mark.parametrize(("deviations", "chosen"), [((0.1, 0.1, 0.1), "common"), ((0.01, 0.1, 1.0), "own")])
def test_the_dispersion_is_one_or_one_each_by_likelihood(deviations, chosen):
    random = np.random.default_rng(16)
    conditions = [
        simulate(random, FORMULA, (at,), 12, deviation)[0]
        for at, deviation in zip((3.0, 5.0, 7.0), deviations, strict=True)
    ]
    dispersion = fit_conditions({"zero": conditions}).dispersion
    assert dispersion.chosen == chosen
    assert (dispersion.bic_common < dispersion.bic_own) == (chosen == "common")


def test_single_readings_need_a_dispersion_that_is_lent():
    conditions = simulate(np.random.default_rng(17), FORMULA, PLACES, 1, 0.1)
    with pytest.raises(ValueError, match="nothing tells a dispersion; give one"):
        fit_conditions({"zero": conditions})
    curves = fit_conditions({"zero": conditions}, lent=0.01)
    assert curves.dispersion.chosen == "given"
    assert curves.zero.rate(5.5).basis == "curve"


def test_the_margin_is_in_every_rate_and_named_in_it():
    conditions = simulate(np.random.default_rng(18), FORMULA, PLACES, 6, 0.05)
    plain = fit_conditions({"zero": conditions})["zero"]
    safe = fit_conditions({"zero": conditions}, margin=Margin(shift=0.5, factor=2.0))["zero"]
    answer, bare = safe.rate(5.5), plain.rate(5.0)
    assert answer.estimate == pytest.approx(2 * bare.estimate)
    assert answer.high == pytest.approx(2 * bare.high)
    assert answer.margin == Margin(0.5, 2.0)
    assert bare.margin == Margin()
    with pytest.raises(ValueError, match=r"harsher by 0.5 and bit error rates times 2"):
        safe.rate(2.5)
    # A prediction of a reading is no promise about other conditions: no margin.
    assert safe.predict(5.0) == plain.predict(5.0)
    with pytest.raises(ValueError, match=r"shift\n  Input should be greater than or equal to 0 .*input_value=-1"):
        Margin(shift=-1.0)
    with pytest.raises(ValueError, match=r"factor\n  Input should be greater than or equal to 1 .*input_value=0\.5"):
        Margin(factor=0.5)


def test_bad_conditions_are_refused():
    with pytest.raises(ValueError, match="no conditions"):
        fit_conditions({})
    condition = Condition(5.0, ((3.0, 10.0), (4.0, 10.0)))
    with pytest.raises(ValueError, match="given twice"):
        fit_conditions({"zero": [condition, condition]})
    with pytest.raises(ValueError, match="allowed is 0 to the number of cells"):
        fit_conditions({"zero": [Condition(5.0, ((11.0, 10.0), (4.0, 10.0)))]})


@pytest.fixture
def campaign(tmp_path):
    random = np.random.default_rng(19)
    rates = {10.0: (0.0, 0.0), 7.5: (1e-4, 3e-5), 5.0: (0.02, 0.01), 2.5: (0.4, 0.3)}
    return read(latency_csv.write(tmp_path / "m.csv", latency_csv.simulate(random, rates, 5, 0.01)))


def test_a_campaign_gives_curves_of_zeros_and_ones(campaign):
    curves = fit_latency(campaign)
    assert set(curves.groups) == {"zero", "one"}
    for group, rate in (("zero", 0.02), ("one", 0.01)):
        answer = curves[group].rate(5.0)
        # The rate of five readings of standard deviation 0.1.
        assert answer.estimate == pytest.approx(rate, rel=0.25)
    prediction = curves.pattern(0x0F, 5.0)
    assert prediction.estimate == pytest.approx(
        (curves.zero.predict(5.0).estimate + curves.one.predict(5.0).estimate) / 2
    )
    assert prediction.low < prediction.estimate < prediction.high
    with pytest.raises(ValueError, match="byte is 256"):
        curves.pattern(256, 5.0)
    with pytest.raises(ValueError, match="axis is 'vdd'"):
        fit_latency(campaign, "vdd")
    with pytest.raises(ValueError, match="at 70 C; measured are 20 C"):
        fit_latency(campaign, temperature=70.0)


def test_banks_are_fitted_together(campaign):
    curves = fit_banks(campaign, "zero")
    assert sorted(curves.groups) == [f"bank{bank}" for bank in range(8)]
    # All banks of a reading share its rate here, so that they are alike and tell little more than one.
    assert any(row.chosen and row.shared_scale and len(row.groups) == 8 for row in curves.choice)
    answer = curves["bank3"].rate(5.0)
    assert answer.low < 0.02 < answer.high


def test_lines_with_errors_become_bit_error_rates():
    independent = LineErrors()
    assert independent.ber(1 - (1 - 1e-4) ** 512) == pytest.approx(1e-4)
    assert independent.ber(1.0) == 1.0
    assert independent.ber(0.0) == 0.0
    assert LineErrors("fixed", errors=3.0).ber(0.5) == pytest.approx(3 * 0.5 / 512)
    assert "independently" in str(independent)
    for arguments in ({"kind": "other"}, {"errors": 0.5}, {"errors": 600.0}, {"line_bits": 0}):
        with pytest.raises(ValueError, match="line errors"):
            LineErrors(**arguments)


def simulated_voltages(count: int, random: np.random.Generator) -> list[VoltageModule]:
    modules = []
    for index in range(count):
        formula = Formula("probit", 1.1 + 0.02 * random.normal(), 0.02, 1.0)
        points = []
        for vdd in (1.35, 1.2, 1.15, 1.125, 1.1, 1.075):
            odds = logit(formula.rate(vdd)) + 0.1 * random.normal()
            share = 1 / (1 + math.exp(-odds))
            points.append((vdd, round(share * 2**25) / 2**25))
        modules.append(VoltageModule(f"A{index}", "A", tuple(points)))
    return modules


def test_voltage_curves_state_their_assumption():
    curves = fit_voltage(simulated_voltages(3, np.random.default_rng(20)), share=False)
    assert curves.dispersion_fitted
    # From three modules of four to five points: within a factor of ten of 0.01.
    assert 0.001 < curves.dispersion < 0.1
    curve = curves.curves["A0"]
    assert curve.lines.formula is not None
    assert curve.lines.formula.scale == pytest.approx(0.02, rel=0.2)
    answer = curve.rate(1.11)
    lines = curve.lines.rate(1.11)
    assert answer.estimate == pytest.approx(LineErrors().ber(lines.estimate))
    assert curve.rate(1.35).estimate == 0.0
    with pytest.raises(ValueError, match="outside the measured range"):
        curve.rate(1.0)


def test_voltage_modules_of_two_vendors_are_refused():
    with pytest.raises(ValueError, match="2 vendors"):
        fit_voltage([VoltageModule("a", "A", ((1.0, 0.1),)), VoltageModule("b", "B", ((1.0, 0.1),))])
    with pytest.raises(ValueError, match="errors at three voltages"):
        fit_voltage([VoltageModule("a", "A", ((1.2, 0.0), (1.0, 0.1)))])


HEADER = "dimm_name,vdd,vendor,error_cacheline_percent\n"


def test_percentages_are_read(tmp_path):
    path = tmp_path / "v.csv"
    path.write_text(HEADER + "A1,1.1,A,0.5\nA1,1.2,A,0.0\n")
    assert voltage_modules(read(path, "voltage")) == (VoltageModule("A1", "A", ((1.2, 0.0), (1.1, 0.005))),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "no lines"),
        (HEADER + "A1,1.1,A,1\nA1,1.1,A,2\n", "line 3: module A1 has 1.1 V twice"),
    ],
)
def test_damaged_percentages_are_errors_with_their_place(tmp_path, text, message):
    path = tmp_path / "v.csv"
    path.write_text(text)
    with pytest.raises(FileError, match=message):
        voltage_modules(read(path, "voltage"))


def test_latency_and_voltage_together_fail_what_either_fails():
    latency = Rate(7.5, 0.1, 0.05, 0.2, 0.95, "curve", True)
    voltage = Rate(1.1, 0.01, 0.0, 0.02, 0.95, "bracket", False, Margin(factor=2.0))
    both = combine(latency, voltage)
    assert both.estimate == pytest.approx(1 - 0.9 * 0.99)
    assert (both.low, both.high) == (pytest.approx(0.05), pytest.approx(1 - 0.8 * 0.98))
    assert both.confidence == pytest.approx(0.9)
    assert not both.identified
    assert both.margin == Margin(factor=2.0)
    nominal = Rate(1.35, 0.0, 0.0, 0.0, 0.95, "curve", True)
    assert combine(latency, nominal).estimate == latency.estimate


@pytest.fixture(scope="module")
def population():
    random = np.random.default_rng(21)
    modules = {}
    for index in range(8):
        formula = Formula("probit", 4.5 + 0.4 * random.normal(), 1.2, 0.8)
        conditions = simulate(random, formula, (2.5, 5.0, 7.5), 4, 0.05)
        conditions.append(Condition(10.0, ((0.0, CELLS),) * 4))
        modules[f"m{index}"] = dict(fit_conditions({"zero": conditions}).groups)
    return fit_population("A", modules)


def test_a_population_predicts_a_module_of_its_kind(population):
    at_5 = [Formula("probit", 4.5 + 0.4 * z, 1.2, 0.8).rate(5.0) for z in (-1.0, 0.0, 1.0)]
    answer = population.rate("zero", 5.0)
    assert answer.basis == "population"
    assert answer.low < at_5[0] < answer.estimate < at_5[2] < answer.high
    # Where none of eight modules fails, the rate is 0 to a bound.
    assert population.rate("zero", 10.0).estimate == 0.0
    assert 0.0 < population.rate("zero", 10.0).high < 1e-8
    between = population.rate("zero", 6.0)
    assert (between.low, between.high) == (population.rate("zero", 7.5).low, population.rate("zero", 5.0).high)
    with pytest.raises(ValueError, match=r"allowed is 2.5 to 10"):
        population.rate("zero", 1.0)
    with pytest.raises(ValueError, match="group is 'one'"):
        population.rate("one", 5.0)


def test_intervals_of_populations_cover_further_modules():
    """95% of further readings, each of another population of six: 67 or fewer of 80 have a probability of 2e-4."""
    random = np.random.default_rng(22)

    def module() -> Condition:
        return simulate(random, Formula("probit", 4.5 + 0.4 * random.normal(), 1.2, 0.8), (5.0,), 4, 0.05)[0]

    covered = 0
    for _ in range(80):
        modules = {f"m{index}": dict(fit_conditions({"zero": [module()]}).groups) for index in range(6)}
        answer = fit_population("A", modules).rate("zero", 5.0)
        errors, cells = module().readings[0]
        covered += answer.low <= errors / cells <= answer.high
    assert covered >= 68


def test_modules_are_drawn_by_seed(population):
    one = population.draw(1)
    assert one == population.draw(1)
    assert one != population.draw(2)
    places = one.rates["zero"]
    assert list(places.values()) == sorted(places.values())
    assert places[10.0] == 0.0
    assert one.rate("zero", 6.0).estimate == places[5.0]
    drawn = np.array([population.draw(seed).rates["zero"][5.0] for seed in range(400)])
    knot = next(knot for knot in population.knots if knot.at == 5.0)
    odds = np.log(drawn / (1 - drawn))
    # Four standard errors of 400 draws; raising falls moves few of them.
    assert abs(odds.mean() - knot.mean) < 0.2 * knot.deviation + 0.05
    assert odds.std() == pytest.approx(knot.deviation, rel=0.16)
    with pytest.raises(ValueError, match="seed is -1"):
        population.draw(-1)
    with pytest.raises(ValueError, match="group is 'one'"):
        one.rate("one", 5.0)
    with pytest.raises(ValueError, match=r"allowed is 2\.5 to 10"):
        one.rate("zero", 11.0)


def test_knots_of_a_population_are_correlated_no_more_than_they_can_be(population):
    matrix = np.array(population.correlation)
    assert np.allclose(np.diag(matrix), 1.0)
    assert np.linalg.eigvalsh(matrix).min() > 0
    # Modules differ in the location alone, so neighbouring knots rise and fall together; shrunk by 8 / (8 + 3).
    assert 0.4 < matrix[0, 1] <= 8 / 11


def test_a_population_of_one_is_refused():
    with pytest.raises(ValueError, match="found 1 modules"):
        fit_population("A", {"m": {}})


KNOWN = [-2.2080600581148118, 0.687106943178615, -1.280841124657961]


def test_seeded_normals_are_of_a_fixed_layout():
    # Known answers guard the layout: files that name a seed rely on it.
    assert _core.seeded_normals(0, 0, 3) == pytest.approx(KNOWN, abs=1e-12)


@pytest.mark.data
def test_the_voltage_measurements_are_fitted(data_folder):
    modules = voltage_modules(read(data_folder / "dram" / "voltage" / "dimm_faulty_cachelines_out.csv", "voltage"))
    vendors = {module.vendor for module in modules}
    assert vendors == {"A", "B", "C"}
    curves = fit_voltage([module for module in modules if module.vendor == "C"], dispersion=0.05, share=False)
    for curve in curves.curves.values():
        usable = curve.lines.usable
        estimates = [curve.rate(vdd).estimate for vdd in usable]
        assert estimates == sorted(estimates)


def test_the_benchmark_runs_on_other_modules(tmp_path):
    random = np.random.default_rng(23)
    rates = {10.0: (0.0, 0.0), 7.5: (1e-4, 3e-5), 5.0: (0.02, 0.01), 2.5: (0.4, 0.3)}
    lines = latency_csv.simulate(random, rates, 8, 0.01)
    latency = latency_csv.write(tmp_path / "m.csv", lines)
    voltage = tmp_path / "v.csv"
    simulated = simulated_voltages(3, random)
    rows = [f"{m.name},{vdd},{m.vendor},{100 * share!r}" for m in simulated for vdd, share in m.points]
    voltage.write_text(HEADER + "\n".join(rows) + "\n")
    script = Path(__file__).parents[2] / "benchmarks" / "prediction.py"
    result = processes.run(
        *(script, "--latency", latency, "--voltage", voltage, "--seeds", 1), environment={"OMP_NUM_THREADS": "1"}
    )
    assert result.returncode in (0, 1), result.stderr
    for letter in "abcdef":
        assert f"\n({letter}) " in result.stdout, result.stderr
