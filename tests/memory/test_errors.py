"""Do error models hold what they promise, and name what is wrong?"""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from scipy import stats

import eden
from eden import _core
from eden.memory.errors import ErrorModel
from eden.memory.lines import HIGHEST_DISPERSION, LOWEST_DISPERSION

LINES = [eden.Bitline, eden.Wordline]
BEGINS = _core.line_bin_begins()
TAIL = BEGINS / 2.0**32  # the share of lines above each bin's upper end, then of all lines
WIDTH = np.diff(TAIL)
MEANS = [*np.logspace(-9, np.log10(0.5), 8).tolist(), 0.9, 0.99]
DISPERSIONS = [LOWEST_DISPERSION, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 0.5, 0.9, HIGHEST_DISPERSION]


def test_rates():
    model = eden.DataDependent(0.1, 0.3, failure=0.5)
    assert (model.ber, model.ber_zero, model.ber_one, model.failure) == (0.2, 0.1, 0.3, 0.5)
    uniform = eden.Uniform(0.25)
    assert (uniform.ber, uniform.ber_zero, uniform.ber_one, uniform.failure) == (0.25, 0.25, 0.25, 1.0)


@pytest.mark.parametrize("model", [eden.Uniform(1e-3, 0.5), eden.DataDependent(1e-3, 2e-3)])
def test_json_form(model):
    assert ErrorModel.from_dict(model.to_dict()) == model


def test_scaling_keeps_the_asymmetry_and_meets_the_mean():
    model = eden.DataDependent(0.1, 0.3, failure=0.5)
    scaled = model.scaled(0.02)
    assert scaled.ber_one == pytest.approx(3 * scaled.ber_zero)
    assert scaled.ber == pytest.approx(0.02)
    high = model.scaled(0.45)
    assert high.ber_one == 0.5
    assert high.ber_zero == pytest.approx(0.4)
    assert eden.DataDependent(0.0, 0.0).scaled(0.1) == eden.DataDependent(0.1, 0.1)
    assert eden.Uniform(0.1).scaled(0.2) == eden.Uniform(0.2)
    with pytest.raises(ValueError, match=r"ber is 0.6; allowed is at most failure \(0.5\)"):
        model.scaled(0.6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {},
            "model is None; allowed are bitline, bitline_by_value, cell_map, data_dependent, uniform, wordline, "
            "wordline_by_value",
        ),
        ({"model": "row"}, "model is 'row'"),
        ({"model": "uniform"}, "lacks its parameter 'ber'"),
        ({"model": "uniform", "ber": 0.1, "rate": 1}, "'rate' is no parameter of the model 'uniform'"),
        ({"model": "uniform", "ber": 2}, "ber is 2; allowed is 0 to 1"),
        ({"model": "data_dependent", "ber_zero": 0.1, "ber_one": -1}, "ber_one is -1"),
        ({"model": "data_dependent", "ber_zero": 0.1, "ber_one": 0.6, "failure": 0.5}, "ber_one is 0.6"),
    ],
)
def test_bad_specifications_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        ErrorModel.from_dict(spec)


@pytest.mark.parametrize("value", ["0.1", None, True])
def test_wrong_types_are_named(value):
    with pytest.raises(TypeError, match="ber is a"):
        eden.Uniform(value)


def test_bins_cover_every_mark_once():
    assert (BEGINS[0], BEGINS[-1]) == (0, 2**32)
    assert (np.diff(BEGINS) > 0).all()
    # Wide bins would blur the lines: none spans more than a 64th of its distance from the upper end.
    assert (np.diff(BEGINS)[64:] * 64 <= BEGINS[64:-1]).all()
    assert (np.diff(BEGINS)[:64] == 1).all()


@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_population_table_has_the_mean_and_nests(dispersion):
    for mean in MEANS:
        table = eden.Bitline(mean, dispersion).line_probabilities()
        assert table.shape == (_core.line_bin_begins().size - 1,)
        assert ((table >= 0.0) & (table <= 1.0)).all()
        assert (table * WIDTH).sum() == pytest.approx(mean, rel=1e-12)
        assert (np.diff(table) <= 0.0).all()
        # Every line's probability grows with the mean, by however little the mean does.
        for factor in (1 + 1e-6, 1.009):
            assert (eden.Bitline(mean * factor, dispersion).line_probabilities() >= table).all()


