"""Of what is a tolerance: of the data where there are enough samples and it can be, and is all else refused by name?"""

from pathlib import Path
from typing import Any

import pytest
from tiny_profile import FAST, SAMPLES, loader, make_network, profile

import eden
from eden.faults.scorer import CorpusMetric

# Few samples do for a drop this large.
WIDE: dict[str, Any] = {**FAST, "max_drop": 0.25, "effort": 3.0}


def test_how_many_samples_data_take_is_said() -> None:
    # 3/2 of 2 (3 + 6) and of 2 x 6 confirmations of 366 observations each.
    assert eden.Search().samples_needed() == 9882
    assert eden.Search(coarse_only=True).samples_needed() == 6588
    assert eden.Search(effort=3.0).samples_needed() == 6588
    with pytest.raises(ValueError, match=r"max_drop is 2"):
        eden.Search().samples_needed(max_drop=2.0)
    needed = eden.Search(effort=3.0).samples_needed(max_drop=0.25, confidence=0.9)
    assert needed <= SAMPLES
    with pytest.raises(ValueError, match=rf"'data' with {SAMPLES:,} samples; allowed .* are 5,\d+ or more, and 7,\d+"):
        profile(make_network(), loader(), **{**WIDE, "max_drop": 0.01, "effort": 6.0}, population="data")


def test_data_are_the_population_where_they_do(tmp_path: Path) -> None:
    seen: list[int] = []
    journal = tmp_path / "journal"
    told = {**WIDE, "journal": journal, "progress": lambda step: seen.append(step.trial)}
    found = profile(make_network(), loader(), **told)
    assert found.population == "data"
    certificate = found.limits_certificate
    assert certificate is not None
    assert certificate.samples == certificate.batch * certificate.chips <= 2 * SAMPLES // 3
    assert found.claim == f"the limits hold for the data that the {SAMPLES:,} samples were drawn from"
    # From its journal the same, without another observation.
    made = len(seen)
    assert profile(make_network(), loader(), **told) == found
    assert len(seen) == made
    alone = profile(make_network(), loader(), **WIDE, population="samples")
    assert alone.population == "samples"
    assert "takes" in alone.claim
    assert profile(make_network(), loader(), **FAST).population == "samples"  # too few for its drop


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guarantee": ("quantile", 0.9)}, "with a quantile"),
        ({"metric": CorpusMetric(lambda outputs, targets: 1.0)}, "with a CorpusMetric"),
        ({"strategy": "sweep"}, "with the strategy 'sweep'"),
        ({"attempt": 2}, "with attempt 2"),
        ({"population": "all"}, "population is 'all'; allowed are 'data', 'samples' and None"),
    ],
)
def test_what_data_cannot_be_asked_of(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profile(make_network(), loader(), **{**WIDE, "population": "data", **changes})


def test_a_certificate_of_data() -> None:
    network = eden.set_errors_(make_network(), {name: eden.Uniform(1e-4) for name in eden.operands(make_network())})
    asked: dict[str, Any] = {"max_drop": 0.25, "confidence": 0.9, "progress": False}
    found = eden.certify(network, loader(), population="data", **asked)
    assert found.certified
    assert found.population == "data"
    assert "were drawn from" in found.statement
    assert eden.certify(network, loader(), **asked).population == "samples"
