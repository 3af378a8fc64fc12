"""Do error models hold what they promise, and name what is wrong?"""

import pytest

import eden


def test_rates():
    model = eden.DataDependent(0.1, 0.3, failure=0.5)
    assert (model.ber, model.ber_zero, model.ber_one, model.failure) == (0.2, 0.1, 0.3, 0.5)
    uniform = eden.Uniform(0.25)
    assert (uniform.ber, uniform.ber_zero, uniform.ber_one, uniform.failure) == (0.25, 0.25, 0.25, 1.0)


@pytest.mark.parametrize("model", [eden.Uniform(1e-3, 0.5), eden.DataDependent(1e-3, 2e-3)])
def test_json_form(model):
    assert eden.ErrorModel.from_dict(model.to_dict()) == model


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
        ({}, "model is None; allowed are data_dependent, uniform"),
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
        eden.ErrorModel.from_dict(spec)


@pytest.mark.parametrize("value", ["0.1", None, True])
def test_wrong_types_are_named(value):
    with pytest.raises(TypeError, match="ber is a"):
        eden.Uniform(value)
