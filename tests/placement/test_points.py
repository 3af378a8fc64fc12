"""Are the points that limits imply the best of the curves, and is what lies outside of a curve refused by name?"""

import random
from typing import Any

import pytest
from chain import tolerance

import eden
from eden.devices.device import Device
from eden.devices.partition import OperatingPoint, Partition, point_of
from eden.memory.errors import DataDependent
from eden.placement.constraints import Constraints
from eden.placement.placement import Placement
from eden.placement.points import MOST_LEVELS, PICOSECOND, Limit, _implied, answer_at, choices_of

DEVICE = Device.builtin("ddr3-p9")  # curves along both latencies, and of the voltage
BANK = DEVICE.partitions[1]
NETWORK = {"a.weight": 0.05, "a.input": 0.04, "b.weight": 0.09, "b.input": 0.16}


def tolerated(partition: Partition, point: OperatingPoint, limit: Limit) -> bool:
    errors = answer_at(partition, point)
    return limit.above(errors.ber_zero, errors.ber_one)


def test_no_shorter_latency_of_a_curve_is_tolerated() -> None:
    rng = random.Random(1)
    found = 0
    for name in ("ddr3-p9", "ddr3-g35", "ddr3-b33"):
        device = Device.builtin(name)
        bank = device.partitions[rng.randrange(1, 8)]
        for _ in range(6):
            mean = 10 ** rng.uniform(-2.5, -0.7)  # above the rate of the mildest point that a curve begins at
            ratio = rng.uniform(0.6, 1.4)
            limit = Limit(mean, mean * ratio, mean * (2.0 - ratio))
            for point, errors in _implied(bank, [limit]):
                found += 1
                assert limit.above(errors.ber_zero, errors.ber_one)
                assert errors == answer_at(bank, point)
                parameter = "trcd" if point.trcd != device.nominal.trcd else "trp"
                shorter = point.model_copy(update={parameter: getattr(point, parameter) - PICOSECOND})
                assert not tolerated(bank, shorter, limit)
    assert found > 10


def test_measured_points_stay_choices_and_nominal_is_first() -> None:
    limit = Limit(0.1, 0.1, 0.1)
    nominal = point_of(DEVICE.nominal)
    measured = choices_of(BANK, nominal, "measured", [limit])
    found = choices_of(BANK, nominal, "continuous", [limit])
    assert found[: len(measured)] == measured
    assert (found[0][0], found[0][1].ber) == (nominal, 0.0)
    assert len(found) > len(measured)
    assert len({point for point, _ in found}) == len(found)
    reliable = DEVICE.partitions[0]
    assert len(choices_of(reliable, nominal, "continuous", [limit])) == 1


def placed(
    points: Any,
    solver: str = "exact",
    objective: str = "weighted",
    limits: dict[str, float] = NETWORK,
    gap: float = 1e-6,
    **options: Any,
) -> Placement:
    wanted = tolerance(limits, size=200_000, model=DataDependent(1e-3, 1e-3))
    if solver == "greedy":
        return eden.place(wanted, DEVICE, solver, points=points, objective="latency", **options)
    return eden.place(
        wanted, DEVICE, eden.ExactSolver(gap=gap, time_limit=20.0), points=points, objective=objective, **options
    )


def test_what_limits_imply_is_not_beaten_on_a_grid() -> None:
    best = placed("continuous")
    assert best.optimum is not None
    measured = placed("measured")
    assert measured.optimum is not None
    assert best.optimum.value < measured.optimum.value - 1e-4
    rng = random.Random(2)
    assert DEVICE.voltage is not None
    voltages = [row.vdd for row in DEVICE.voltage.rows]
    for _ in range(4):
        points = {}
        for bank in DEVICE.partitions[1:]:
            points[bank.name] = [
                point_of(DEVICE.nominal).model_copy(
                    update={rng.choice(["trcd", "trp"]): round(rng.uniform(7.5, 12.4), 2), "vdd": rng.choice(voltages)}
                )
                for _ in range(8)
            ]
        grid = placed(points)
        assert grid.optimum is not None
        assert best.optimum.bound <= grid.optimum.value + 1e-9


def test_limits_hold_at_the_points_that_were_found() -> None:
    for solver in ("exact", "greedy"):
        placement = placed("continuous", solver)
        found = {part.operating_point.trcd for part in placement.partitions.values() if part.used_bytes} | {
            part.operating_point.trp for part in placement.partitions.values() if part.used_bytes
        }
        assert any(latency not in (2.5, 5.0, 7.5, 10.0, 12.5) for latency in found)
        for name, operand in placement.operands.items():
            assert operand.ber <= NETWORK[name]
        assert any("imply on fitted curves" in note for note in placement.notes)


