"""Does more tolerance never cost, and is what is free told apart from what tolerance adds?"""

import dataclasses
import random
from types import SimpleNamespace

import placements
import pytest
from chain import bank_points, cold, device, tolerance

import eden
from eden.memory.errors import DataDependent


def test_more_tolerance_never_costs():
    """Random devices, constraints, sizes and limits; one operand or all of them then tolerate more."""
    rng = random.Random(22)
    compared = 0
    for _ in range(60):
        one = placements.random_instance(rng, rng.random() < 0.3)
        names = list(one.tolerance.limits)
        raised = set(rng.sample(names, rng.randint(1, len(names))))
        factor = 10.0 ** rng.uniform(0.1, 3.0)
        limits = {
            name: max(limit, min(0.3, limit * factor)) if name in raised else limit
            for name, limit in one.tolerance.limits.items()
        }
        models = {name: model.scaled(limits[name]) for name, model in one.tolerance.memory.items()}
        more = dataclasses.replace(
            one, tolerance=SimpleNamespace(**{**vars(one.tolerance), "limits": limits, "memory": models})
        )
        try:
            before = one.place("exact")
        except ValueError:
            continue  # the sizes do not fit, whatever is tolerated
        after = more.place("exact")
        assert before.optimum is not None
        assert after.optimum is not None
        assert after.optimum.value <= before.optimum.value * (1.0 + 1e-6)
        assert after.free == before.free
        compared += 1
    assert compared > 15


@pytest.mark.parametrize("vdd", [1.35, 1.1])
def test_what_is_free_is_told_apart(vdd: float):
    points = bank_points(vdd)
    where = device(banks=3)
    where = dataclasses.replace(
        where,
        partitions=tuple(
            dataclasses.replace(part, points=(*points, placements.Point(vdd=vdd, errors=DataDependent(0.0, 0.0))))
            if not part.nominal
            else part
            for part in where.partitions
        ),
    )
    operands = tolerance({"fc.weight": 2e-2, "fc.input": 1e-9})
    placement = eden.place(operands, where)
    assert placement.solver == "exact"
    saved = eden.savings(cold(operands_of(operands)), placement)
    assert saved.free is not None
    assert (saved.free.energy_reduction > 0.05) == (vdd < 1.35)
    assert saved.energy_reduction > saved.free.energy_reduction
    assert saved.energy_by_tolerance == saved.energy_reduction - saved.free.energy_reduction
    assert "free, at points without errors" in saved.table()
    nothing = eden.place(tolerance({"fc.weight": 1e-9, "fc.input": 1e-9}), where)
    alone = eden.savings(cold(operands_of(operands)), nothing)
    assert alone.energy_by_tolerance == 0.0
    assert alone.free == saved.free


def operands_of(found: eden.Tolerance) -> dict[str, object]:
    """Operands as the traffic reads them."""
    return {name: SimpleNamespace(bytes=found.bytes[name], kind=found.kinds[name]) for name in found.limits}