@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_population_table_has_the_variance(dispersion):
    # The bins are fine where P is high and rare; a mean above 0.5 would want them fine at the other end.
    for mean in MEANS[:-3]:
        table = eden.Wordline(mean, dispersion).line_probabilities()
        variance = ((table - mean) ** 2 * WIDTH).sum()
        # What varies within the bins is lost: most of it where one line in 10^9 has all the errors.
        ratio = variance / (dispersion * mean * (1 - mean))
        assert (0.95 if mean < 4e-9 else 0.99) < ratio < 1 + 1e-9


@pytest.mark.parametrize("dispersion", [1e-4, 1e-2, 0.1, 0.5])
@pytest.mark.parametrize("mean", [1e-6, 1e-3, 0.1, 0.5])
def test_population_table_lies_between_the_quantiles(mean, dispersion):
    size = (1 - dispersion) / dispersion
    quantiles = stats.beta.isf(TAIL, mean * size, (1 - mean) * size)
    table = eden.Bitline(mean, dispersion).line_probabilities()
    assert (table <= quantiles[:-1] * (1 + 1e-9) + 1e-100).all()
    assert (table >= quantiles[1:] * (1 - 1e-9) - 1e-100).all()


@pytest.mark.parametrize("mean", [1e-9, 1e-4, 0.1, 0.5])
def test_population_table_of_a_power_law(mean):
    # With b = 1 the quantile is (1 - tail)^(1 / a), whose integral is elementary.
    size = 1 / (1 - mean)
    power = 1 / (mean * size) + 1
    table = eden.Bitline(mean, 1 / (1 + size)).line_probabilities()
    upper, lower = np.log1p(-TAIL[:-2]), np.log1p(-TAIL[1:-1])
    with np.errstate(under="ignore"):
        exact = -np.exp(power * upper) * np.expm1(power * (lower - upper)) / (power * WIDTH[:-1])
    known = exact > 1e-90
    assert known.sum() > 100
    np.testing.assert_allclose(table[:-1][known], exact[known], rtol=1e-10)


def test_population_without_dispersion_or_at_an_end_is_model_0():
    for model in (eden.Bitline(1e-3, 0.0), eden.Bitline(5e-4, 0.0, failure=0.5)):
        assert (model.line_probabilities() == 1e-3).all()
    assert (eden.Bitline(0.0, 0.1).line_probabilities() == 0.0).all()
    assert (eden.Bitline(0.5, 0.1, failure=0.5).line_probabilities() == 1.0).all()
    # The smaller the dispersion, the nearer all lines are.
    spread = [np.ptp(eden.Bitline(0.1, rho).line_probabilities()) for rho in (1e-2, 1e-4, 1e-6)]
    assert spread[0] > 5 * spread[1] > 25 * spread[2] > 0.0
    assert spread[2] < 0.005


@pytest.mark.parametrize("kind", LINES)
def test_lines_rates_and_scaling(kind):
    model = kind(ber=1e-3, dispersion=0.2, failure=0.5)
    assert (model.ber, model.ber_zero, model.ber_one, model.highest_ber) == (1e-3, 1e-3, 1e-3, 0.5)
    assert model.scaled(1e-2) == kind(1e-2, 0.2, 0.5)
    assert model.line_probabilities() is kind(1e-3, 0.2, 0.5).line_probabilities()
    with pytest.raises(ValueError, match=r"ber is 0.6; allowed is at most failure \(0.5\)"):
        model.scaled(0.6)