def test_the_number_of_voltages_holds_for_points_that_are_found() -> None:
    limits = {"a.weight": 1e-8, "a.input": 2e-5, "b.weight": 0.05, "b.input": 0.16}
    several = placed(
        "continuous", objective="energy", limits=limits, gap=0.01, constraints=Constraints(shared_vdd="partition")
    )
    vdds = {part.operating_point.vdd for part in several.partitions.values()}
    assert len(vdds) > 2
    few = placed(
        "continuous",
        objective="energy",
        limits=limits,
        gap=0.01,
        constraints=Constraints(voltages=2, shared_vdd="partition"),
    )
    assert len({part.operating_point.vdd for part in few.partitions.values()} | {DEVICE.nominal.vdd}) <= 2
    assert few.optimum is not None
    assert several.optimum is not None
    assert few.optimum.value >= several.optimum.bound - 1e-9


def test_of_many_limits_some_are_looked_at_and_it_says_so() -> None:
    limits = {f"l{i}.weight": 0.03 * 1.05**i for i in range(MOST_LEVELS + 6)}
    wanted = tolerance(limits, model=DataDependent(1e-3, 1e-3))
    placement = eden.place(wanted, DEVICE, points="continuous")
    assert any(f"{MOST_LEVELS} of the limits imply" in note for note in placement.notes)


def test_points_that_are_asked_for() -> None:
    nominal = point_of(DEVICE.nominal)
    wanted = nominal.model_copy(update={"trcd": 11.0, "vdd": 1.1})
    placement = placed({bank.name: [wanted] for bank in DEVICE.partitions[1:]})
    used = {part.operating_point for part in placement.partitions.values() if part.used_bytes}
    assert used == {wanted}
    outside = nominal.model_copy(update={"trcd": 1.0})
    with pytest.raises(ValueError, match=r"^partition bank2: trcd is 1.0 ns; allowed for bank2 at .* to 12.5 ns"):
        placed({"bank2": [outside]})
    low = nominal.model_copy(update={"vdd": 0.9})
    with pytest.raises(ValueError, match=r"^partition bank2: vdd is 0.9 V; allowed for the voltage curve of vendor"):
        placed({"bank2": [low]})
    with pytest.raises(ValueError, match=r"points names the partition 'bank9'; allowed are bank0, bank1"):
        placed({"bank9": [wanted]})
    with pytest.raises(ValueError, match=r"points is 'all'; allowed are 'measured', 'continuous'"):
        placed("all")
    with pytest.raises(ValueError, match=r"partition bank0: .*it is kept at its nominal operating point"):
        placed({"bank0": [wanted.model_copy(update={"vdd": nominal.vdd})]})


@pytest.mark.parametrize("solver", ["exact", "greedy"])
@pytest.mark.parametrize("points", ["measured", "continuous"])
def test_a_coarse_placement_has_one_point(solver: str, points: str) -> None:
    wanted = tolerance(NETWORK, size=200_000, model=DataDependent(1e-3, 1e-3), coarse=1e-4)
    placement = eden.place(wanted, DEVICE, solver, points=points, granularity="coarse")  # type: ignore[arg-type]
    ((name, part),) = placement.partitions.items()
    assert (name, part.address_bits, part.capacity_bytes) == (DEVICE.whole.name, 0, DEVICE.whole.capacity_bytes)
    assert part.operating_point != placement.nominal
    assert set(placement.ber.values()) == {part.errors.ber}
    assert part.errors.ber <= 1e-4
    assert {operand.limit for operand in placement.operands.values()} == {1e-4}
    assert any(note.startswith("Coarse: the whole module is at one operating point") for note in placement.notes)


def test_what_cannot_be_placed_is_named() -> None:
    for granularity in ("fine", "coarse"):
        large = tolerance(NETWORK, size=DEVICE.whole.capacity_bytes + 1, model=DataDependent(1e-3, 1e-3))
        with pytest.raises(ValueError, match=r"operand [ab].\w+ \(1073741825 bytes\) is larger than every partition"):
            eden.place(large, DEVICE, "exact", granularity=granularity)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"operand [ab].\w+ "):
            eden.place(large, DEVICE, granularity=granularity)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"granularity is 'medium'; allowed are 'fine' and 'coarse'"):
        placed("measured", granularity="medium")
