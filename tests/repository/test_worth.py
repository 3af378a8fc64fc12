"""Do the tables of worth place as whole networks are placed, charge the bytes of a code, and tell steps?"""

import argparse
from pathlib import Path

import bought
import headline
import pytest
import torch
import worth
from networks import lenet

import eden

pytestmark = pytest.mark.usefixtures("one_thread")


def test_operands_that_stand_one_rate_are_placed_as_one():
    network = next(one for one in headline.all_networks() if one.name == "lenet5")
    device = eden.Device.builtin("ddr3-g35")
    moved = worth.moved_by("lenet5", "cpu")
    stated = headline.tolerance_stated(network, "int8", 1, True, "coarse")
    apart = eden.place(headline.at_one_rate(stated, 1e-3), device, eden.ExactSolver(gap=1e-4), moved, rates="mean")
    at, added, step = worth.remaining(moved, device, "mean", 1e-3, 0.03, "module")
    assert at == pytest.approx(eden.savings(moved, apart).energy_reduction, abs=1e-4)
    assert added > 0.03
    assert step is not None
    assert worth.at_rate(moved, step, device, "mean").energy_reduction >= at + 0.03 - 1e-4
    assert worth.at_rate(moved, step * 0.99, device, "mean").energy_reduction < at + 0.03
    assert worth.remaining(moved, device, "mean", 1e-3, 0.5, "module")[2] is None


def test_a_code_is_charged_beside_whole_words():
    device, accounts = eden.Device.builtin("ddr3-p9"), {}
    sample = torch.zeros(1, 1, 28, 28)
    for name, storages in (
        ("plain", {}),
        ("secded", {"storage": "int8_sign_magnitude_secded", "input_storage": "uint8_secded"}),
    ):
        model = lenet().eval()
        eden.inject_(model, eden.Faults.int8(eden.Uniform(1e-3), **storages))
        eden.calibrate_(model, [sample + 0.5])
        moved = eden.traffic(model, "cpu", inputs=sample, repeated=False)
        placement, parts = worth.placed(moved, dict.fromkeys(moved.operands, 1e-3), device, "mean")
        accounts[name] = eden.account([parts], placement, ("cpu",))
    plain, secded = (float(bought.bought(accounts[name], accounts["plain"]).split("%")[0]) for name in accounts)
    # The same operating point, and nine bytes for eight of everything that crosses.
    assert 100 - secded == pytest.approx((100 - plain) * 9 / 8, rel=2e-3)


@pytest.mark.parametrize("text", ["SECDED", "secded=1e-3", "SECDED=", "SECDED=0", "SECDED=0.6", "SECDED=nan", "=1e-3"])
def test_limits_are_named(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="found"):
        bought._given(text)


def test_a_known_chip_is_given_and_not_profiled(tmp_path: Path):
    with pytest.raises(SystemExit, match="known chip"):
        bought.certified(bought.WAYS[-1], argparse.Namespace(boosted=None, out=tmp_path / "none"))
    assert not list(tmp_path.iterdir())