@pytest.mark.parametrize("kind", LINES)
def test_measured_lines(kind):
    rates = np.array([0.0, 0.1, 0.2, 0.5])
    model = kind.measured(rates, failure=0.5)
    assert model.ber == model.ber_zero == model.ber_one == pytest.approx(0.2)
    np.testing.assert_allclose(model.line_probabilities(), [0.0, 0.2, 0.4, 1.0])
    mean = 0.4
    assert model.dispersion == pytest.approx(np.var([0.0, 0.2, 0.4, 1.0]) / (mean * (1 - mean)))
    rates[0] = 0.5
    assert model.rates[0] == 0.0  # a copy
    assert dataclasses.replace(model, failure=1.0, dispersion=kind.measured(model.rates).dispersion).ber == model.ber
    with pytest.raises(ValueError, match=r"ber is 0\.3; allowed beside rates is theirs, 0\.2"):
        dataclasses.replace(model, ber=0.3)


def test_scaled_measured_lines_meet_the_mean_and_nest():
    numbers = np.random.default_rng(0)
    for _ in range(20):
        rates = numbers.beta(0.3, 3.0, size=200) * (numbers.random(200) < 0.8) * 0.7
        model = eden.Bitline.measured(rates, failure=0.7)
        last = np.zeros(200)
        for ber in (0.0, 1e-9, 1e-4, model.ber, 1.001 * model.ber, 0.3, 0.5, model.highest_ber):
            scaled = model.scaled(ber)
            assert scaled.ber == pytest.approx(ber, rel=1e-12)
            assert (scaled.rates >= last * (1 - 1e-12)).all()
            below = (scaled.rates < 0.7) & (rates > 0)
            if ber and below.any():  # those not at failure have all been multiplied by one number
                factors = scaled.rates[below] / rates[below]
                np.testing.assert_allclose(factors, factors[0], rtol=1e-9)
            last = scaled.rates
        assert (last == np.where(rates > 0, 0.7, 0.0)).all()
        with pytest.raises(ValueError, match="in every line that was measured with errors"):
            model.scaled(min(0.7, model.highest_ber + 1e-6))
    with pytest.raises(ValueError, match=r"ber is 0.1; allowed is at most 0\.0"):
        eden.Bitline.measured([0.0, 0.0]).scaled(0.1)
    assert eden.Bitline.measured([0.0, 0.0]).scaled(0.0).ber == 0.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: eden.Bitline(2, 0.1), ValueError, "ber is 2"),
        (lambda: eden.Bitline(0.5, 0.1, failure=0.4), ValueError, "ber is 0.5; allowed is at most failure"),
        (lambda: eden.Bitline(0.1, 1e-7), ValueError, "dispersion is 1e-07; allowed is 0, or 1e-06 to 0.999"),
        (lambda: eden.Bitline(0.1, 1.0), ValueError, "dispersion is 1.0; allowed is 0, or"),
        (lambda: eden.Bitline(0.1, -0.1), ValueError, "dispersion is -0.1"),
        (lambda: eden.Bitline(0.1, "0.1"), TypeError, "dispersion is a str"),
        (lambda: eden.Wordline(0.1, 0.1, 0.0), ValueError, "failure is 0.0; allowed is above 0"),
        (lambda: eden.Wordline(0.1, 0.1, geometry={}), TypeError, "geometry is a dict"),
        (lambda: eden.Wordline.measured([]), ValueError, r"rates have the shape \(0,\)"),
        (lambda: eden.Wordline.measured([[0.1]]), ValueError, r"rates have the shape \(1, 1\)"),
        (lambda: eden.Wordline.measured(["a"]), TypeError, "rates are of the type"),
        (lambda: eden.Wordline.measured([True]), TypeError, "rates are of the type bool"),
        (lambda: eden.Wordline.measured([0.1, -0.1]), ValueError, r"rates\[1\] is -0.1"),
        (lambda: eden.Wordline.measured([0.1, 0.6], failure=0.5), ValueError, r"rates\[1\] is 0.6; allowed is 0 to"),
        (lambda: eden.Wordline.measured([0.1, float("nan")]), ValueError, r"rates\[1\] is nan"),
        (lambda: eden.Wordline.measured([0.1], failure=2), ValueError, "failure is 2"),
    ],
)
def test_wrong_lines_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_cell_map_rates_and_order():
    model = eden.CellMap([9, 2, 5], [True, False, True], [False, True, True], 1000, failure=0.5)
    assert model.cells.tolist() == [2, 5, 9]
    assert model.flips_zero.tolist() == [False, True, True]
    assert model.flips_one.tolist() == [True, True, False]
    assert (model.ber_zero, model.ber_one, model.ber, model.highest_ber) == (0.001, 0.001, 0.001, 0.001)
    assert model.entries().tolist() == [2 << 2 | 2, 5 << 2 | 3, 9 << 2 | 1]
    assert eden.CellMap([], True, True, 8).ber == 0.0
    everywhere = eden.CellMap(np.arange(8, dtype=np.uint8), True, False, 8)
    assert (everywhere.ber_zero, everywhere.ber_one, everywhere.ber) == (1.0, 0.0, 0.5)


