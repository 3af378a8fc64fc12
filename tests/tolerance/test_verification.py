"""Is what a verification says what was tested: of all samples, with the confidence that was asked for?"""

import math

import pytest
import torch
from tiny_profile import FAST, SAMPLES, loader, make_network, told

import eden
from eden.common.provenance import digest_of
from eden.devices.upper_rates import Rates


@pytest.mark.parametrize("step", [eden.profile, eden.certify])
def test_a_quantile_is_of_all_samples(step) -> None:
    with pytest.raises(ValueError, match=f"batch_size is 64; with a quantile, .* allowed is None or all {SAMPLES}"):
        step(make_network(), loader(), **told(guarantee=("quantile", 0.5), batch_size=64, **FAST))


def test_attempts_share_what_was_asked_for_and_say_so() -> None:
    network = make_network(eden.Uniform(1e-5))
    found = eden.certify(network, loader(), attempt=2, **{**FAST, "max_drop": 0.2})
    assert found.certificate is not None
    assert found.certificate.total_alpha <= 0.1 * 6 / math.pi**2 / 4
    assert "certified with confidence 0.9, as asked" in found.statement
    assert "attempt 2, which alone was tested with 0.98" in found.table()
    with pytest.raises(ValueError, match="attempt is 0; allowed"):
        eden.certify(network, loader(), attempt=0, **FAST)


def test_the_error_of_the_rates_is_a_part_of_what_was_asked_for() -> None:
    network, rates = make_network(eden.Uniform(1e-5)), Rates(kind="upper", confidence=0.95, readings=8)
    found = eden.certify(network, loader(), rates=rates, **{**FAST, "max_drop": 0.2})
    assert found.confidence == 0.9
    assert found.rates == rates
    assert found.certificate is not None
    assert found.certificate.total_alpha <= 0.1 - 0.05
    assert "with confidence 0.95 for all 8 that were measured at once, which takes 0.05 of the error of 0.1" in (
        found.table()
    )
    assert "of no device" in found.model_copy(update={"rates": None}).table()
    with pytest.raises(ValueError, match=r"the device's rates alone hold with 0\.95; allowed is a lower confidence"):
        eden.certify(network, loader(), rates=rates, **{**FAST, "confidence": 0.96})


def test_a_placement_is_where_the_network_lies_for_the_test() -> None:
    model = make_network(eden.Uniform(1e-3))
    tolerance = eden.profile(model, loader(), **{**FAST, "max_drop": 0.2})
    placement = eden.place(tolerance, eden.Device.builtin("ddr3-b33"))
    wanted = {**FAST, "max_drop": 0.2, "confidence": 0.8}
    before = {name: info.errors for name, info in eden.operands(model).items()}
    found = eden.certify(model, loader(), placement=placement, **wanted)
    assert {name: info.errors for name, info in eden.operands(model).items()} == before
    assert found.rates == placement.rates
    assert found.provenance is not None
    assert found.provenance.of["placement"] == digest_of(placement)
    # The same as of a network that lies there already.
    eden.inject_(model, placement)
    again = eden.certify(model, loader(), rates=placement.rates, **wanted)
    assert again.made_from(placement=placement) == found
    for other, message in (
        ({"rates": placement.rates}, "rates and placement are both given"),
        ({"placement": tolerance}, "placement is a Tolerance; allowed is an eden.Placement"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            eden.certify(model, loader(), **{"placement": placement, **other}, **wanted)
    with pytest.raises(ValueError, match="'data' with the samples that the placement's limits were found on"):
        eden.certify(model, loader(), placement=placement, population="data", **wanted)
    *others, last = placement.operands
    some = {name: placement.operands[name] for name in others}
    lacking = placement.model_copy(update={"operands": some})
    with pytest.raises(ValueError, match=f"operand {last} has errors and is in no partition of the placement"):
        eden.certify(model, loader(), placement=lacking, **wanted)
    with torch.no_grad():
        model[0].weight[0, 0] += 0.01
    with pytest.raises(ValueError, match="the placement was made from another network"):
        eden.certify(model, loader(), placement=placement, **wanted)
