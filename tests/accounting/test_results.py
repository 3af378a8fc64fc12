"""Does the account add up to the savings, term by term and operand by operand, and is it drawn and refused rightly?"""

import json
from pathlib import Path

import pytest
from chain import cold, device, tolerance

import eden
from eden.accounting.accounts import account
from eden.accounting.results import ACCESSES, Account, Pareto, ParetoPoint
from eden.common.files import FileError
from eden.costs.platforms import PLATFORMS
from eden.placement.placement import Placement
from eden.reporting.page import report

NETWORK = {"conv1.weight": 1e-6, "conv1.input": 5e-5, "conv2.weight": 2e-2, "conv2.input": 1e-2, "fc.weight": 0.3}


def placed() -> Placement:
    return eden.place(tolerance(NETWORK, size=40_000), device())  # type: ignore[arg-type]


def test_terms_and_operands_add_up_to_the_savings() -> None:
    placement = placed()
    found = account([cold(placement.operands, name) for name in PLATFORMS], placement)
    assert list(found.platforms) == list(PLATFORMS)
    for name, one in found.platforms.items():
        saved = eden.savings(cold(placement.operands, name), placement)
        assert (one.energy_reduction, one.speedup) == (saved.energy_reduction, saved.speedup)
        assert one.terms == saved.terms
        assert 1.0 - one.placed_nj / one.nominal_nj == pytest.approx(saved.energy_reduction, rel=1e-9)
        assert one.nominal_ns / one.placed_ns - 1.0 == pytest.approx(saved.speedup, abs=1e-12)
        assert 1.0 - sum(value.time_saved for value in one.operands.values()) == pytest.approx(
            one.placed_ns / one.nominal_ns
        )
        for term in ACCESSES:
            parts = sum(value.terms[term].placed_nj for value in one.operands.values())
            assert parts == pytest.approx(one.terms[term].placed_nj)
    moved = [cold(placement.operands, name) for name in ("gpu", "cpu")]
    assert account(moved, placement).platforms == {name: found.platforms[name] for name in ("gpu", "cpu")}


def test_an_operand_at_a_lower_voltage_takes_less_by_the_law() -> None:
    placement = eden.place(
        tolerance(NETWORK, size=40_000, model=eden.Uniform(1e-3)),
        eden.Device.builtin("ddr3-p9"),
        eden.ExactSolver(gap=0.01),
    )
    for law, power in (("linear", 1), ("quadratic", 2)):
        one = account([cold(placement.operands)], placement, vdd_law=law).platforms["cpu"]
        lower = 0
        for name, value in one.operands.items():
            ratio = placement.point_of(name).vdd / placement.nominal.vdd
            lower += ratio < 1.0
            assert value.placed_nj == pytest.approx(value.nominal_nj * ratio**power)
        assert lower > 0


def pareto() -> Pareto:
    def point(drop: float, saved: float) -> ParetoPoint:
        return ParetoPoint(
            max_drop=drop,
            coarse=drop / 10,
            energy_reduction=saved,
            energy_reduction_range=(saved / 2, saved * 1.5),
            speedup=0.01,
            speedup_range=(0.0, 0.02),
            accuracy=0.9 - drop / 2,
            worst=0.9 - drop,
        )

    return Pareto(
        device="ddr3-test",
        platform="cpu",
        reference_accuracy=0.9,
        chips=4,
        confidence=0.95,
        points=(point(0.005, 0.1), point(0.01, 0.2), point(0.02, 0.15), point(0.05, 0.3)),
    )


def test_files_and_page(tmp_path: Path) -> None:
    placement = placed()
    found = account([cold(placement.operands, name) for name in ("cpu", "tpu")], placement)
    page = report(tmp_path / "page", placement=placement, account=found, pareto=pareto())
    assert Account.load(tmp_path / "page" / "account.json") == found
    assert Pareto.load(tmp_path / "page" / "pareto.json") == pareto()
    text = page.read_text()
    for expected in ("Account by platform, term and operand", "Operands on tpu", "Energy against accuracy"):
        assert expected in text
    assert [point.max_drop for point in pareto().front] == [0.005, 0.01, 0.05]
    assert pareto().table().count("yes") == 3
    assert "fc.weight" in found.table()
    path = tmp_path / "damaged.json"
    body = json.loads((tmp_path / "page" / "account.json").read_text())
    body["platforms"]["cpu"]["operands"]["fc.weight"]["terms"]["read"]["placed_nj"] += 1.0
    path.write_text(json.dumps(body))
    with pytest.raises(FileError, match=r"read: operands take .* nJ \(placed_nj\); allowed is what the term says"):
        Account.load(path)
    body = json.loads((tmp_path / "page" / "pareto.json").read_text())
    body["points"].reverse()
    path.write_text(json.dumps(body))
    with pytest.raises(FileError, match="allowed are rising ones"):
        Pareto.load(path)


def test_what_is_refused(tmp_path: Path) -> None:
    placement = placed()
    with pytest.raises(ValueError, match=r"platform is 'abacus'; allowed are 'cpu'"):
        account(placement.operands, placement, ["abacus"])
    for platforms in ([], ["cpu", "cpu"]):
        with pytest.raises(ValueError, match=r"platforms are \[.*\]; allowed is one or more, each once"):
            account(placement.operands, placement, platforms)
    with pytest.raises(ValueError, match=r"the account is of device 'ddr3-test'; allowed is the report's, 'ddr3-b33'"):
        report(tmp_path, device=eden.Device.builtin("ddr3-b33"), account=account(placement.operands, placement))
