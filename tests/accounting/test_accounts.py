"""Does the accounting reproduce a calculation by hand, span its assumptions, and name what is wrong with bad input?"""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from chain import Device, FittedPoint, Partition, Point, cold, device, tolerance

import eden
from eden.accounting.results import Savings
from eden.costs.energy import Currents
from eden.costs.platforms import PLATFORMS, SHARES, Platform, Range
from eden.costs.traffic_file import Traffic
from eden.memory.errors import DataDependent, Uniform


def info(size: int | None, kind: str) -> SimpleNamespace:
    return SimpleNamespace(bytes=size, kind=kind)


def fixed(value: float) -> Range:
    return Range(value, value, value)


def platform_of(name: str, *shares: Range, kib: int = 0) -> Platform:
    return Platform(
        name=name,
        title="made up",
        memory={"kind": "cache", "kib": kib},
        batch=1,
        **dict(zip(SHARES, shares, strict=True)),
        sources=dict.fromkeys(("memory", "batch", *SHARES), "made up"),
    )


HAND = platform_of("hand", fixed(0.5), fixed(0.25), fixed(0.4))
"""The example of docs/explanation/accounting.md."""


def hand_placement(vdd: float, trcd: float) -> eden.Placement:
    fast = FittedPoint(vdd=vdd, trcd=trcd, errors=DataDependent(1e-3, 1e-3))
    memory = Device(
        partitions=(Partition("bank0", points=(fast,)), Partition("bank1", nominal=True)), nominal=Point(vdd=1.5)
    )
    apart = eden.Constraints(shared_vdd="partition")  # its bank has a supply of its own
    return eden.place(tolerance({"fc.weight": 0.1}, size=64_000), memory, constraints=apart)


def test_hand_calculation():
    """The example of docs/explanation/accounting.md: 1,000 bursts of one weight, tRCD 7.5 ns instead of 12.5,
    voltage nominal.
    """
    placement = hand_placement(1.5, 7.5)
    result = eden.savings(cold({"fc.weight": info(64_000, "weight")}, HAND), placement, HAND)
    terms = {name: (term.nominal_nj, term.placed_nj) for name, term in result.terms.items()}
    assert Currents.builtin("ddr3-1600").unit("activate") == pytest.approx(14.25)
    assert Currents.builtin("ddr3-1600").unit("read") == pytest.approx(5.7)
    assert terms["activate"] == pytest.approx((7125.0, 7125.0))
    assert terms["read"] == pytest.approx((5700.0, 5700.0))
    assert terms["write"] == (0.0, 0.0)
    assert terms["interface"] == pytest.approx((1840.0, 1840.0))
    # 20,000 ns and 500 waits of 0.4 x 37.5 ns; of each wait, 0.4 x 5 ns are saved.
    assert terms["background"] == pytest.approx((0.54 * 27_500, 0.54 * 26_500))
    assert terms["refresh"] == pytest.approx((581.731, 560.577), abs=1e-3)
    assert result.speedup == pytest.approx(27_500 / 26_500 - 1)
    assert result.energy_reduction == pytest.approx((540 + 21.154) / 30_096.731, abs=1e-6)
    assert result.energy_reduction == pytest.approx(0.01865, abs=1e-5)


def test_hand_calculation_of_the_voltage():
    """The same with 1.2 V instead of 1.5 in one of two banks, latency nominal."""
    result = eden.savings(cold({"fc.weight": info(64_000, "weight")}, HAND), hand_placement(1.2, 12.5), HAND)
    terms = {name: (term.nominal_nj, term.placed_nj) for name, term in result.terms.items()}
    assert terms["activate"] == pytest.approx((7125.0, 5700.0))
    assert terms["interface"][0] == terms["interface"][1]
    assert terms["background"] == pytest.approx((14_850.0, 13_365.0))
    assert result.speedup == 0.0
    linear = (1425 + 1140 + 1485 + 58.1731) / 30_096.731
    assert result.energy_reduction == pytest.approx(linear, abs=1e-6)
    # The quadratic law is the other end of the range: 0.36 instead of 0.2 in what depends on VDD.
    assert result.energy_reduction_range == pytest.approx((linear, linear * 0.36 / 0.2), abs=1e-6)


