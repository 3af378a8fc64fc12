"""Does the table of the headline mark what is stated, place as it says, and refuse what it cannot read?"""

import argparse

import headline
import pytest

import eden


@pytest.fixture(scope="module")
def lenet() -> headline.Network:
    return next(network for network in headline.all_networks() if network.name == "lenet5")


def test_the_networks_are_the_papers():
    assert [network.name for network in headline.all_networks()] == list(headline.STATED_BOOSTED)


def test_stated_tolerances(lenet: headline.Network):
    rates = headline.STATED_BOOSTED["lenet5"]
    fine = headline.tolerance_stated(lenet, "int8", 1, True, "fine")
    assert fine.limits["conv1.weight"] == rates
    assert fine.limits["conv2.weight"] == 3 * rates
    assert fine.limits["conv2.input"] == 1.5 * rates
    assert fine.bytes["fc1.weight"] == 400 * 120
    coarse = headline.tolerance_stated(lenet, "int8", 0, False, "coarse")
    assert set(coarse.limits.values()) == {rates / 5 * 0.1}


def test_placements(lenet: headline.Network):
    device = eden.Device.builtin("ddr3-vendor-b")
    tolerance = headline.tolerance_stated(lenet, "int8", 1, True, "coarse")
    coarse = headline.placement_of(tolerance, device, "coarse", "energy")
    assert len(coarse.partitions) == 1
    point = next(iter(coarse.partitions.values())).operating_point
    assert point.vdd < device.nominal.vdd
    fine = headline.placement_of(headline.tolerance_stated(lenet, "int8", 1, True, "fine"), device, "fine", "energy")
    lowered = {name: one.operating_point.vdd for name, one in fine.partitions.items()}
    assert lowered.pop("bank0") == device.nominal.vdd
    assert set(lowered.values()) == {point.vdd}


def test_greedy_beside_the_optimum(lenet: headline.Network):
    device = eden.Device.builtin("ddr3-vendor-b")
    tolerance = headline.tolerance_stated(lenet, "int8", 1, True, "fine")
    row = headline.optimum(lenet, tolerance, device, "ddr3l-1600", "linear", "int8")
    name, operands, *shares = [cell.strip() for cell in row.strip("|").split("|")]
    greedy, exact, most, excess = (float(share.rstrip("%")) for share in shares)
    assert (name, operands) == ("lenet5", "10")
    assert 10.0 < greedy <= exact <= most < exact + 0.2
    assert excess >= 0.0


@pytest.mark.parametrize(
    "text", ["lenet5", "lenet:boosted:1=a", "lenet5:tuned:1=a", "lenet5:boosted:2=a", "lenet5:boosted:1="]
)
def test_tolerance_files_are_named(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="found"):
        headline.given(text)
    assert headline.given("lenet5:baseline:0=a/b.json") == (("lenet5", False, 0), "a/b.json")
