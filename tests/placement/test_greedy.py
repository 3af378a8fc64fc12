"""Does the greedy placement keep its contracts, and take the best it could?"""

import itertools
import math
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from chain import Partition

from eden.devices.partition import OperatingPoint
from eden.memory.errors import DataDependent, ErrorModel
from eden.memory.geometry import Geometry
from eden.placement.constraints import Constraints
from eden.placement.greedy import place_greedy
from eden.placement.points import Choice, Limit
from eden.placement.question import Answer, tolerated
from eden.placement.solvers import OBJECTIVES

NOMINAL = OperatingPoint(vdd=1.35, trcd=12.5, trp=12.5, temperature=50.0, refresh_interval=64.0)
ENERGY = OBJECTIVES["energy"].first


def at(vdd: float, trcd: float, ber: float, skew: float = 1.0, refresh: float = 64.0) -> Choice:
    """A point, and a model whose zeros fail at ``skew`` times its mean rate."""
    point = NOMINAL.model_copy(update={"vdd": vdd, "trcd": trcd, "refresh_interval": refresh})
    return point, DataDependent(ber * skew, ber * (2.0 - skew))


def limit(rate: float, skew: float = 1.0) -> Limit:
    return Limit(rate, rate * skew, rate * (2.0 - skew))


def asked(
    operands: dict[str, tuple[int, Limit]],
    partitions: list[tuple[int, list[Choice]]],
    crossing: list[float] | None = None,
    **constraints: Any,
) -> Any:
    """What the greedy placement reads of a question."""
    limits = Constraints(**{"shared_vdd": (), "shared_refresh": (), **constraints})
    where: Any = [Partition(f"bank{p}", capacity) for p, (capacity, _) in enumerate(partitions)]
    wanted = [one for _, one in operands.values()]
    return SimpleNamespace(
        names=tuple(operands),
        bytes=np.array([size for size, _ in operands.values()]),
        limits=wanted,
        tolerated=lambda models: tolerated(wanted, models),
        crossing=crossing or [0.0] * len(operands),
        partitions=where,
        capacity=np.array([capacity for capacity, _ in partitions]),
        choices=[choices for _, choices in partitions],
        alignment=limits.alignment,
        constraints=limits,
        shared=limits.groups(where, Geometry()),
        nominal=NOMINAL,
    )


def greedy(*arguments: Any, **constraints: Any) -> Answer:
    return place_greedy(asked(*arguments, **constraints), ENERGY)


def within(one: Limit, model: ErrorModel) -> bool:
    return bool(tolerated([one], [model])[0, 0])