@pytest.mark.parametrize("solver", ["greedy", "exact"])
def test_hand_calculation_of_the_active_time(solver: str):
    """The same with tRAS 21 or 10.5 ns instead of 35: what a row takes while open, and the wait for tRC."""
    points = tuple(
        FittedPoint(vdd=1.5, tras=tras, errors=DataDependent(rate, rate)) for tras, rate in ((21.0, 1e-4), (10.5, 1e-2))
    )
    nominal = Point(vdd=1.5, tras=35.0)
    memory = Device(
        partitions=(Partition("bank0", points=points), Partition("bank1", points=points[:1])), nominal=nominal
    )
    moved = cold({"fc.weight": info(64_000, "weight")}, HAND)
    how = (eden.ExactSolver(platform=HAND), moved) if solver == "exact" else (solver,)
    opening = Currents.builtin("ddr3-1600").unit("opening")
    assert opening == pytest.approx(35 * 1.5 * 25 * 8e-3)  # IDD0 less IDD3N is 25 mA, of eight chips
    for limit, tras in ((1e-3, 21.0), (0.1, 10.5)):
        placement = eden.place(tolerance({"fc.weight": limit}, size=64_000), memory, *how)
        assert placement.point_of("fc.weight").tras == tras
        assert f" {tras:g} " in placement.table().split("tRAS (ns)")[1]
        result = eden.savings(moved, placement, HAND)
        terms = {name: (term.nominal_nj, term.placed_nj) for name, term in result.terms.items()}
        assert terms["activate"] == pytest.approx((7125.0, 7125.0 - 500 * (1 - tras / 35) * opening))
        assert terms["read"][0] == terms["read"][1]
        # The row is open for 35 ns, 10 more than until its data: 500 waits of 0.4 x 10 ns more, which both times save.
        assert terms["background"] == pytest.approx((0.54 * 29_500, 0.54 * 27_500))
        assert result.speedup == pytest.approx(29_500 / 27_500 - 1)
        assert any("proportional to tRAS" in text for text in result.assumptions)


def test_a_placement_within_specification_saves_nothing():
    placement = eden.place(tolerance({"fc.weight": 1e-9, "fc.input": 1e-9}), device())
    for platform in PLATFORMS:
        result = eden.savings(cold(placement.operands, platform), placement, platform)
        assert result.energy_reduction == 0.0
        assert result.energy_reduction_range == (0.0, 0.0)
        assert result.speedup_range == (0.0, 0.0)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_ranges_hold_every_combination_of_assumptions(platform: str):
    placement = eden.place(tolerance({"fc.weight": 1e-2, "fc.input": 5e-5, "conv.input": 1e-9}), device())
    result = eden.savings(cold(placement.operands, platform), placement, platform)
    preset = PLATFORMS[platform]
    for hit in (0.0, 0.5, 1.0):
        for busy in (0.0, 0.3, 1.0):
            for stall in (0.0, 0.4, 1.0):
                inside = [
                    fixed(value.low + share * (value.high - value.low))
                    for value, share in (
                        (preset.row_hit_share, hit),
                        (preset.bus_utilization, busy),
                        (preset.exposed_latency_share, stall),
                    )
                ]
                other = platform_of(platform, *inside, kib=preset.on_chip_bytes >> 10)
                one = eden.savings(cold(placement.operands, other), placement, other)
                low, high = result.energy_reduction_range
                assert low - 1e-12 <= one.energy_reduction <= high + 1e-12
                low, high = result.speedup_range
                assert low - 1e-12 <= one.speedup <= high + 1e-12
    low, high = result.energy_reduction_range
    assert set(result.sensitivity) == {*SHARES, "vdd_law", "maps_stay_on_chip"}
    for one in result.sensitivity.values():
        assert low <= one.energy_reduction[0] <= result.energy_reduction <= one.energy_reduction[1] <= high
        assert result.speedup_range[0] <= one.speedup[0] <= result.speedup <= one.speedup[1] <= result.speedup_range[1]
    assert result.sensitivity["vdd_law"].speedup == (result.speedup, result.speedup)
    if platform in ("eyeriss", "tpu"):
        assert result.speedup_range == (0.0, 0.0)
    else:
        assert result.speedup > 0


def test_lower_refresh_rate_saves_refresh_energy():
    slow = FittedPoint(refresh_interval=128.0, errors=DataDependent(1e-3, 1e-3))
    memory = Device(partitions=(Partition("bank0", points=(slow,)),))
    placement = eden.place(tolerance({"a.weight": 0.1}), memory)
    term = eden.savings(cold(placement.operands), placement).terms["refresh"]
    assert term.placed_nj == pytest.approx(term.nominal_nj / 2)


