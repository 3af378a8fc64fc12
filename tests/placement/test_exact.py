"""Is the exact placement the optimum, within its bound and its constraints, and does it name what does not fit?"""

import dataclasses
import random
from pathlib import Path
from typing import Any

import placements
import pytest
from chain import Device as FakeDevice
from chain import FittedPoint, Partition, cold, device, tolerance

import eden
from eden import ExactSolver
from eden.memory.errors import DataDependent
from eden.memory.geometry import Geometry
from eden.placement.constraints import Constraints
from eden.placement.placement import Placement
from eden.placement.program import pooled as relaxation
from eden.placement.program import solve as optimum
from eden.placement.program.problem import InfeasibleError, Problem

KIB = 1024
NETWORK = {"conv1.weight": 1e-6, "conv1.input": 5e-5, "conv2.weight": 2e-2, "conv2.input": 1e-2, "fc.weight": 0.3}


def point(vdd: float, ber: float, trcd: float = 12.5, refresh_interval: float = 64.0) -> FittedPoint:
    return FittedPoint(vdd=vdd, trcd=trcd, refresh_interval=refresh_interval, errors=DataDependent(ber, ber))


def memory(*partitions: tuple[int, tuple[FittedPoint, ...]]) -> FakeDevice:
    return FakeDevice(
        partitions=tuple(Partition(f"bank{p}", size, points=points) for p, (size, points) in enumerate(partitions))
    )


