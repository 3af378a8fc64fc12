"""The exact placement: the least energy or time by the account of ``savings``, with a bound.

The mathematics is in docs/explanation/placement.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eden.costs.model import CostModel, outcome
from eden.devices.partition import AXES, OperatingPoint
from eden.placement.placement import Optimum, Placement
from eden.placement.program.problem import Assignment, Problem, State, idle_points, undominated
from eden.placement.program.solve import ROUNDING, solve
from eden.placement.question import Answer, Part, Question


@dataclass(frozen=True)
class Costs:
    """What the exact solver counts by."""

    model: CostModel
    platform: str
    energy_weight: float
    """What the share of the energy counts; the share of the time counts the rest of 1."""

    def value_of(self, placement: Placement) -> float:
        """The objective of a placement, 1 within specification."""
        found = outcome(self.model, placement)
        assert found is not None  # bursts are above 0
        weight = self.energy_weight
        return weight * (1.0 - found.energy_reduction) + (1.0 - weight) * found.time_ratio


def place_exact(
    question: Question,
    objective: str,
    costs: Costs,
    start: Placement | None,
    gap: float,
    seconds: float,
) -> Placement:
    """The placement with the least objective.

    Args:
        question: what is to be placed where.
        objective: its name.
        costs: what it counts by.
        start: the greedy placement, None where that solver finds none; what is found is never above it.
        gap: how far above the bound it may be, as a share of it.
        seconds: after which the best placement found so far is taken.

    Raises:
        ValueError: naming the constraint where nothing fits, and for a traffic that moves nothing.
        TimeoutError: if no placement was found in time.

    """
    if costs.model.bursts == 0.0:
        raise ValueError(
            "the traffic moves no bytes; allowed is one operand or more that crosses the interface, or solver='greedy'"
        )
    problem, better = _problem(question, costs.model, costs.energy_weight)
    known = None if start is None else _assignment(question, start, problem, better)
    solved = solve(problem, known, gap, seconds)
    answer = Answer([state.choice for state in solved.assignment.states], _parts(question, solved.assignment))
    found = question.answered("exact", objective, answer)
    value = costs.value_of(found)
    optimum = Optimum(
        value=value,
        bound=min(solved.bound, value),
        gap=max(0.0, value - solved.bound) / value,
        greedy=None if start is None else costs.value_of(start),
        energy_weight=costs.energy_weight,
        time_weight=1.0 - costs.energy_weight,
        platform=costs.platform,
        currents=costs.model.currents.name,
    )
    notes = [*found.notes, f"Objective: {optimum.text(objective)}."]
    if solved.gap > max(gap, ROUNDING):
        best = "the greedy solver's" if value == optimum.greedy else "the best one found until then"
        notes.append(f"The exact solver ended above the gap asked for, after {seconds:g} s at most: this is {best}.")
    return found.model_copy(update={"optimum": optimum, "notes": tuple(notes)})


def _problem(question: Question, model: CostModel, weight: float) -> tuple[Problem, list[list[int]]]:
    """The program's figures, and by partition and choice the one that stands for it there."""
    nominal, capacity, names = question.nominal, question.capacity, question.names
    share = capacity / capacity.sum()
    at_nominal = {name: sum(model.access_nj(name, nominal).values()) for name in model.accesses}
    standby_nj = model.time_ns * (model.background_w(nominal) + model.refresh_w(nominal))
    whole = sum(at_nominal.values()) + model.interface_nj + standby_nj

    def standby(p: int, point: OperatingPoint) -> float:
        power = model.background_w(point) + model.refresh_w(point)
        return float(share[p]) * model.time_ns * power / whole

    used: list[State] = []
    better: list[list[int]] = []
    grouped = {name: {p for group in groups for p in group} for name, groups in question.shared.items()}
    for p, choices in enumerate(question.choices):
        costs = []
        for point, _ in choices:
            mine = []
            if weight > 0.0:
                mine += [model.activation_nj(point), *(model.unit(term, point.vdd) for term in ("read", "write"))]
                mine.append(standby(p, point))
            if model.case.exposed_latency_share > 0.0:
                mine.append(model.waiting_ns(point))
            # Of what must agree between partitions, no value stands for another one, higher or lower.
            kept = [getattr(point, name) for name, members in grouped.items() if p in members]
            if question.constraints.voltages is not None:
                kept.append(point.vdd)
            if question.constraints.split:
                # Another partition may have to meet this one at the very point.
                kept += [along.harshness(point) for along in AXES]
            costs.append([*mine, *kept, *(-value for value in kept)])
        rates = [[errors.ber, errors.ber_zero, errors.ber_one] for _, errors in choices]
        better.append(undominated(np.array(costs, dtype=np.float64), np.array(rates)))
        used += [State(p, choices[i][0], i, standby(p, choices[i][0])) for i in sorted(set(better[p]))]
    idle = []
    for p in range(len(question.choices)):
        # What holds nothing follows its group, whatever it was measured at itself.
        values = [_offered(question, name, p) for name in grouped]
        idle += [State(p, point, None, standby(p, point)) for point in idle_points(nominal, *values)]
    takers = {_taking(state.point): state.point for state in used}
    access = {
        key: [sum(model.access_nj(name, point).values()) / whole for name in names] for key, point in takers.items()
    }
    latencies = {_waiting(state.point): state.point for state in used}
    saved = {key: [model.saved_share(name, point) for name in names] for key, point in latencies.items()}
    shape = (len(names), len(used))
    fixed = model.interface_nj + sum(energy for name, energy in at_nominal.items() if name not in set(names))
    models = [question.choices[state.partition][state.choice or 0][1] for state in used]
    return Problem(
        names=names,
        bytes=question.bytes,
        capacity=capacity,
        used=tuple(used),
        idle=tuple(idle),
        tolerated=question.tolerated(models),
        access=np.array([access[_taking(state.point)] for state in used]).T.reshape(shape),
        saved=np.array([saved[_waiting(state.point)] for state in used]).T.reshape(shape),
        fixed_energy=fixed / whole,
        energy_weight=weight,
        time_weight=1.0 - weight,
        alignment=question.alignment,
        split=question.constraints.split,
        voltages=question.constraints.voltages,
        shared=question.shared,
        nominal=nominal,
    ), better