def test_traffic_counts_reads_and_writes():
    operands = {"fc.weight": info(800, "weight"), "fc.input": info(100, "input"), "big.input": info(9 << 20, "input")}
    moved = eden.traffic(operands, platform="cpu", batch=4)
    assert moved.read_bytes == {"fc.weight": 200, "fc.input": 100, "big.input": 9 << 20}
    assert moved.written_bytes == {"fc.weight": 0, "fc.input": 100, "big.input": 9 << 20}
    assert [moved.operands[name].fits_on_chip for name in operands] == [False, True, False]


def test_traffic_and_savings_files(tmp_path: Path):
    placement = eden.place(tolerance({"fc.weight": 1e-2, "fc.input": 5e-5}), device())
    moved = cold(placement.operands, "gpu")
    moved.save(tmp_path / "traffic.json")
    assert Traffic.load(tmp_path / "traffic.json") == moved
    result = eden.savings(moved, placement)
    result.save(tmp_path / "savings.json")
    assert Savings.load(tmp_path / "savings.json") == result
    assert result.platform == "gpu"
    assert "DRAM energy reduction" in result.table()
    assert any("assumed" in line for line in result.assumptions)


def test_operands_of_a_network():
    model = eden.inject_(
        torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)),
        eden.Faults(weights=Uniform(ber=0.0), inputs=Uniform(ber=0.0), storage="int8"),
    )
    with pytest.raises(ValueError, match=r"operand 0\.input: its size is not known yet; run calibrate_"):
        eden.traffic(model)
    eden.calibrate_(model, [(torch.randn(7, 3), torch.zeros(7))])
    assert eden.traffic(model).crossing_bytes == 0.0  # the cache holds them
    moved = cold(model)
    assert moved.read_bytes == {"0.weight": 15, "0.input": 3, "2.weight": 10, "2.input": 5}
    placement = eden.place(tolerance(dict.fromkeys(moved.operands, 1e-2), bytes=_sizes(moved)), device())
    alone = eden.savings(eden.traffic(model), placement)  # does not know the network that the other names
    assert eden.savings(model, placement).model_copy(update={"provenance": alone.provenance}) == alone


def _sizes(moved: Traffic) -> dict[str, int]:
    return {name: operand.bytes for name, operand in moved.operands.items()}


def test_operands_outside_the_placement_stay_nominal():
    placement = eden.place(tolerance({"fc.weight": 1e-2}), device())
    alone = eden.savings(cold(placement.operands), placement)
    both = eden.savings(cold({**placement.operands, "conv.weight": info(5000, "weight")}), placement)
    assert 0 < both.speedup < alone.speedup
    assert any("conv.weight" in line for line in both.assumptions)


def test_bad_input():
    placement = eden.place(tolerance({"fc.weight": 1e-2}), device())
    with pytest.raises(ValueError, match="platform is 'phone'; allowed are 'cpu', 'eyeriss', 'gpu', 'tpu'"):
        eden.traffic(placement.operands, "phone")
    with pytest.raises(ValueError, match="platform is 'phone'; allowed are 'cpu'"):
        eden.savings(placement.operands, placement, "phone")
    with pytest.raises(ValueError, match="platform is 'gpu'; allowed is the traffic's, 'cpu'"):
        eden.savings(eden.traffic(placement.operands), placement, "gpu")
    with pytest.raises(ValueError, match=r"operand fc\.weight of the placement is not among the model's 1 operands"):
        eden.savings({"other.weight": info(1000, "weight")}, placement)
    with pytest.raises(ValueError, match=r"operand fc\.weight has 1000 bytes in the placement and 4000 in the model"):
        eden.savings({"fc.weight": info(4000, "weight")}, placement)
    with pytest.raises(ValueError, match="no operands under faults"):
        eden.traffic({})
    with pytest.raises(ValueError, match=r"operand fc\.input: its size is not known yet; run calibrate_"):
        eden.traffic({"fc.input": info(None, "input")})
    with pytest.raises(ValueError, match="kind is 'bias'"):
        eden.traffic({"fc.bias": info(4, "bias")})
    with pytest.raises(ValueError, match="batch is 0"):
        eden.traffic(placement.operands, batch=0)
    with pytest.raises(ValueError, match="low <= typical <= high"):
        Range(0.2, 0.1, 0.3)
    with pytest.raises(ValueError, match=r"platform x: bus_utilization .* above 0"):
        platform_of("x", fixed(0.5), fixed(0.0), fixed(0.0))