def exact(
    limits: dict[str, float], where: FakeDevice, size: int = 1000, gap: float = 1e-4, **arguments: object
) -> eden.Placement:
    wanted = tolerance(limits, size=size, model=DataDependent(1e-3, 1e-3))
    return eden.place(wanted, where, ExactSolver(gap=gap), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("split", [False, True])
def test_random_instances_beside_brute_force(split: bool):
    found = placements.Compared()
    rng = random.Random(2019 + split)
    for _ in range(250):
        placements.compare(placements.random_instance(rng, split), found)
    assert found.placed > 80
    assert found.infeasible > 50
    assert found.greedy_placed > found.greedy_optimal > 50


@pytest.mark.parametrize("split", [False, True])
def test_the_relaxation_of_large_instances_beside_brute_force(split: bool, monkeypatch: pytest.MonkeyPatch):
    """As small as they are, no pair of an operand and a partition is decided before the relaxation is."""
    monkeypatch.setattr(optimum, "DIRECT_PAIRS", 0)
    found = placements.Compared()
    rng = random.Random(1910 + split)
    for _ in range(150):
        placements.compare(placements.random_instance(rng, split), found)
    assert found.placed > 40


@pytest.mark.parametrize("envelope", [False, True])
def test_bounds_of_the_relaxation_are_below_the_optimum(envelope: bool, monkeypatch: pytest.MonkeyPatch):
    """Of the linear and of the mixed-integer program alike, with time times standby exactly or by its envelope."""
    monkeypatch.setattr(relaxation, "EXACT_PRODUCT_STATES", 0 if envelope else 500)
    bounds: list[float] = []
    pooled = relaxation.solve_pooled

    def watched(problem: Problem, gap: float, seconds: float, relaxed: bool) -> tuple[object, float | None]:
        found = pooled(problem, gap, seconds, relaxed)
        assert found[1] is not None
        if relaxed:
            bounds.clear()  # those of operands that tolerate nothing come first
        if watching == problem.names:
            bounds.append(found[1])
        return found

    monkeypatch.setattr(optimum, "DIRECT_PAIRS", 0)
    monkeypatch.setattr(optimum, "solve_pooled", watched)
    monkeypatch.setattr(optimum, "_rounded", lambda problem, found, seconds: [])
    rng = random.Random(5340)
    seen = 0
    for _ in range(60):
        instance = placements.random_instance(rng)
        watching = tuple(instance.tolerance.limits)
        best = placements.best_by_brute_force(instance)
        bounds.clear()
        if best is not None:
            instance.place("exact")
            assert bounds
            assert max(bounds) <= best + 1e-8
            seen += 1
    assert seen > 15


def test_a_large_instance_ends_at_its_gap():
    """A tenth of benchmarks/placements.py, whose figures docs/explanation/placement.md has."""
    instance = placements.large_instance(100, 16)
    found = instance.place("exact").optimum
    assert found is not None
    assert found.gap <= 0.01
    assert found.greedy is not None
    assert found.bound <= found.value <= found.greedy


@pytest.mark.parametrize("split", [False, True])
def test_a_large_instance_that_is_nearly_full(split: bool, monkeypatch: pytest.MonkeyPatch):
    """Where rounding finds no room, the placement by size is the one that the search starts with."""
    monkeypatch.setattr(optimum, "packings", lambda problem, pooled: [])
    # What would decide pair by pair is out of time.
    monkeypatch.setattr(optimum, "solve_pairwise", lambda problem, gap, seconds: (None, None))
    instance = placements.large_instance(300, 16)
    needed = sum(-(-size // 64) for size in instance.tolerance.bytes.values())
    fewer = 64 * (needed // 16 + 1 if split else needed * 10 // 155)
    partitions = tuple(dataclasses.replace(bank, capacity_bytes=fewer) for bank in instance.memory.partitions)
    full = dataclasses.replace(instance, memory=dataclasses.replace(instance.memory, partitions=partitions))
    found = full.place("exact", constraints=Constraints(split=split), exact=ExactSolver(gap=0.01, time_limit=1.0))
    assert found.optimum is not None
    assert found.optimum.greedy is None
    assert 0.0 < found.optimum.bound <= found.optimum.value <= 1.0
    assert all(operand.ber <= operand.limit for operand in found.operands.values())


def test_out_of_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(optimum, "solve_pairwise", lambda problem, gap, seconds: (None, None))
    with pytest.raises(TimeoutError, match="no placement was found in 5 s; allowed is more time"):
        eden.place(
            tolerance(
                {"a.weight": 0.1, "b.weight": 1e-7},
                model=DataDependent(1e-3, 1e-3),
                bytes={"a.weight": 512, "b.weight": KIB},
            ),
            memory((KIB, ()), (512, ())),
            ExactSolver(time_limit=5.0),
        )


@pytest.mark.parametrize("objective", ["energy", "latency"])
def test_it_is_the_account_of_savings_and_not_above_greedy(objective: str):
    wanted = tolerance(NETWORK)
    best = eden.place(wanted, device(), ExactSolver(gap=0.0), objective=objective)
    saved = eden.savings(cold(best.operands), best)
    assert best.optimum is not None
    value = 1 - saved.energy_reduction if objective == "energy" else 1 / (1 + saved.speedup)
    assert best.optimum.value == pytest.approx(value, abs=1e-12)
    greedy = eden.place(wanted, device(), objective=objective)
    by_greedy = eden.savings(cold(greedy.operands), greedy)
    assert best.optimum.greedy == pytest.approx(
        1 - by_greedy.energy_reduction if objective == "energy" else 1 / (1 + by_greedy.speedup), abs=1e-12
    )
    assert best.optimum.value <= best.optimum.greedy
    assert best.optimum.gap < 1e-8


def test_the_busier_operand_gets_the_lower_voltage():
    """Greedy gives it to the more tolerant one, a weight, which is read and not written."""
    where = memory((KIB, (point(1.1, 1e-3),)), (KIB, ()))
    limits = {"a.weight": 0.1, "b.input": 0.05}
    apart = Constraints(shared_vdd="partition")
    greedy = eden.place(tolerance(limits, model=DataDependent(1e-3, 1e-3)), where, "greedy", constraints=apart)
    assert greedy.partition["a.weight"] == "bank0"
    assert exact(limits, where, gap=0.0, constraints=apart).partition == {"a.weight": "bank1", "b.input": "bank0"}


def test_a_placement_that_greedy_does_not_find():
    where = memory((KIB, ()), (512, ()))
    wanted = tolerance(
        {"a.weight": 0.1, "b.weight": 1e-7},
        model=DataDependent(1e-3, 1e-3),
        bytes={"a.weight": 512, "b.weight": KIB},
    )
    with pytest.raises(ValueError, match="the greedy order; a placement may exist that it does not find"):
        eden.place(wanted, where, "greedy")
    found = eden.place(wanted, where, "exact")
    assert found.partition == {"a.weight": "bank1", "b.weight": "bank0"}
    assert found.optimum is not None
    assert found.optimum.greedy is None
    assert "the greedy solver's: none found" in found.table()


def test_a_split_operand_is_at_one_operating_point_and_in_aligned_pieces(tmp_path: Path):
    low = (point(1.15, 1e-3),)
    where = memory((KIB, low), (KIB, low), (KIB, (point(1.25, 1e-3),)))
    found = exact({"a.weight": 0.1}, where, size=1500, constraints=Constraints(split=True))
    operand = found.operands["a.weight"]
    assert [piece.partition for piece in operand.pieces] == ["bank0", "bank1"]
    assert sum(piece.bytes for piece in operand.pieces) == 1500
    assert operand.pieces[0].bytes % 64 == 0
    assert found.used_bytes == {"bank0": operand.pieces[0].bytes, "bank1": operand.pieces[1].bytes, "bank2": 0}
    assert found.point_of("a.weight").vdd == 1.15
    assert found.bytes_in("bank0") + found.bytes_in("bank1", "weight") == 1500
    assert "bank0 and 1 more" in found.table()
    found.save(tmp_path / "placement.json")
    assert Placement.load(tmp_path / "placement.json") == found
    with pytest.raises(InfeasibleError, match=r"operand a\.weight \(1500 bytes\) is larger than every partition, of"):
        exact({"a.weight": 0.1}, where, size=1500)


def test_a_split_operand_meets_the_worst_of_its_partitions():
    where = memory((KIB, (point(1.15, 1e-3),)), (KIB, (point(1.15, 1e-2),)))
    found = exact({"a.weight": 0.1}, where, size=1500, constraints=Constraints(split=True))
    assert found.ber == {"a.weight": 1e-2}
    assert found.errors["a.weight"].ber == 1e-2


@pytest.mark.parametrize("solver", ["greedy", "exact"])
def test_supplies(solver: str):
    points = (point(1.2, 1e-4), point(1.1, 1e-2))
    where = memory(*[(KIB, points)] * 3)
    wanted = tolerance({"a.weight": 0.1, "b.weight": 1e-3}, size=KIB, model=DataDependent(1e-3, 1e-3))

    def vdds(**constraints: Any) -> dict[str, float]:
        asked = Constraints(**{"shared_vdd": "partition", **constraints})
        found = eden.place(wanted, where, solver, constraints=asked)
        assert asked.supplies[1:] in found.headline[0]
        assert all(found.ber[name] <= limit for name, limit in wanted.limits.items())
        return {name: part.operating_point.vdd for name, part in found.partitions.items()}

    assert sorted(vdds().values()) == [1.1, 1.2, 1.35]
    assert sorted(vdds(voltages=2).values()) in ([1.1, 1.35, 1.35], [1.2, 1.2, 1.35])
    assert set(vdds(voltages=1).values()) == {1.35}
    # An idle partition follows the supply that it shares.
    pair = vdds(shared_vdd=(("bank0", "bank2"),))
    assert pair["bank0"] == pair["bank2"]
    everything = (("bank0", "bank1", "bank2"),)
    assert set(vdds(shared_vdd=everything).values()) == {1.2}
    # Modules have one supply: so it is where nothing is said.
    assert set(vdds(shared_vdd="module").values()) == {1.2}
    assert set(vdds(shared_vdd="module", voltages=1).values()) == {1.35}


@pytest.mark.parametrize("solver", ["greedy", "exact"])
def test_a_shared_refresh_and_what_not_all_offer(solver: str):
    where = memory(
        (KIB, (point(1.35, 1e-3, refresh_interval=256.0),)),
        (KIB, (point(1.35, 1e-3, refresh_interval=256.0), point(1.35, 1e-3, refresh_interval=128.0))),
        (KIB, ()),
    )
    wanted = tolerance({"a.weight": 0.1}, model=DataDependent(1e-3, 1e-3))

    def intervals(*groups: tuple[str, ...], **constraints: Any) -> list[float]:
        asked = Constraints(**{"shared_refresh": groups, **constraints})
        found = eden.place(wanted, where, solver, constraints=asked)
        return [part.operating_point.refresh_interval for part in found.partitions.values()]

    assert intervals(("bank0", "bank1")) == [256.0, 256.0, 64.0]
    # The third one was measured at no other interval: it holds nothing, and follows.
    assert intervals(("bank0", "bank1", "bank2")) == [256.0] * 3
    assert intervals(shared_refresh="rank") == [256.0] * 3
    # Two banks to a rank: the other rank stays as it is.
    ranks = Geometry(bank_rows=512, banks=2)
    banks = zip(where.partitions, (0, 1, 2), strict=True)
    apart = tuple(dataclasses.replace(one, address=bank * ranks.capacity_bits // 2) for one, bank in banks)
    where = dataclasses.replace(where, partitions=apart, geometry=ranks)
    assert intervals(shared_refresh="rank") == [256.0, 256.0, 64.0]


def test_nominal_partitions_and_idle_ones_stay_within_specification():
    found = exact({"a.weight": 0.1}, device(banks=4))
    assert found.partitions["bank0"].operating_point == found.nominal
    for partition in found.partitions.values():
        if not partition.used_bytes:
            assert partition.operating_point == found.nominal


def test_what_an_operand_cannot_lower_counts_too():
    """Operands that the placement leaves out are in the energy within specification."""
    wanted = tolerance({"a.weight": 0.1}, model=DataDependent(1e-3, 1e-3))
    where = memory((KIB, (point(1.1, 1e-2),)))
    more = placements.large_instance(4, 1).traffic
    moved = more.model_copy(
        update={
            "operands": {
                **more.operands,
                "a.weight": more.operands["layer0.weight"].model_copy(update={"bytes": 1000, "read_bytes": 1000.0}),
            }
        }
    )
    alone = eden.place(wanted, where, "exact").optimum
    among = eden.place(wanted, where, "exact", moved).optimum
    assert alone is not None
    assert among is not None
    assert among.value > alone.value
    placed = eden.place(wanted, where, "exact", moved)
    assert among.value == pytest.approx(1 - eden.savings(moved, placed).energy_reduction, abs=1e-12)


def test_infeasible_cases_name_the_constraint_and_what_would_help():
    where = memory((KIB, ()), (2 * KIB, ()))
    with pytest.raises(
        InfeasibleError,
        match=r"operand a\.weight \(2049 bytes\) is larger than every partition, of which the largest has 2048 bytes: "
        r"split=True places them",
    ):
        exact({"a.weight": 0.1}, where, size=2049)
    with pytest.raises(
        InfeasibleError, match=r"the operands need 4096 bytes in units of 64, more than the 3072.*1024 "
    ):
        exact({"a.weight": 0.1, "b.weight": 0.1}, where, size=2 * KIB)
    halves = {f"{name}.weight": 0.1 for name in "abc"}
    with pytest.raises(
        InfeasibleError, match=r"no partition of whole operands into the 2 partitions fits .* split=True places them"
    ):
        exact(halves, memory((2 * KIB, ()), (2 * KIB, ())), size=KIB + 64)
    with pytest.raises(InfeasibleError, match=r"4096 bytes in units of 1024.* an alignment of 64 places them whole"):
        exact(
            {f"{name}.weight": 0.1 for name in "abcd"},
            memory((3 * KIB, ())),
            size=600,
            constraints=Constraints(alignment=KIB),
        )
    with pytest.raises(InfeasibleError, match=r"the operands need 4096 bytes in units of 64.*: 1024 bytes are missing"):
        exact({"a.weight": 0.1}, where, size=4096, constraints=Constraints(split=True))


def test_bad_input():
    wanted, where = tolerance(NETWORK), device()
    for arguments, message in (
        (
            {"objective": "cost"},
            "objective is 'cost'; allowed are 'energy', 'latency', 'weighted' of the solver 'exact'",
        ),
        ({"solver": ExactSolver(platform="phone")}, "platform is 'phone'; allowed are 'cpu'"),
        ({"solver": ExactSolver(currents="ddr9")}, "currents are 'ddr9'; allowed are 'ddr3-1600'"),
        ({"solver": ExactSolver(vdd_law="cubic")}, "vdd_law of activate is 'cubic'"),
        ({"constraints": Constraints(voltages=0)}, "voltages is 0; allowed is 1 or more"),
        ({"constraints": Constraints(alignment=100)}, "alignment is 100 bytes; allowed are multiples of 64"),
        ({"constraints": Constraints(shared_vdd=(("bank9",),))}, "shared_vdd names the partition 'bank9'; allowed are"),
        ({"constraints": Constraints(shared_vdd=(("bank1", "bank1"),))}, "partition bank1 appears twice"),
    ):
        with pytest.raises(ValueError, match=message):
            eden.place(wanted, where, **{"solver": "exact", **arguments})  # type: ignore[arg-type]
    for argument, message in (
        ({"energy_weight": 1.5}, "energy_weight is 1.5; allowed is 0 to 1"),
        ({"gap": 1.0}, "gap is 1.0; allowed is 0 or more, below 1"),
        ({"time_limit": 0.0}, "time_limit is 0.0; allowed is above 0 s"),
    ):
        with pytest.raises(ValueError, match=message):
            ExactSolver(**argument)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"'gap'; it is now solver=eden\.ExactSolver\(gap=\.\.\.\)$"):
        eden.place(wanted, where, "exact", gap=0.01)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="split is True; allowed is False: the greedy solver does not split"):
        eden.place(wanted, where, "greedy", constraints=Constraints(split=True))
    with pytest.raises(ValueError, match="objective is 'weighted'; allowed are 'energy', 'latency' of"):
        eden.place(wanted, where, "greedy", objective="weighted")
    with pytest.raises(ValueError, match="the device has no partitions"):
        eden.place(wanted, dataclasses.replace(where, partitions=()), "exact")
    other = eden.traffic({"other.weight": placements.SimpleNamespace(bytes=10, kind="weight")})
    with pytest.raises(ValueError, match=r"operand conv1\.input of the tolerance is not in the traffic"):
        eden.place(wanted, where, "exact", other)
    moved = eden.traffic(
        {name: placements.SimpleNamespace(bytes=10, kind=wanted.kinds[name]) for name in wanted.limits}, "gpu"
    )
    with pytest.raises(ValueError, match="platform is 'cpu'; allowed is the traffic's, 'gpu'"):
        eden.place(wanted, where, ExactSolver(platform="cpu"), moved)
    with pytest.raises(ValueError, match=r"operand conv1\.weight has 1000 bytes in the tolerance and 10 in the model"):
        eden.place(wanted, where, "exact", moved)
