"""Does a tolerance file come back as it was, and is what cannot be a tolerance refused by name?"""

import json
from pathlib import Path
from typing import Any

import pytest

import eden
from eden import _core
from eden.tolerance.tolerance import Certificate

ALONE = {"rate": 2e-3, "low": 1.5e-3, "high": 3e-3, "slope": 1.2, "observations": 30}


CLAIM = "the limits hold for these 1,000 samples; what is claimed of the data that they were drawn from takes 9,882"


def fields(**changes: Any) -> dict[str, Any]:
    certificate = {
        "chips": 400,
        "samples": 40_000,
        "batch": 100,
        "mean_drop": 0.003,
        "violating": 0.02,
        "upper_bound": 0.0099,
        "back_offs": 1,
        "alpha": 0.0076,
        "total_alpha": 0.038,
    }
    return {
        "coarse": 1e-4,
        "limits": {"fc.weight": 2e-3, "fc.input": 1e-4},
        "bytes": {"fc.weight": 64_000, "fc.input": 640},
        "kinds": {"fc.weight": "weight", "fc.input": "input"},
        "storage": {"fc.weight": "int8", "fc.input": "int8"},
        "error_models": {
            "fc.weight": eden.DataDependent(1e-3, 3e-3, 0.5).to_dict(),
            "fc.input": eden.Uniform(1e-4).to_dict(),
        },
        "max_drop": 0.01,
        "confidence": 0.95,
        "guarantee": "mean",
        "metric": "top1",
        "reference_accuracy": 0.91,
        "samples": 1000,
        "coarse_certificate": certificate,
        "limits_certificate": certificate,
        "seed": 3,
        "random_layout": _core.RANDOM_LAYOUT_VERSION,
        "eden_version": "0.1.0",
        "observations": {"coarse": 100},
        **changes,
    }


@pytest.mark.parametrize(
    "changes", [{}, {"guarantee": ("quantile", 0.95)}, {"limits_certificate": None}, {"strategy": "sweep"}]
)
def test_saved_and_loaded(tmp_path: Path, changes: dict[str, Any]) -> None:
    tolerance = eden.Tolerance(**fields(**changes))
    tolerance.save(tmp_path / "tolerance.json")
    assert eden.Tolerance.load(tmp_path / "tolerance.json") == tolerance
    assert json.loads((tmp_path / "tolerance.json").read_text())["format"] == "eden-tolerance"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coarse": 0.0}, "coarse"),
        ({"limits": {"fc.weight": 2.0, "fc.input": 1e-4}}, "limits.fc.weight"),
        ({"limits": {"fc.weight": 1e-10, "fc.input": 1e-4}}, "limits.fc.weight"),
        ({"limits": {}}, "limits has no operand"),
        ({"bytes": {"fc.weight": 64_000}}, "operand 'fc.input' is in limits, but not in bytes"),
        ({"kinds": {**fields()["kinds"], "x": "input"}}, "operand 'x' is in kinds, but not in limits"),
        ({"kinds": {"fc.weight": "bias", "fc.input": "input"}}, "kinds.fc.weight"),
        ({"max_drop": 1.0}, "max_drop"),
        ({"confidence": 0.0}, "confidence"),
        ({"guarantee": ["quantile", 1.5]}, "guarantee"),
        ({"reference_accuracy": 1.1}, "reference_accuracy"),
        ({"surprise": 1}, "surprise"),
        ({"strategy": "guess"}, "strategy"),
        ({"weights": {"fc.weight": 1.0}}, "operand 'fc.input' is in limits, but not in weights"),
        ({"alone": {"fc.input": ALONE}}, "operand 'fc.weight' is in limits, but not in alone"),
        ({"alone": {"fc.weight": ALONE, "fc.input": {**ALONE, "slope": 0.0}}}, "alone.fc.input.slope"),
        (
            {"error_models": {**fields()["error_models"], "fc.input": {"model": "gamma"}}},
            "'fc.input': model is",
        ),
        ({"error_models": {**fields()["error_models"], "fc.input": eden.Uniform(1e-3).to_dict()}}, "has the limit"),
    ],
)
def test_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "tolerance.json"
    path.write_text(json.dumps({"format": "eden-tolerance", "version": 2, **fields(**changes)}))
    with pytest.raises(eden.FileError) as caught:
        eden.Tolerance.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_wrong_version_and_truncated(tmp_path: Path) -> None:
    path = tmp_path / "tolerance.json"
    path.write_text(json.dumps({"format": "eden-tolerance", "version": 1, **fields()}))
    with pytest.raises(eden.FileError, match="version: found 1, allowed is 2"):
        eden.Tolerance.load(path)
    path.write_text(path.read_text()[:300])
    with pytest.raises(eden.FileError, match="truncated"):
        eden.Tolerance.load(path)


def test_account_says_what_chips_were_seen() -> None:
    given = {**fields()["coarse_certificate"], "batch": 64}
    possible = [{"drop": 0.3, "probability": 0.012}]
    seen = Certificate(**{**given, "worst": 0.8, "worst_share": 0.9, "possible": possible})
    assert seen.account == (
        "a few chips make the drop: the worst hundredth of 400 makes 90% of it, the worst lost 80.0% of 64 samples; a "
        "chip loses more than 30% with probability 0.012 at most"
    )
    common = Certificate(**{**given, "worst": 0.05, "worst_share": 0.04})
    assert common.account.startswith("the worst hundredth of 400 makes 4% of it")
    assert common.account.endswith("cannot be told from so few chips or samples")
    assert Certificate(**given).account == ""  # a file of before


def test_table() -> None:
    assert eden.Tolerance(**fields()).table().splitlines() == [
        "operand              bytes   limit  x coarse",
        "fc.weight           64,000   0.002        20",
        "fc.input               640  0.0001         1",
        "all alike (coarse)  64,640  0.0001         1",
        CLAIM,
    ]


def test_table_with_what_operands_stand_alone() -> None:
    alone = {"fc.weight": ALONE, "fc.input": {**ALONE, "rate": 5e-4, "low": 3e-4, "high": 6e-4}}
    tolerance = eden.Tolerance(**fields(alone=alone))
    assert tolerance.sensitivity == pytest.approx({"fc.weight": 5.0, "fc.input": 20.0})
    assert tolerance.table().splitlines() == [
        "operand              bytes   limit  x coarse   alone      90% interval  drop per BER",
        "fc.weight           64,000   0.002        20   0.002   0.0015 to 0.003             5",
        "fc.input               640  0.0001         1  0.0005  0.0003 to 0.0006            20",
        "all alike (coarse)  64,640  0.0001         1",
        CLAIM,
    ]
