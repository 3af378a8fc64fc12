"""Does a placement keep its contracts, on random networks and in its file, and name what is wrong with bad input?"""

import dataclasses
import itertools
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from chain import MIB, Device, FittedPoint, Partition, device, tolerance

import eden
from eden import _core
from eden.common.files import FileError
from eden.memory.errors import DataDependent, Uniform
from eden.placement.defaults import ObjectiveName, SolverName
from eden.placement.placement import Placement
from eden.placement.solvers import OBJECTIVES, SOLVERS

NETWORK = {"conv1.weight": 1e-6, "conv1.input": 5e-5, "conv2.weight": 2e-2, "conv2.input": 1e-2, "fc.weight": 0.3}


def test_each_operand_gets_the_most_aggressive_point_it_tolerates():
    placement = eden.place(tolerance(NETWORK), device(), "greedy")
    trcd = {name: placement.partitions[where].operating_point.trcd for name, where in placement.partition.items()}
    assert trcd == {
        "conv1.weight": 10.0,
        "conv1.input": 7.5,
        "conv2.weight": 5.0,
        "conv2.input": 5.0,
        "fc.weight": 2.5,
    }
    assert placement.partition["conv2.weight"] == placement.partition["conv2.input"]
    assert placement.ber["conv2.input"] == pytest.approx(1e-2)
    assert placement.used_bytes[placement.partition["conv2.input"]] == 1024 + 1000
    assert placement.used_bytes["bank0"] == 0
    assert placement.device == "ddr3-test"
    assert placement.random_layout == _core.RANDOM_LAYOUT_VERSION
    assert placement.errors["fc.weight"] == DataDependent(0.13, 0.23)


def test_contracts_on_random_networks():
    rng = random.Random(7)
    for _ in range(100):
        limits = {f"l{i}.{rng.choice(['weight', 'input'])}": 10 ** rng.uniform(-9, -0.5) for i in range(12)}
        sizes = {name: rng.randrange(1, 5000) for name in limits}
        model = rng.choice([Uniform(ber=1e-3), DataDependent(1e-3, 3e-3)])
        memory = device(banks=rng.randrange(1, 9), capacity=40_000 + rng.randrange(60_000))
        wanted = tolerance(limits, bytes=sizes, model=model)
        try:
            placement = eden.place(wanted, memory, "greedy", objective=rng.choice(["energy", "latency"]))
        except ValueError as error:
            assert "cannot be placed" in str(error)  # noqa: PT017
            continue
        assert placement.ber.keys() == limits.keys()
        for name, ber in placement.ber.items():
            assert ber <= limits[name]
        for partition in memory.partitions:
            inside = sorted(
                (o.address_bytes, o.address_bytes + o.bytes)
                for o in placement.operands.values()
                if o.partition == partition.name
            )
            assert all(start % 64 == 0 for start, _ in inside)
            assert all(before[1] <= after[0] for before, after in itertools.pairwise(inside))
            assert not inside or inside[-1][1] == placement.used_bytes[partition.name] <= partition.capacity_bytes


def test_an_intolerant_operand_stays_within_specification():
    placement = eden.place(tolerance({"fc.weight": 1e-9}), device())
    assert placement.ber == {"fc.weight": 0.0}
    assert placement.partitions[placement.partition["fc.weight"]].operating_point == placement.nominal


def test_stored_values_are_compared_one_by_one():
    # The mean of the point at 5 ns is 1e-2, but ones fail at 1.5e-2.
    symmetric = eden.place(tolerance({"a.weight": 1.2e-2}, model=Uniform(ber=1e-3)), device())
    assert symmetric.ber["a.weight"] < 1e-4
    wider = eden.place(tolerance({"a.weight": 1.5e-2}, model=Uniform(ber=1e-3)), device())
    assert wider.ber["a.weight"] == pytest.approx(1e-2)
    alike = eden.place(tolerance({"a.weight": 1e-2}), device())
    assert alike.ber["a.weight"] == pytest.approx(1e-2)


def test_objective_orders_the_parameters():
    low_voltage = FittedPoint(vdd=1.2, errors=DataDependent(1e-3, 1e-3))
    low_latency = FittedPoint(trcd=5.0, errors=DataDependent(1e-3, 1e-3))
    memory = Device(partitions=(Partition("bank0", points=(low_voltage, low_latency)),))
    wanted = tolerance({"a.weight": 0.1})
    assert eden.place(wanted, memory).partitions["bank0"].operating_point.vdd == 1.2
    assert eden.place(wanted, memory, objective="latency").partitions["bank0"].operating_point.trcd == 5.0


