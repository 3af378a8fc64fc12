"""A mixed-integer program on HiGHS, through SciPy; states of partitions and supplies, which every form of it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from eden.placement.program.problem import Floats, InfeasibleError, Problem, State

Term = tuple[int | Sequence[int], float | Sequence[float]]
"""A column, or several, times a factor, or one for each."""


class Program:
    """A mixed-integer program under construction: variables with costs and bounds, and constraints row by row."""

    def __init__(self) -> None:
        self._cost: list[float] = []
        self._high: list[float] = []
        self._whole: list[int] = []
        self._rows: list[int] = []
        self._columns: list[int] = []
        self._values: list[float] = []
        self._least: list[float] = []
        self._most: list[float] = []

    def variables(self, costs: Sequence[float] | Floats, high: float = 1.0, whole: bool = True) -> list[int]:
        """Variables from 0 to ``high``; their columns."""
        start = len(self._cost)
        self._cost += [float(cost) for cost in costs]
        self._high += [high] * len(costs)
        self._whole += [int(whole)] * len(costs)
        return list(range(start, len(self._cost)))

    def row(self, low: float, high: float, *terms: Term) -> None:
        """The sum of the terms lies within ``low`` and ``high``."""
        for columns, factors in terms:
            mine = [columns] if isinstance(columns, int) else columns
            self._columns += mine
            self._values += [factors] * len(mine) if isinstance(factors, (int, float)) else factors
            self._rows += [len(self._least)] * len(mine)
        self._least.append(low)
        self._most.append(high)

    def equal(self, value: float, *terms: Term) -> None:
        """The sum of the terms is a value."""
        self.row(value, value, *terms)

    def at_most(self, value: float, *terms: Term) -> None:
        """The sum of the terms is no more than a value."""
        self.row(-np.inf, value, *terms)

    def at_least(self, value: float, *terms: Term) -> None:
        """The sum of the terms is no less than a value."""
        self.row(value, np.inf, *terms)

    def solve(self, gap: float, seconds: float, relaxed: bool = False) -> tuple[Floats | None, float | None]:
        """The best found, and a lower bound of the objective. Raises InfeasibleError where there is none."""
        shape = (len(self._least), len(self._cost))
        matrix = scipy.sparse.csr_array((self._values, (self._rows, self._columns)), shape=shape, dtype=np.float64)
        found = scipy.optimize.milp(
            np.array(self._cost),
            integrality=np.zeros(len(self._cost)) if relaxed else np.array(self._whole),
            bounds=scipy.optimize.Bounds(0.0, np.array(self._high)),
            constraints=scipy.optimize.LinearConstraint(matrix, self._least, self._most),
            options={"mip_rel_gap": gap, "time_limit": seconds},
        )
        if found.status == 2:
            raise InfeasibleError("no placement")
        bound = found.mip_dual_bound
        if bound is None and found.status == 0:
            bound = found.fun
        return (None if found.x is None else np.asarray(found.x)), bound


@dataclass(frozen=True)
class States:
    """Columns of the states of the partitions."""

    used: list[int]
    idle: list[int]


def add_states(problem: Problem, program: Program, save: dict[int, float], exact_product: bool) -> States:
    """One state for each partition, with its standby energy and what the supplies allow.

    ``save`` gives, by column, the part of the time that a variable saves. Standby is energy over the time of the
    inference, so its cost is the product of the states' sum and of the time. Exactly, that is a part of the time per
    state, which is 0 where the state is not chosen and the time where it is; else the product's lower envelope over
    the ranges of both (McCormick), two rows that no placement is below.
    """
    weight = problem.energy_weight
    states = (*problem.used, *problem.idle)
    timed = weight > 0.0 and bool(save)
    columns = program.variables([0.0 if timed else weight * state.standby for state in states])
    choice = States(columns[: len(problem.used)], columns[len(problem.used) :])
    of_partition: dict[int, list[int]] = {}
    for i, state in enumerate(states):
        of_partition.setdefault(state.partition, []).append(i)
    for mine in of_partition.values():
        program.equal(1.0, ([columns[i] for i in mine], 1.0))
    if timed:
        longest = 1.0 + sum(-value for value in save.values() if value < 0.0)
        best = np.where(problem.tolerated, problem.saved, 0.0).max(axis=1, initial=0.0)
        shortest = max(0.0, 1.0 - sum(best.tolist()))
        duration = program.variables([0.0], high=longest, whole=False)[0]
        program.equal(1.0, (duration, 1.0), (list(save), list(save.values())))
    if timed and not exact_product:
        standby = [state.standby for state in states]
        least = sum(min(standby[i] for i in mine) for mine in of_partition.values())
        most = sum(max(standby[i] for i in mine) for mine in of_partition.values())
        product = program.variables([weight], high=longest * most, whole=False)[0]
        for at_time, at_sum in ((shortest, least), (longest, most)):
            spent = [-at_time * value for value in standby]
            program.at_least(-at_time * at_sum, (product, 1.0), (duration, -at_sum), (columns, spent))
    elif timed:
        parts = program.variables([weight * state.standby for state in states], high=longest, whole=False)
        for mine in of_partition.values():
            program.equal(0.0, (duration, -1.0), ([parts[i] for i in mine], 1.0))
        for column, part in zip(columns, parts, strict=True):
            program.at_most(0.0, (part, 1.0), (column, -longest))
            program.at_least(0.0, (part, 1.0), (column, -shortest))
    _supplies(problem, program, choice)
    return choice


def _supplies(problem: Problem, program: Program, choice: States) -> None:
    if problem.voltages is not None:
        others = sorted({state.point.vdd for state in problem.used} - {problem.nominal.vdd})
        driven = program.variables([0.0] * len(others))
        program.at_most(problem.voltages - 1, (driven, 1.0))
        column_of = dict(zip(others, driven, strict=True))
        for state, column in zip(problem.used, choice.used, strict=True):
            if state.point.vdd in column_of:
                program.at_most(0.0, (column, 1.0), (column_of[state.point.vdd], -1.0))
    for name, groups in problem.shared.items():
        for group in groups:
            members = set(group)
            used = [(s, c) for s, c in zip(problem.used, choice.used, strict=True) if s.partition in members]
            idle = [(s, c) for s, c in zip(problem.idle, choice.idle, strict=True) if s.partition in members]
            values = sorted({getattr(state.point, name) for state, _ in (*used, *idle)})
            taken = program.variables([0.0] * len(values))
            program.equal(1.0, (taken, 1.0))
            for value, column in zip(values, taken, strict=True):
                at = [c for s, c in used if getattr(s.point, name) == value]
                resting = [c for s, c in idle if getattr(s.point, name) == value]
                program.equal(0.0, ([*at, *resting], 1.0), (column, -len(members)))
                # Nothing is lowered for idle partitions alone.
                if value != getattr(problem.nominal, name):
                    program.at_least(0.0, (at, 1.0), (column, -1.0))


def time_saved(problem: Problem, columns: Sequence[int], saved: Floats) -> dict[int, float]:
    """Of each column, the part of the time that it saves, where it saves or costs some."""
    return {column: float(value) for column, value in zip(columns, saved, strict=True) if value != 0.0}


def chosen_states(problem: Problem, choice: States, solution: Floats) -> tuple[State, ...]:
    """Of each partition, the state that the solution has most of."""
    chosen: dict[int, State] = {}
    most = [-1.0] * len(problem.capacity)
    for state, column in zip((*problem.used, *problem.idle), (*choice.used, *choice.idle), strict=True):
        if solution[column] > most[state.partition]:
            chosen[state.partition], most[state.partition] = state, float(solution[column])
    return tuple(chosen[p] for p in range(len(problem.capacity)))