def aligned(size: int) -> int:
    return -(-size // 64) * 64


def feasible(operands: dict[str, tuple[int, Limit]], partitions: list[tuple[int, list[Choice]]]) -> bool:
    """Tries every assignment and every point of every partition."""
    fits: dict[tuple[int, tuple[int, ...]], bool] = {}
    sizes, limits = zip(*operands.values(), strict=True)

    def holds(p: int, inside: tuple[int, ...]) -> bool:
        if (p, inside) not in fits:
            capacity, choices = partitions[p]
            padded = sum(aligned(sizes[k]) for k in inside)
            saved = max((aligned(sizes[k]) - sizes[k] for k in inside), default=0)
            fits[p, inside] = not inside or (
                padded - saved <= capacity
                and any(all(within(limits[k], model) for k in inside) for _, model in choices)
            )
        return fits[p, inside]

    return any(
        all(holds(p, tuple(k for k, home in enumerate(homes) if home == p)) for p in range(len(partitions)))
        for homes in itertools.product(range(len(partitions)), repeat=len(operands))
    )


def random_instance(rng: random.Random) -> tuple[dict[str, tuple[int, Limit]], list[tuple[int, list[Choice]]]]:
    def rate() -> float:
        return float(10.0 ** -rng.randint(1, 5))

    partitions = [(64 * rng.randint(1, 8), [at(1.35, 12.5, 0.0)])]
    for _ in range(rng.randint(0, 2)):
        choices = [
            at(1.35 - 0.1 * rng.randint(0, 2), 12.5 - 2.5 * rng.randint(0, 3), rate(), rng.choice([1.0, 0.5]))
            for _ in range(rng.randint(1, 3))
        ]
        partitions.append((64 * rng.randint(1, 8), choices + [at(1.35, 12.5, 0.0)] * rng.randint(0, 1)))
    operands = {
        f"layer{k}": (rng.randint(1, 300), limit(rate(), rng.choice([1.0, 1.0, 0.5]))) for k in range(rng.randint(1, 5))
    }
    return operands, partitions


def reduction(choice: Choice) -> tuple[float, float, float]:
    point = choice[0]
    return (
        1.0 - point.vdd / 1.35,
        1.0 - (point.trcd + point.trp) / 25.0,
        1.0 - 64.0 / point.refresh_interval,
    )


def test_contracts_hold_and_the_best_is_taken_on_random_instances() -> None:
    rng = random.Random(2019)
    placed = infeasible = 0
    for _ in range(2000):
        operands, partitions = random_instance(rng)
        possible = feasible(operands, partitions)
        infeasible += not possible
        try:
            answer = greedy(operands, partitions)
        except ValueError as error:
            assert "operand layer" in str(error)  # noqa: PT017
            assert not ("larger than every partition" in str(error) and possible)  # noqa: PT017
            continue
        placed += 1
        assert possible
        parts = [part for (part,) in answer.parts]
        sizes, limits = zip(*operands.values(), strict=True)
        for p, (capacity, choices) in enumerate(partitions):
            inside = sorted((part.address_bytes, k) for k, part in enumerate(parts) if part.partition == p)
            chosen = answer.points[p]
            assert (chosen is None) == (not inside)
            for start, k in inside:
                assert chosen is not None
                assert within(limits[k], choices[chosen][1])
                assert start % 64 == 0
                assert start + sizes[k] <= capacity
            for (start, k), (after, _) in itertools.pairwise(inside):
                assert start + sizes[k] <= after

        # From the most to the least tolerant operand again: nothing that it could have taken beats what it took.
        opened: dict[int, int | None] = {}
        used = [0] * len(partitions)
        for k in sorted(range(len(sizes)), key=lambda k: (-limits[k].mean, -sizes[k])):
            mine = parts[k].partition
            taken = answer.points[mine]
            assert taken is not None
            best = reduction(partitions[mine][1][taken])
            for p, (capacity, choices) in enumerate(partitions):
                if aligned(used[p]) + sizes[k] <= capacity:
                    for i, choice in enumerate(choices):
                        if opened.get(p, i) == i and within(limits[k], choice[1]):
                            assert reduction(choice) <= best
            assert aligned(used[mine]) == parts[k].address_bytes
            used[mine] = parts[k].address_bytes + sizes[k]
            opened[mine] = taken
    # Both sides of the contract are met often enough for the loop to mean something.
    assert placed > 250
    assert infeasible > 250


def test_the_most_tolerant_operand_takes_the_most_aggressive_point() -> None:
    points = [at(1.35, 12.5, 0.0), at(1.35, 7.5, 1e-5), at(1.35, 5.0, 1e-2)]
    answer = greedy(
        {"fragile": (100, limit(1e-7)), "middle": (100, limit(1e-4)), "tough": (100, limit(0.05))},
        [(1024, [at(1.35, 12.5, 0.0)]), (1024, points), (1024, points)],
    )
    assert [part.partition for (part,) in answer.parts] == [0, 2, 1]
    assert answer.points == [0, 2, 1]


def test_operands_of_one_tolerance_share_a_partition_aligned() -> None:
    bank = (1024, [at(1.35, 5.0, 1e-2)])
    answer = greedy({"a": (65, limit(0.1)), "b": (64, limit(0.1)), "c": (1, limit(0.1))}, [bank, bank])
    assert [part.address_bytes for (part,) in answer.parts] == [0, 128, 192]
    assert answer.points == [0, None]


def test_each_stored_values_rate_stays_within_its_own_limit() -> None:
    # The mean is within the limit, but the operand was profiled with equal rates.
    skewed = DataDependent(2e-4, 1.8e-3)
    assert not within(limit(1e-3), skewed)
    assert within(limit(1.8e-3), skewed)
    assert within(Limit(1e-3, 2e-4, 1.8e-3), skewed)
    assert not within(Limit(1e-3, 1.8e-3, 2e-4), skewed)
    # A mean above the limit is never let through, not even by rounding.
    assert not within(Limit(math.nextafter(skewed.ber, 0.0), 1.0, 1.0), skewed)
    table = tolerated([limit(0.1), limit(1e-6)], [at(1.35, 12.5, 0.0)[1], at(1.1, 12.5, 1e-2)[1]])
    assert table.tolist() == [[True, True], [True, False]]


def test_the_objective_says_which_parameter_counts_first() -> None:
    question = asked({"a": (1, limit(0.1))}, [(64, [at(1.1, 12.5, 1e-3), at(1.35, 5.0, 1e-3)])])
    assert place_greedy(question, OBJECTIVES["energy"].first).points == [0]
    assert place_greedy(question, OBJECTIVES["latency"].first).points == [1]


def test_the_busier_of_two_equally_tolerant_operands_chooses_first() -> None:
    operands = {"idle": (64, limit(0.1)), "busy": (64, limit(0.1))}
    answer = greedy(operands, [(256, [at(1.35, 12.5, 0.0)]), (64, [at(1.35, 5.0, 1e-3)])], [1.0, 2.0])
    assert [part.partition for (part,) in answer.parts] == [0, 1]


def test_supplies_that_are_shared_and_how_many_voltages_there_are() -> None:
    points = [at(1.35, 12.5, 0.0), at(1.2, 12.5, 1e-4), at(1.1, 12.5, 1e-2)]
    operands = {"tough": (64, limit(0.1)), "middle": (64, limit(1e-3))}
    banks = [(64, points)] * 3
    assert greedy(operands, banks).points == [2, 1, None]
    # One supply for the first two: the second operand goes where it has one of its own.
    together = {"shared_vdd": (("bank0", "bank1"),)}
    assert greedy(operands, banks, **together).points == [2, None, 1]
    # Two voltages, the nominal one included: the second operand stays at it.
    assert greedy(operands, banks, voltages=2).points == [2, 0, None]
    assert greedy(operands, banks, voltages=1).points == [0, 0, None]
    # What holds nothing follows; of the two, where one was never measured at the lowest VDD, both are used or it is.
    tough = {"tough": (64, limit(0.1))}
    assert greedy(tough, [(64, points), (64, points[:2])], **together).points == [2, None]
    # What the first one chose leaves the second no place: the lowest VDD is given up, and all begins anew.
    assert greedy(operands, banks[:2], **together).points == [1, 1]
    assert greedy({**operands, "weak": (64, limit(0.0))}, banks, shared_vdd="module").points == [0, 0, 0]
    slow = at(1.35, 12.5, 1e-2, refresh=128.0)
    both = {"a": (64, limit(0.1)), "b": (64, limit(0.1))}
    # VDD counts first, and at the lower one the second partition has the nominal interval: so has the first.
    where = [(64, [points[0], slow]), (64, [points[0], slow, at(1.1, 12.5, 1e-2)])]
    assert greedy(both, where, shared_refresh=(("bank0", "bank1"),)).points == [0, 2]


def test_operands_start_at_multiples_of_the_alignment() -> None:
    def placed(last: int) -> list[int]:
        operands = {"a": (100, limit(0.1)), "b": (last, limit(0.1))}
        answer = greedy(operands, [(3 * 8192, [at(1.35, 12.5, 0.0)])], alignment=8192)
        return [part.address_bytes for (part,) in answer.parts]

    assert placed(8193) == [2 * 8192, 0]
    with pytest.raises(ValueError, match="cannot be placed"):
        placed(2 * 8192 + 1)


def test_constraints_out_of_range_are_named() -> None:
    where: Any = [Partition("bank0", 64), Partition("bank1", 64)]
    for constraints, message in (
        ({"voltages": 0}, "voltages is 0; allowed is 1 or more"),
        ({"shared_vdd": (("bank0",), ("bank1", "bank0"))}, "shared_vdd: partition bank0 appears twice"),
        ({"shared_vdd": "rank"}, "shared_vdd is 'rank'; allowed are 'module', 'partition', and groups of partitions"),
        ({"shared_refresh": (("bank2",),)}, "shared_refresh names the partition 'bank2'; allowed are bank0, bank1"),
    ):
        with pytest.raises(ValueError, match=message):
            Constraints(**constraints).groups(where, Geometry())  # type: ignore[arg-type]
    for alignment in (96, 0):
        with pytest.raises(ValueError, match=f"alignment is {alignment} bytes; allowed are multiples of 64"):
            Constraints(alignment=alignment).alignment_bytes(None)  # type: ignore[arg-type]
    apart = Constraints(shared_vdd="partition", shared_refresh="partition")
    assert apart.groups(where, Geometry()) == {"vdd": (), "refresh_interval": ()}
    assert Constraints().groups(where, Geometry()) == {"vdd": ((0, 1),), "refresh_interval": ((0, 1),)}
    assert Constraints().groups(where[:1], Geometry()) == {"vdd": (), "refresh_interval": ()}


def test_errors_name_the_operand_and_the_constraint() -> None:
    small = [(100, [at(1.35, 12.5, 0.0)]), (200, [at(1.35, 5.0, 1e-2)])]
    with pytest.raises(ValueError, match=r"operand conv1\.weight \(201 bytes.*larger than .* is bank1 with 200 bytes"):
        greedy({"conv1.weight": (201, limit(0.5))}, small)
    with pytest.raises(ValueError, match=r"operand fc\.input \(64 bytes.*whose BER it tolerates is 36 bytes"):
        greedy({"fc.weight": (60, limit(1e-6)), "fc.input": (64, limit(1e-7))}, small)
    with pytest.raises(ValueError, match="no partition runs, or can still be run, at an operating point"):
        greedy({"conv1.weight": (1, limit(1e-6))}, small[1:])