def test_the_busier_of_equally_tolerant_operands_chooses_first():
    fast = Partition("fast", 1000, points=(FittedPoint(trcd=5.0, errors=DataDependent(1e-3, 1e-3)),))
    memory = Device(partitions=(Partition("nominal", 2000, nominal=True), fast))
    wanted = tolerance({"a.weight": 0.1, "b.input": 0.1})
    moved = eden.traffic(
        {"a.weight": SimpleNamespace(bytes=1000, kind="weight"), "b.input": SimpleNamespace(bytes=1000, kind="input")},
        repeated=False,
    )
    assert eden.place(wanted, memory, "greedy").partition["a.weight"] == "fast"
    # A feature map is written and read, a weight only read.
    assert eden.place(wanted, memory, "greedy", traffic=moved).partition["b.input"] == "fast"
    with pytest.raises(ValueError, match=r"operand c\.weight of the tolerance is not in the traffic"):
        eden.place(tolerance({"c.weight": 0.1}), memory, "greedy", traffic=moved)


def test_file_round_trip(tmp_path: Path):
    placement = eden.place(tolerance(NETWORK), device())
    placement.save(tmp_path / "placement.json")
    assert Placement.load(tmp_path / "placement.json") == placement


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ber": 0.9}, "operand fc.weight meets a BER of 0.9"),
        ({"address": 32}, "operand fc.weight starts at byte 32; allowed are multiples of 64"),
        ({"partition": "bank9"}, "operand fc.weight is in partition 'bank9'; allowed are bank0"),
        ({"bytes": 2000}, r"partition bank1 says \d+ bytes used; its operands end at 2000"),
        ({"bytes": -1}, r"operands.fc.weight.bytes: Input should be greater than or equal to 1"),
    ],
)
def test_an_edited_file_that_breaks_a_contract(tmp_path: Path, change: dict[str, object], message: str):
    path = tmp_path / "placement.json"
    eden.place(tolerance(NETWORK), device()).save(path)
    body = json.loads(path.read_text())
    body["operands"]["fc.weight"].update(change)
    path.write_text(json.dumps(body))
    with pytest.raises(FileError, match=message):
        Placement.load(path)


def test_overlapping_operands_in_a_file(tmp_path: Path):
    path = tmp_path / "placement.json"
    eden.place(tolerance(NETWORK), device(), "greedy").save(path)
    body = json.loads(path.read_text())
    body["operands"]["conv2.input"]["address"] = 0
    body["operands"]["conv2.weight"]["address"] = 64
    path.write_text(json.dumps(body))
    with pytest.raises(FileError, match="inside the operand before it"):
        Placement.load(path)


def test_table_names_everything():
    table = eden.place(tolerance(NETWORK), device()).table()
    for name in NETWORK:
        assert name in table
    assert "tRCD (ns)" in table
    assert table.split("\n\n")[-2].splitlines()[-1].startswith("fc.weight")


def test_what_the_limits_certificate_does_not_cover_is_said():
    placed = eden.place(tolerance(NETWORK), device())
    below = sum(operand.ber < operand.limit for operand in placed.operands.values())
    assert placed.caution.startswith(f"{below} of {len(NETWORK)} operands meet a BER below their limit")
    assert placed.caution in placed.table()
    assert placed.caution in placed.notes
    exact = {name: one.model_copy(update={"limit": one.ber}) for name, one in placed.operands.items()}
    assert placed.model_copy(update={"operands": exact}).caution == ""


def test_other_failure_probability_is_noted():
    wanted = tolerance({"a.weight": 1e-2}, model=DataDependent(1e-3, 3e-3, failure=0.5))
    assert any("failure probability of 0.5, the device has 1" in note for note in eden.place(wanted, device()).notes)


def test_operand_larger_than_the_device():
    with pytest.raises(ValueError, match=r"fc\.weight \(134217729 bytes.*largest is bank0 with 134217728 bytes"):
        eden.place(tolerance({"fc.weight": 0.1}, size=128 * MIB + 1), device(), "greedy")


def test_no_room_left():
    with pytest.raises(ValueError, match=r"operand a\.input \(1000 bytes.*the most room left .* is 976 bytes"):
        eden.place(tolerance({"a.weight": 0.1, "a.input": 0.1}), device(banks=1, capacity=2000), "greedy")


def test_every_solver_and_objective_has_its_name():
    assert set(SOLVERS) == set(get_args(SolverName))
    assert set(OBJECTIVES) == set(get_args(ObjectiveName))
    assert {name for solver in SOLVERS.values() for name in solver.objectives} == set(OBJECTIVES)
    assert {name for name, objective in OBJECTIVES.items() if objective.first} == set(SOLVERS["greedy"].objectives)


def test_unknown_solver_and_objective():
    with pytest.raises(ValueError, match="solver is 'best'; allowed are 'greedy', 'exact'"):
        eden.place(tolerance(NETWORK), device(), solver="best")
    with pytest.raises(ValueError, match="objective is 'cost'; allowed are 'energy', 'latency'"):
        eden.place(tolerance(NETWORK), device(), objective="cost")


def test_operand_without_bytes():
    with pytest.raises(ValueError, match=r"operand fc\.weight: bytes is 0"):
        eden.place(tolerance({"fc.weight": 0.1}, size=0), device())


def test_device_without_partitions():
    with pytest.raises(ValueError, match="the device has no partitions"):
        eden.place(tolerance(NETWORK), dataclasses.replace(device(), partitions=()))
