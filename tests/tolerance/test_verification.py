"""Is what a verification says what was tested: of all samples, with the confidence that was asked for?"""

import math

import pytest
from tiny_profile import FAST, SAMPLES, loader, make_network, told

import eden
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