def test_scaled_cell_map_is_a_nested_subset_of_the_rate():
    numbers = np.random.default_rng(0)
    bits = 10**6
    cells = numbers.choice(bits, 5000, replace=False)
    zero = numbers.random(5000) < 0.6
    model = eden.CellMap(cells, zero, ~zero | (numbers.random(5000) < 0.3), bits, failure=0.8)
    last: set[int] = set()
    one_cell = 0.8 / bits
    for ber in (0.0, 1e-9, 1e-7, 1e-5, 1e-4, 1e-3, model.ber):
        scaled = model.scaled(ber)
        assert ber - one_cell < scaled.ber <= ber * (1 + 1e-12)
        kept = set(scaled.cells.tolist())
        assert last <= kept
        of = np.isin(model.cells, scaled.cells)
        assert (model.flips_zero[of] == scaled.flips_zero).all()
        assert (model.flips_one[of] == scaled.flips_one).all()
        assert model.scaled(scaled.ber) == scaled == scaled.scaled(scaled.ber)
        last = kept
    assert scaled == model
    # The choice is by address alone, so a map of part of the cells loses the same ones; and blind to what they store:
    # of 2500 cells, the share that flips for zeros is within 5 standard deviations (6e-7) of all cells' share.
    half = model.scaled(model.ber / 2)
    deviation = np.sqrt(0.25 / half.cells.size)
    assert abs(half.flips_zero.mean() - model.flips_zero.mean()) < 5 * deviation
    order = _core.map_order(model.cells)
    assert np.isin(model.cells, half.cells)[np.argsort(order)].tolist() == sorted(
        np.isin(model.cells, half.cells).tolist(), reverse=True
    )
    with pytest.raises(ValueError, match=r"ber is 0\.1; allowed is at most 0\.00"):
        model.scaled(0.1)


def test_map_order_is_fixed():
    # Words 0 and 1 of Philox with key 0 and counter (cell, 0, 0, 8 << 28): files of scaled maps depend on it.
    cells = np.array([0, 1, 2**40 + 5], dtype=np.int64)
    words = [_core.philox4x32_10([int(c) & 0xFFFFFFFF, int(c) >> 32, 0, 8 << 28], [0, 0]) for c in cells]
    assert _core.map_order(cells).tolist() == [word[0] | word[1] << 32 for word in words]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1, 8], True, True, 8), ValueError, r"cells\[1\] is 8; allowed is 0 to bits - 1 \(7\)"),
        (([-1], True, True, 8), ValueError, r"cells\[0\] is -1"),
        (([1.0], True, True, 8), TypeError, "cells are of the type float64"),
        (([[1]], True, True, 8), ValueError, r"cells have the shape \(1, 1\)"),
        (([1, 1], True, True, 8), ValueError, "cells: 1 occurs twice"),
        (([1, 2], [True], True, 8), ValueError, r"flips_zero has the shape \(1,\); allowed is that of cells, \(2,\)"),
        (([1, 2], True, 1, 8), TypeError, "flips_one is of the type int64"),
        (([1, 2], [True, False], False, 8), ValueError, "both false for cell 2"),
        (([1], True, True, 0), ValueError, "bits is 0"),
        (([1], True, True, 2**62), ValueError, "bits is"),
        (([1], True, True, 8.0), TypeError, "bits is a float"),
        (([1], True, True, 8, 0.0), ValueError, "failure is 0.0"),
    ],
)
def test_wrong_maps_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        eden.CellMap(*arguments)