def _taking(point: OperatingPoint) -> tuple[float, float | None]:
    """What the energy of an access depends on."""
    return point.vdd, point.tras


def _waiting(point: OperatingPoint) -> tuple[float, float, float | None]:
    """What the time of an access depends on."""
    return point.trcd, point.trp, point.tras


def _offered(question: Question, parameter: str, p: int) -> list[float]:
    """What a partition may rest at: the nominal value, and those of the partitions that it shares it with."""
    group = next((group for group in question.shared[parameter] if p in group), ())
    offered = {getattr(point, parameter) for member in group for point, _ in question.choices[member]}
    return sorted({getattr(question.nominal, parameter), *offered})


def _assignment(question: Question, start: Placement, problem: Problem, better: list[list[int]]) -> Assignment:
    """A placement of whole operands in the program's terms, each choice replaced by the one that stands for it."""
    index = {partition.name: p for p, partition in enumerate(question.partitions)}
    used = {(state.partition, state.choice): state for state in problem.used}
    states = []
    for name, placed in start.partitions.items():
        p = index[name]
        if placed.used_bytes:
            choice = next(i for i, (point, _) in enumerate(question.choices[p]) if point == placed.operating_point)
            states.append(used[p, better[p][choice]])
        else:
            states.append(
                next(s for s in problem.idle if s.partition == p and s.point == placed.operating_point),
            )
    pieces = [
        ((index[operand.partition], int(units)),)
        for operand, units in zip(start.operands.values(), problem.units, strict=True)
    ]
    return Assignment(tuple(states), tuple(pieces))


def _parts(question: Question, assignment: Assignment) -> list[list[Part]]:
    """Each operand's parts: in a partition one behind the other, the most padded one last."""
    unit = question.alignment
    inside: dict[int, list[tuple[int, int, int]]] = {}
    for k, pieces in enumerate(assignment.pieces):
        left = int(question.bytes[k])
        for i, (p, units) in enumerate(pieces):
            size = min(left, units * unit)
            inside.setdefault(p, []).append((k, i, size))
            left -= size
    parts = [[Part(0, 0, 0)] * len(pieces) for pieces in assignment.pieces]
    for p, mine in inside.items():
        address = 0
        for k, i, size in sorted(mine, key=lambda found: -found[2] % unit):
            parts[k][i] = Part(p, address, size)
            address += -(-size // unit) * unit
    return parts