MODELS = [
    eden.Bitline(1e-3, 0.1),
    eden.Wordline(1e-3, 0.1, 0.5, eden.Geometry(row_bits=128, ranks=2)),
    eden.Bitline.measured([0.1, 0.25, 0.0], 0.5),
    eden.Wordline.measured(np.linspace(0, 1, 1000), geometry=eden.Geometry(banks=4)),
    eden.CellMap([3, 1, 2], [True, True, False], [False, True, True], 100, 0.9),
    eden.CellMap([], True, True, 100),
    eden.Bitline.by_value(1e-3, 0.2, 0.1, 0.5),
    eden.Wordline.by_value(1e-3, 0.2, 0.1, geometry=eden.Geometry(row_bits=128), marks="apart"),
]


@pytest.mark.parametrize("model", MODELS)
def test_json_form_of_lines_and_maps(model):
    again = ErrorModel.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again == model
    assert hash(again) == hash(model)
    assert pickle.loads(pickle.dumps(model)) == model


def test_models_of_other_content_differ():
    assert len({*MODELS, *(ErrorModel.from_dict(model.to_dict()) for model in MODELS)}) == len(MODELS)
    assert eden.Bitline(0.1, 0.1) != eden.Wordline(0.1, 0.1)
    assert eden.Bitline(0.1, 0.1) != eden.Bitline(0.1, 0.1, geometry=eden.Geometry(banks=4))
    assert eden.CellMap([1], True, True, 8) != eden.CellMap([1], True, False, 8)
    assert eden.Bitline.measured([0.1, 0.2]) != eden.Bitline.measured([0.2, 0.1])
    assert eden.Bitline(0.1, 0.1) != 0.1


def test_lines_and_maps_cannot_be_changed():
    for model in MODELS:
        with pytest.raises(dataclasses.FrozenInstanceError):
            model.failure = 0.1
    for array in (MODELS[2].rates, MODELS[4].cells, MODELS[4].flips_zero, MODELS[0].line_probabilities()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"model": "bitline", "ber": 0.1}, "lacks its parameter 'dispersion'"),
        ({"model": "bitline", "rates": [0.1], "ber": 0.1}, "'ber' is no parameter"),
        ({"model": "bitline", "rates": [0.1, "x"]}, "rates are of the type"),
        ({"model": "bitline", "rates": {}}, "rates"),
        ({"model": "bitline", "rates": [[0.1], 0.2]}, "rates"),
        ({"model": "wordline", "ber": 0.1, "dispersion": 0.1, "geometry": {"row_bits": 5}}, "row_bits is 5"),
        ({"model": "wordline", "ber": 0.1, "dispersion": 0.1, "geometry": 5}, "geometry is a int"),
        ({"model": "cell_map", "bits": 8}, "lacks its parameter 'cells'"),
        ({"model": "cell_map", "cells": []}, "lacks its parameter 'bits'"),
        ({"model": "cell_map", "bits": 8, "cells": {}}, "cells is a dict"),
        ({"model": "cell_map", "bits": 8, "cells": [[1, "10"]]}, r"cells\[0\] is \[1, '10'\]; allowed is"),
        ({"model": "cell_map", "bits": 8, "cells": [[1.5, "1"]]}, r"cells\[0\] is \[1.5, '1'\]"),
        ({"model": "cell_map", "bits": 8, "cells": [[2**70, "1"]]}, r"cells\[0\] is"),
        ({"model": "cell_map", "bits": 8, "cells": [[9, "1"]]}, r"cells\[0\] is 9"),
        ({"model": "cell_map", "bits": 8, "cells": [], "ber": 0.1}, "'ber' is no parameter"),
    ],
)
def test_damaged_lines_and_maps_are_named(spec, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ErrorModel.from_dict(spec)
