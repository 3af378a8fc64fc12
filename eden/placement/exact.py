"""The exact placement: a mixed-integer program of energy and time on HiGHS, through SciPy (docs/placement.md)."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from eden._core import OPERAND_ALIGNMENT
from eden.devices.partition import OperatingPoint

# Fewer pairs of an operand and a state of a partition than this are decided pair by pair from the start.
_DIRECT_PAIRS = 3000
# More pairs than these are not worth while once a placement and a bound are known.
_MOST_PAIRS = 200_000
# Of what is left of the time, each program gets this much at least.
_LEAST_SECONDS = 1.0
# More states than this, and the relaxation bounds the product of time and standby instead of following it.
_EXACT_PRODUCT_STATES = 500
# Of the objective, which is 1 within specification: what the solver's own tolerances may move.
ROUNDING = 1e-9

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class State:
    """A partition at one of its operating points, holding operands or idle."""

    partition: int
    point: OperatingPoint
    choice: int | None
    """Index among the partition's choices; None: it holds nothing."""
    standby: float
    """Part of the energy within specification that its background and refresh take at the nominal time."""


@dataclass(frozen=True)
class Problem:
    """Operands, partitions, what each pair costs, and what the supplies allow.

    Costs are parts of the whole within specification: access energies and standby over the energy of an inference
    there, time shares over its time. The objective is energy_weight E + time_weight T, 1 within specification where
    the weights sum to 1.
    """

    names: tuple[str, ...]
    """Of the operands."""
    bytes: NDArray[np.int64]
    """[operands]"""
    capacity: NDArray[np.int64]
    """[partitions], bytes"""
    used: tuple[State, ...]
    """States that hold operands."""
    idle: tuple[State, ...]
    """States that hold none; one at the nominal point for every partition."""
    tolerated: Flags
    """[operands, used states]"""
    access: Floats
    """[operands, used states]: part of the energy that the operand's accesses take there."""
    saved: Floats
    """[operands, used states]: part of the time that they save there."""
    fixed_energy: float
    """Part of the energy that no placement changes."""
    energy_weight: float
    time_weight: float
    alignment: int
    split: bool
    voltages: int | None
    shared_vdd: tuple[tuple[int, ...], ...]
    shared_refresh: tuple[tuple[int, ...], ...]
    nominal: OperatingPoint

    @property
    def units(self) -> NDArray[np.int64]:
        """[operands]: bytes in units of the alignment, rounded up."""
        return -(-self.bytes // self.alignment)

    @property
    def room(self) -> NDArray[np.int64]:
        """[partitions]: whole units of the alignment that fit."""
        return self.capacity // self.alignment

    @property
    def tail(self) -> NDArray[np.int64]:
        """[partitions]: bytes behind the last whole unit, which a whole operand may end in."""
        return self.capacity % self.alignment


@dataclass(frozen=True)
class Assignment:
    """A placement by indices."""

    states: tuple[State, ...]
    """Of each partition."""
    pieces: tuple[tuple[tuple[int, int], ...], ...]
    """Of each operand: partitions with the units that it takes there; one where it is whole."""


@dataclass(frozen=True)
class Solved:
    """An assignment with its objective and the bound that no placement is below."""

    assignment: Assignment
    value: float
    bound: float

    @property
    def gap(self) -> float:
        """How far the objective may be above the optimum, as a share of it."""
        return max(0.0, self.value - self.bound) / self.value


class InfeasibleError(ValueError):
    """No placement keeps the constraints: the message names the constraint and the nearest relaxation that works."""


class _Rows:
    """Constraints of a program, gathered row by row."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._columns: list[int] = []
        self._values: list[float] = []
        self._low: list[float] = []
        self._high: list[float] = []

    def add(self, columns: Sequence[int], values: Sequence[float], low: float, high: float) -> None:
        row = len(self._low)
        self._rows += [row] * len(columns)
        self._columns += columns
        self._values += values
        self._low.append(low)
        self._high.append(high)

    def constraint(self, variables: int) -> scipy.optimize.LinearConstraint:
        matrix = scipy.sparse.csr_array(
            (self._values, (self._rows, self._columns)), shape=(len(self._low), variables), dtype=np.float64
        )
        return scipy.optimize.LinearConstraint(matrix, self._low, self._high)


class _Program:
    """A mixed-integer program under construction: variables with costs and bounds, and rows."""

    def __init__(self) -> None:
        self.cost: list[float] = []
        self._high: list[float] = []
        self._whole: list[int] = []
        self.rows = _Rows()

    def variables(self, costs: Sequence[float] | Floats, high: float = 1.0, whole: bool = True) -> list[int]:
        """Variables from 0 to ``high``; their columns."""
        start = len(self.cost)
        self.cost += [float(cost) for cost in costs]
        self._high += [high] * len(costs)
        self._whole += [int(whole)] * len(costs)
        return list(range(start, len(self.cost)))

    def solve(self, gap: float, seconds: float, relaxed: bool = False) -> tuple[Floats | None, float | None, bool]:
        """The best found, a lower bound of the objective, and whether the program is infeasible."""
        found = scipy.optimize.milp(
            np.array(self.cost),
            integrality=np.zeros(len(self.cost)) if relaxed else np.array(self._whole),
            bounds=scipy.optimize.Bounds(0.0, np.array(self._high)),
            constraints=self.rows.constraint(len(self.cost)),
            options={"mip_rel_gap": gap, "time_limit": seconds},
        )
        infeasible = found.status == 2
        bound = found.mip_dual_bound
        if bound is None and found.status == 0:
            bound = found.fun
        return (None if found.x is None else np.asarray(found.x)), bound, infeasible


@dataclass(frozen=True)
class _Choice:
    """Columns of the states of the partitions."""

    used: list[int]
    idle: list[int]


def _states(problem: Problem, program: _Program, save: dict[int, float], exact_product: bool) -> _Choice:
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
    choice = _Choice(columns[: len(problem.used)], columns[len(problem.used) :])
    of_partition: dict[int, list[int]] = {}
    for i, state in enumerate(states):
        of_partition.setdefault(state.partition, []).append(i)
    for mine in of_partition.values():
        program.rows.add([columns[i] for i in mine], [1.0] * len(mine), 1.0, 1.0)
    if timed:
        longest = 1.0 + sum(-value for value in save.values() if value < 0.0)
        best: dict[int, float] = {}
        for k in range(len(problem.bytes)):
            allowed = problem.saved[k][problem.tolerated[k]]
            best[k] = max(0.0, float(allowed.max(initial=0.0)))
        shortest = max(0.0, 1.0 - sum(best.values()))
        duration = program.variables([0.0], high=longest, whole=False)[0]
        program.rows.add([duration, *save], [1.0, *save.values()], 1.0, 1.0)
    if timed and not exact_product:
        standby = [state.standby for state in states]
        least = sum(min(standby[i] for i in mine) for mine in of_partition.values())
        most = sum(max(standby[i] for i in mine) for mine in of_partition.values())
        product = program.variables([weight], high=longest * most, whole=False)[0]
        for at_time, at_sum in ((shortest, least), (longest, most)):
            program.rows.add(
                [product, duration, *columns],
                [1.0, -at_sum, *(-at_time * value for value in standby)],
                -at_time * at_sum,
                np.inf,
            )
    elif timed:
        parts = program.variables([weight * state.standby for state in states], high=longest, whole=False)
        for mine in of_partition.values():
            program.rows.add([duration, *(parts[i] for i in mine)], [-1.0, *[1.0] * len(mine)], 0.0, 0.0)
        for column, part in zip(columns, parts, strict=True):
            program.rows.add([part, column], [1.0, -longest], -np.inf, 0.0)
            program.rows.add([part, column], [1.0, -shortest], 0.0, np.inf)
    _supplies(problem, program, choice)
    return choice


def _supplies(problem: Problem, program: _Program, choice: _Choice) -> None:
    if problem.voltages is not None:
        others = sorted({state.point.vdd for state in problem.used} - {problem.nominal.vdd})
        driven = program.variables([0.0] * len(others))
        program.rows.add(driven, [1.0] * len(driven), 0.0, problem.voltages - 1)
        column_of = dict(zip(others, driven, strict=True))
        for state, column in zip(problem.used, choice.used, strict=True):
            if state.point.vdd in column_of:
                program.rows.add([column, column_of[state.point.vdd]], [1.0, -1.0], -np.inf, 0.0)
    for name, groups in (("vdd", problem.shared_vdd), ("refresh_interval", problem.shared_refresh)):
        for group in groups:
            members = set(group)
            used = [(s, c) for s, c in zip(problem.used, choice.used, strict=True) if s.partition in members]
            idle = [(s, c) for s, c in zip(problem.idle, choice.idle, strict=True) if s.partition in members]
            values = sorted({getattr(state.point, name) for state, _ in (*used, *idle)})
            taken = program.variables([0.0] * len(values))
            program.rows.add(taken, [1.0] * len(taken), 1.0, 1.0)
            for value, column in zip(values, taken, strict=True):
                at = [c for s, c in used if getattr(s.point, name) == value]
                resting = [c for s, c in idle if getattr(s.point, name) == value]
                program.rows.add(
                    [*at, *resting, column], [*[1.0] * (len(at) + len(resting)), -float(len(members))], 0.0, 0.0
                )
                # Nothing is lowered for idle partitions alone.
                if value != getattr(problem.nominal, name):
                    program.rows.add([*at, column], [*[1.0] * len(at), -1.0], 0.0, np.inf)


def _pair_cost(problem: Problem) -> Floats:
    """[operands, used states]: what the objective takes for the pair, standby over the time that it saves apart."""
    cost: Floats = problem.energy_weight * problem.access - problem.time_weight * problem.saved
    return cost


def _times(problem: Problem, columns: Sequence[int], saved: Floats) -> dict[int, float]:
    return {column: float(value) for column, value in zip(columns, saved, strict=True) if value != 0.0}


def _offset(problem: Problem) -> float:
    return problem.energy_weight * problem.fixed_energy + problem.time_weight


def evaluate(problem: Problem, assignment: Assignment) -> float:
    """The objective of an assignment."""
    of_state = {(s.partition, s.choice): i for i, s in enumerate(problem.used)}
    access = saved = 0.0
    for k, pieces in enumerate(assignment.pieces):
        partition = pieces[0][0]
        s = of_state[partition, assignment.states[partition].choice]
        access += float(problem.access[k, s])
        saved += float(problem.saved[k, s])
    standby = sum(state.standby for state in assignment.states)
    time = 1.0 - saved
    return problem.energy_weight * (problem.fixed_energy + access + time * standby) + problem.time_weight * time


def _levels(problem: Problem) -> list[list[int]]:
    """Used states by operating point."""
    levels: dict[tuple[float, ...], list[int]] = {}
    for i, state in enumerate(problem.used):
        point = state.point
        levels.setdefault((point.vdd, point.trcd, point.trp, point.refresh_interval), []).append(i)
    return list(levels.values())


def _pairwise(problem: Problem, gap: float, seconds: float) -> tuple[Assignment | None, float | None]:
    """Every pair of an operand and a state as a variable of its own: exact, and large."""
    program = _Program()
    pairs = np.argwhere(problem.tolerated)
    costs = _pair_cost(problem)[pairs[:, 0], pairs[:, 1]]
    saved = problem.saved[pairs[:, 0], pairs[:, 1]]
    of_operand: list[list[int]] = [[] for _ in problem.bytes]
    of_state: list[list[int]] = [[] for _ in problem.used]
    for i, (k, s) in enumerate(pairs):
        of_operand[k].append(i)
        of_state[s].append(i)
    if problem.split:
        # An operand is at one operating point, and in units in its partitions.
        level_of = {s: level for level, states in enumerate(_levels(problem)) for s in states}
        at: dict[tuple[int, int], list[int]] = {}
        for i, (k, s) in enumerate(pairs):
            at.setdefault((int(k), level_of[int(s)]), []).append(i)
        firsts = [members[0] for members in at.values()]
        chosen = dict(zip(at, program.variables(costs[firsts]), strict=True))
        columns = program.variables(np.zeros(len(pairs)), high=float(problem.units.max()))
        save = _times(problem, list(chosen.values()), saved[firsts])
        choice = _states(problem, program, save, exact_product=True)
        for k in range(len(problem.bytes)):
            mine = [column for (operand, _), column in chosen.items() if operand == k]
            program.rows.add(mine, [1.0] * len(mine), 1.0, 1.0)
        for (k, _), members in at.items():
            taken = [columns[i] for i in members]
            program.rows.add([*taken, chosen[k, _]], [*[1.0] * len(taken), -float(problem.units[k])], 0.0, 0.0)
    else:
        columns = program.variables(costs)
        choice = _states(problem, program, _times(problem, columns, saved), exact_product=True)
        for members in of_operand:
            program.rows.add([columns[i] for i in members], [1.0] * len(members), 1.0, 1.0)
        for i, (_, s) in enumerate(pairs):
            program.rows.add([columns[i], choice.used[s]], [1.0, -1.0], -np.inf, 0.0)
    for s, state in enumerate(problem.used):
        inside = [columns[i] for i in of_state[s]]
        held = [1.0 if problem.split else float(problem.units[pairs[i, 0]]) for i in of_state[s]]
        room = float(problem.room[state.partition])
        if not problem.split and problem.tail[state.partition]:
            # One whole operand may end behind the last whole unit if its own last unit is not longer than that.
            ends = [
                columns[i]
                for i in of_state[s]
                if 0 < problem.bytes[pairs[i, 0]] % problem.alignment <= problem.tail[state.partition]
            ]
            extra = program.variables([0.0])[0]
            program.rows.add([extra, *ends], [1.0, *[-1.0] * len(ends)], -np.inf, 0.0)
            program.rows.add([*inside, choice.used[s], extra], [*held, -room, -1.0], -np.inf, 0.0)
        else:
            program.rows.add([*inside, choice.used[s]], [*held, -room], -np.inf, 0.0)
        program.rows.add([*inside, choice.used[s]], [*[1.0] * len(inside), -1.0], 0.0, np.inf)
    solution, bound, infeasible = program.solve(gap, seconds)
    if infeasible:
        raise InfeasibleError("no placement")
    if bound is not None:
        bound += _offset(problem)
    if solution is None:
        return None, bound
    states = _chosen_states(problem, choice, solution)
    pieces: list[list[tuple[int, int]]] = [[] for _ in problem.bytes]
    for i, (k, s) in enumerate(pairs):
        units = round(solution[columns[i]])
        if units:
            pieces[k].append((problem.used[s].partition, units if problem.split else int(problem.units[k])))
    return Assignment(states, tuple(tuple(piece) for piece in pieces)), bound


def _chosen_states(problem: Problem, choice: _Choice, solution: Floats) -> tuple[State, ...]:
    chosen: dict[int, State] = {}
    most = [-1.0] * len(problem.capacity)
    for state, column in zip((*problem.used, *problem.idle), (*choice.used, *choice.idle), strict=True):
        if solution[column] > most[state.partition]:
            chosen[state.partition], most[state.partition] = state, float(solution[column])
    return tuple(chosen[p] for p in range(len(problem.capacity)))


@dataclass(frozen=True)
class _Pooled:
    """A solution that says at which operating point an operand lies, and not in which partition."""

    states: tuple[State, ...]
    level: list[int]
    """Of each operand, an index of ``_levels``."""
    shares: tuple[float, ...]
    """Of each used and then each idle state; 0 or 1 but for the linear program."""


def _pooled(problem: Problem, gap: float, seconds: float, relaxed: bool) -> tuple[_Pooled | None, float | None]:
    """A relaxation: operands choose operating points, and the partitions at a point have to have room together.

    Operands that tolerate only some of the partitions at a point have to find room in those (Hall's condition, on the
    sets of states that operands tolerate), and every partition in use has to have an operand that tolerates it. Where
    these sets are nested, as they are where the mean rates decide, an operand that may be split meets no other
    obstacle; whole operands meet that of their sizes. ``relaxed`` takes the linear program instead and the largest
    share of each choice: quicker, and its bound holds as well.
    """
    program = _Program()
    levels = _levels(problem)
    pair_cost = _pair_cost(problem)
    rows: list[tuple[int, int, int]] = []  # level, operand, column
    save: dict[int, float] = {}
    for level, states in enumerate(levels):
        some = np.flatnonzero(problem.tolerated[:, states].any(axis=1))
        columns = program.variables(pair_cost[some, states[0]])
        save.update(_times(problem, columns, problem.saved[some, states[0]]))
        rows += [(level, int(k), column) for k, column in zip(some, columns, strict=True)]
    of_operand: list[list[int]] = [[] for _ in problem.bytes]
    of_level: list[list[tuple[int, int]]] = [[] for _ in levels]
    for level, k, column in rows:
        of_operand[k].append(column)
        of_level[level].append((k, column))
    for mine in of_operand:
        program.rows.add(mine, [1.0] * len(mine), 1.0, 1.0)
    choice = _states(problem, program, save, exact_product=len(problem.used) <= _EXACT_PRODUCT_STATES)
    units = problem.units
    room = problem.room + (problem.tail > 0) * (not problem.split)
    for level, states in enumerate(levels):
        classes: dict[bytes, list[tuple[int, int]]] = {}
        for k, column in of_level[level]:
            classes.setdefault(problem.tolerated[k, states].tobytes(), []).append((k, column))
        sets = [np.frombuffer(key, dtype=np.bool_) for key in classes]
        members = list(classes.values())
        held = program.variables([0.0] * len(sets), high=float(units.sum()), whole=False)
        present = program.variables([0.0] * len(sets), high=float(units.sum()), whole=False)
        for i, inside in enumerate(members):
            columns = [column for _, column in inside]
            program.rows.add([*columns, held[i]], [*(float(units[k]) for k, _ in inside), -1.0], 0.0, 0.0)
            program.rows.add([*columns, present[i]], [*[1.0] * len(columns), -1.0], 0.0, 0.0)
        # An operand that is split is in as many partitions as it has units, a whole one in one.
        covering = held if problem.split else present
        for position, s in enumerate(states if problem.split else ()):
            takers = [present[i] for i, within in enumerate(sets) if within[position]]
            program.rows.add([choice.used[s], *takers], [1.0, *[-1.0] * len(takers)], -np.inf, 0.0)
        for within in sets:
            inner = [i for i, other in enumerate(sets) if not (other & ~within).any()]
            allowed = [s for s, inside in zip(states, within, strict=True) if inside]
            program.rows.add(
                [*(held[i] for i in inner), *(choice.used[s] for s in allowed)],
                [*[1.0] * len(inner), *(-float(room[problem.used[s].partition]) for s in allowed)],
                -np.inf,
                0.0,
            )
            outer = [i for i in range(len(sets)) if i not in set(inner)]
            others = [s for s, inside in zip(states, within, strict=True) if not inside]
            if others:
                program.rows.add(
                    [*(choice.used[s] for s in others), *(covering[i] for i in outer)],
                    [*[1.0] * len(others), *[-1.0] * len(outer)],
                    -np.inf,
                    0.0,
                )
        program.rows.add(
            [*(choice.used[s] for s in states), *covering],
            [*[1.0] * len(states), *[-1.0] * len(covering)],
            -np.inf,
            0.0,
        )
    solution, bound, infeasible = program.solve(gap, seconds, relaxed)
    if infeasible:
        raise InfeasibleError("no placement")
    if bound is not None:
        bound += _offset(problem)
    if solution is None:
        return None, bound
    level_of = [0] * len(problem.bytes)
    most = [-1.0] * len(problem.bytes)
    for level, k, column in rows:
        if solution[column] > most[k]:
            level_of[k], most[k] = level, float(solution[column])
    shares = tuple(float(solution[column]) for column in (*choice.used, *choice.idle))
    return _Pooled(_chosen_states(problem, choice, solution), level_of, shares), bound


def _narrowed(problem: Problem, pooled: _Pooled) -> Problem:
    """The problem with the supplies set as the linear program prefers, so that every choice that is left keeps them."""
    states = (*problem.used, *problem.idle)
    weight: dict[float, float] = {}
    for state, share in zip(states, pooled.shares, strict=True):
        weight[state.point.vdd] = weight.get(state.point.vdd, 0.0) + share
    nominal = problem.nominal
    driven = set(weight)
    if problem.voltages is not None:
        others = sorted(driven - {nominal.vdd}, key=lambda vdd: -weight[vdd])
        driven = {nominal.vdd, *others[: problem.voltages - 1]}
    allowed = [state.point.vdd in driven for state in states]
    for name, groups in (("vdd", problem.shared_vdd), ("refresh_interval", problem.shared_refresh)):
        for group in groups:
            inside = [i for i, state in enumerate(states) if state.partition in group]
            shares: dict[float, float] = {}
            offering: dict[float, set[int]] = {}
            for i in inside:
                value = getattr(states[i].point, name)
                shares[value] = shares.get(value, 0.0) + pooled.shares[i]
                if allowed[i] and i < len(problem.used):
                    offering.setdefault(value, set()).add(states[i].partition)
            common = [value for value, offers in offering.items() if offers == set(group)]
            taken = max(common, key=lambda value: shares[value], default=getattr(nominal, name))
            for i in inside:
                allowed[i] = allowed[i] and getattr(states[i].point, name) == taken
    used = [i for i in range(len(problem.used)) if allowed[i]]
    return dataclasses.replace(
        problem,
        used=tuple(problem.used[i] for i in used),
        idle=tuple(state for state, kept in zip(problem.idle, allowed[len(problem.used) :], strict=True) if kept),
        tolerated=problem.tolerated[:, used],
        access=problem.access[:, used],
        saved=problem.saved[:, used],
        voltages=None,
        shared_vdd=(),
        shared_refresh=(),
    )


def _keeps_supplies(problem: Problem, assignment: Assignment) -> bool:
    """Whether no supply is lowered for idle partitions alone; all else an assignment keeps by its making."""
    for name, groups in (("vdd", problem.shared_vdd), ("refresh_interval", problem.shared_refresh)):
        for group in groups:
            inside = [assignment.states[p] for p in group]
            lowered = any(getattr(state.point, name) != getattr(problem.nominal, name) for state in inside)
            if lowered and all(state.choice is None for state in inside):
                return False
    return True


def _by_size(problem: Problem) -> Assignment | None:
    """A placement that looks at room alone, or None: the largest operand first, each to where it is tightest.

    Each partition then takes the best state that all of its operands tolerate, if no supply has a say in it.
    """
    nominal = [next(i for i in problem.idle if i.partition == p and i.point == problem.nominal) for p in _all(problem)]
    bins = _Bins(problem, nominal)
    for k in sorted(range(len(problem.bytes)), key=lambda k: (-int(problem.units[k]), -int(problem.bytes[k]), k)):
        if problem.split:
            rest = int(problem.units[k])
            for p in _all(problem):
                units = min(rest, int(bins.free[p]))
                if units:
                    bins.put(k, p, units)
                    rest -= units
            continue
        roomy = [p for p in _all(problem) if bins.fits(k, p)]
        if not roomy:
            return None
        bins.put(k, min(roomy, key=lambda p: (bins.free[p], p)), int(problem.units[k]))
    inside: list[list[int]] = [[] for _ in _all(problem)]
    for k, pieces in bins.pieces.items():
        for p, _ in pieces:
            inside[p].append(k)
    cost = _pair_cost(problem)
    bound_to_nominal = problem.split or problem.voltages is not None or problem.shared_vdd or problem.shared_refresh
    states = []
    for p, members in enumerate(inside):
        allowed = [
            (float(problem.energy_weight * state.standby + cost[members, s].sum()), s)
            for s, state in enumerate(problem.used)
            if state.partition == p
            and problem.tolerated[members, s].all()
            and (not bound_to_nominal or state.point == problem.nominal)
        ]
        if members and not allowed:
            return None
        states.append(problem.used[min(allowed)[1]] if members else nominal[p])
    return Assignment(tuple(states), tuple(tuple(bins.pieces[k]) for k in range(len(problem.bytes))))


def _all(problem: Problem) -> range:
    return range(len(problem.capacity))


def _packings(problem: Problem, pooled: _Pooled) -> list[Assignment]:
    """Placements from one relaxed solution: of operands that may be split, also one of whole operands."""
    ways = [problem]
    if problem.split:
        ways.append(dataclasses.replace(problem, split=False, capacity=problem.room * problem.alignment))
    return [packed for way in ways if (packed := _pack(way, pooled)) is not None]


def _rounded(problem: Problem, pooled: _Pooled, seconds: float) -> list[Assignment]:
    """Placements near the linear program's solution."""
    if problem.voltages is None and not problem.shared_vdd and not problem.shared_refresh:
        return _packings(problem, pooled)
    narrowed = _narrowed(problem, pooled)
    if not narrowed.tolerated.any(axis=1).all() or {state.partition for state in narrowed.idle} != set(
        range(len(problem.capacity))
    ):
        return []
    try:
        again, _ = _pooled(narrowed, 0.0, seconds, relaxed=True)
    except InfeasibleError:
        return []
    packings = [] if again is None else _packings(narrowed, again)
    return [packed for packed in packings if _keeps_supplies(problem, packed)]


class _Bins:
    """Partitions in their states while operands are put into them."""

    def __init__(self, problem: Problem, states: Sequence[State]) -> None:
        self.problem = problem
        index = {(s.partition, s.choice): i for i, s in enumerate(problem.used)}
        self.state_of = {
            state.partition: index[state.partition, state.choice] for state in states if state.choice is not None
        }
        self.free = problem.room.copy()
        self.tail = problem.tail * (not problem.split)
        self.pieces: dict[int, list[tuple[int, int]]] = {}

    def fits(self, k: int, partition: int) -> bool:
        """Whether a whole operand has room, the one that ends behind the last whole unit included."""
        needed = int(self.problem.units[k]) - int(self.free[partition])
        rest = int(self.problem.bytes[k]) % self.problem.alignment
        return needed <= 0 or (needed == 1 and 0 < rest <= self.tail[partition])

    def put(self, k: int, partition: int, units: int) -> None:
        self.pieces.setdefault(k, []).append((partition, units))
        self.free[partition] -= units
        if self.free[partition] < 0:
            self.free[partition] = 0
            self.tail[partition] = 0

    def take_back(self, k: int) -> int:
        """Take an operand out again; the units that it had."""
        pieces = self.pieces.pop(k, [])
        for partition, units in pieces:
            self.free[partition] += units
        return sum(units for _, units in pieces)

    def elsewhere(self, k: int, units: int, level_of: dict[int, int], cost: Floats) -> list[int]:
        """Partitions at the cheapest operating point where those that an operand tolerates have room for its units."""
        at: dict[int, list[int]] = {}
        for p, s in self.state_of.items():
            if self.problem.tolerated[k, s]:
                at.setdefault(level_of[s], []).append(p)
        roomy = [mine for mine in at.values() if sum(int(self.free[p]) for p in mine) >= units]
        return min(roomy, key=lambda mine: float(cost[k, self.state_of[mine[0]]]), default=[])


def _pack(problem: Problem, pooled: _Pooled) -> Assignment | None:
    """Partitions for operands whose operating points are known, or None where none are found.

    Where an operand finds no room, the partition that this costs least takes a state that it tolerates, and all begins
    again: rounding has given its room to others.
    """
    for _ in range(len(problem.capacity) + 1):
        packed = _packed(problem, pooled)
        if not isinstance(packed, int):
            return packed
        milder = _milder(problem, pooled.states, packed)
        if milder is None:
            return None
        pooled = _Pooled(milder, pooled.level, pooled.shares)
    return None


def _milder(problem: Problem, states: Sequence[State], k: int) -> tuple[State, ...] | None:
    """The states with one of them changed to one that an operand tolerates, or None where supplies forbid changes."""
    if problem.voltages is not None or problem.shared_vdd or problem.shared_refresh:
        return None
    index = {(s.partition, s.choice): i for i, s in enumerate(problem.used)}
    cost = _pair_cost(problem).sum(axis=0) / int(problem.units.sum())

    def price(state: State) -> float:
        held = 0.0 if state.choice is None else cost[index[state.partition, state.choice]]
        return float(problem.energy_weight * state.standby + held * problem.room[state.partition])

    best: tuple[float, State] | None = None
    for i in np.flatnonzero(problem.tolerated[k]):
        state = problem.used[i]
        now = states[state.partition]
        if now.choice is not None and problem.tolerated[k, index[now.partition, now.choice]]:
            continue
        if not problem.split and problem.bytes[k] > problem.capacity[state.partition]:
            continue
        more = price(state) - price(now)
        if best is None or more < best[0]:
            best = (more, state)
    if best is None:
        return None
    return tuple(best[1] if p == best[1].partition else state for p, state in enumerate(states))


def _packed(problem: Problem, pooled: _Pooled) -> Assignment | int | None:
    """Partitions for operands, the first operand that finds no room, or None where supplies forbid what was found.

    Each partition in use gets an operand first, from the one that fewest tolerate on; then the others follow, from the
    least tolerant, and the larger of equals, to where it is tightest. An operand that finds no room at its operating
    point goes to the cheapest other one with room.
    """
    bins = _Bins(problem, pooled.states)
    levels = _levels(problem)
    level_of = {s: level for level, states in enumerate(levels) for s in states}
    wanted: dict[int, list[int]] = {}
    for k, level in enumerate(pooled.level):
        wanted.setdefault(level, []).append(k)
    takers = {p: [k for k in wanted.get(level_of[s], ()) if problem.tolerated[k, s]] for p, s in bins.state_of.items()}
    rest = {k: int(problem.units[k]) for k in range(len(problem.bytes))}
    for p in sorted(takers, key=lambda p: len(takers[p])):
        free = [k for k in takers[p] if rest[k]]
        if problem.split:
            free = [k for k in free if rest[k] > 0]
            if free and bins.free[p] > 0:
                k = max(free, key=lambda k: rest[k])
                bins.put(k, p, 1)
                rest[k] -= 1
            continue
        free = [k for k in free if bins.fits(k, p)]
        if free:
            # The smallest, so that the room is left to those that need it.
            k = min(free, key=lambda k: (rest[k], k))
            bins.put(k, p, rest[k])
            rest[k] = 0
    cost = _pair_cost(problem)
    choices = problem.tolerated.sum(axis=1)
    for k in sorted((k for k in rest if rest[k]), key=lambda k: (choices[k], -rest[k], k)):
        mine = [p for p, s in bins.state_of.items() if level_of[s] == pooled.level[k] and problem.tolerated[k, s]]
        if problem.split:
            if sum(int(bins.free[p]) for p in mine) < rest[k]:
                # All of it goes elsewhere, with the unit that it may have in a partition already.
                rest[k] += bins.take_back(k)
                mine = bins.elsewhere(k, rest[k], level_of, cost)
                if not mine:
                    return int(k)
            for p in sorted(mine, key=lambda p: len(takers[p])):
                units = min(rest[k], int(bins.free[p]))
                if units:
                    bins.put(k, p, units)
                    rest[k] -= units
            continue
        roomy = [p for p in mine if bins.fits(k, p)]
        if roomy:
            p = min(roomy, key=lambda p: (bins.free[p], p))
        else:
            others = [p for p, s in bins.state_of.items() if problem.tolerated[k, s] and bins.fits(k, p)]
            if not others:
                return int(k)
            p = min(others, key=lambda p: (cost[k, bins.state_of[p]], bins.free[p], p))
        bins.put(k, p, rest[k])
        rest[k] = 0
    return _settled(problem, pooled.states, bins)


def _settled(problem: Problem, states: Sequence[State], bins: _Bins) -> Assignment | None:
    """The assignment of filled partitions; those that hold nothing are idle, if their supplies let them be."""
    filled = {p for pieces in bins.pieces.values() for p, _ in pieces}
    settled = list(states)
    for p, state in enumerate(states):
        if state.choice is not None and p not in filled:
            grouped = any(p in group for group in (*problem.shared_vdd, *problem.shared_refresh))
            if grouped:
                return None
            settled[p] = next(idle for idle in problem.idle if idle.partition == p)
    pieces = []
    for k in range(len(problem.bytes)):
        merged: dict[int, int] = {}
        for p, units in bins.pieces[k]:
            merged[p] = merged.get(p, 0) + units
        pieces.append(tuple(sorted(merged.items())))
    return Assignment(tuple(settled), tuple(pieces))


def solve(problem: Problem, start: Assignment | None, gap: float, seconds: float) -> Solved:
    """The best placement found and the bound that no placement is below.

    Args:
        problem: what is to be placed.
        start: a placement that is known already, such as the greedy one.
        gap: how far above the bound the objective may be, as a share of it, for the search to end.
        seconds: after which it ends in any case.

    Raises:
        InfeasibleError: if nothing keeps the constraints.
        TimeoutError: if no placement was found in time.

    """
    _check_feasible(problem)
    end = time.monotonic() + seconds
    best = start
    value = math.inf if start is None else evaluate(problem, start)
    # No part of the objective is below 0.
    bound = 0.0

    def done() -> bool:
        return best is not None and (value - bound <= max(gap, ROUNDING) * value or time.monotonic() >= end)

    pairs = int(problem.tolerated.sum())
    if pairs > _DIRECT_PAIRS:
        for relaxed in (True, False):
            left = max(end - time.monotonic(), _LEAST_SECONDS)
            try:
                pooled, found = _pooled(problem, gap / 2.0, left, relaxed)
            except InfeasibleError:
                raise InfeasibleError(_why_infeasible(problem)) from None
            bound = max(bound, 0.0 if found is None else found)
            packings = []
            if pooled is not None:
                packings = _rounded(problem, pooled, left) if relaxed else _packings(problem, pooled)
            for packed in packings:
                if evaluate(problem, packed) < value:
                    best, value = packed, evaluate(problem, packed)
            if done():
                break
        if best is None:
            best = _by_size(problem)
            value = math.inf if best is None else evaluate(problem, best)
    if best is None or (not done() and pairs <= _MOST_PAIRS):
        try:
            exact, found = _pairwise(problem, gap, max(end - time.monotonic(), _LEAST_SECONDS))
        except InfeasibleError:
            raise InfeasibleError(_why_infeasible(problem)) from None
        bound = max(bound, 0.0 if found is None else found)
        if exact is not None and evaluate(problem, exact) < value:
            best, value = exact, evaluate(problem, exact)
    if best is None:
        raise TimeoutError(f"no placement was found in {seconds:g} s; allowed is more time, or the greedy solver")
    return Solved(best, value, min(bound, value))


def _check_feasible(problem: Problem) -> None:
    needed = int(problem.units.sum())
    if problem.split:
        if needed > problem.room.sum():
            raise InfeasibleError(
                f"the operands need {needed * problem.alignment} bytes in units of {problem.alignment}, more than the "
                f"{int(problem.room.sum()) * problem.alignment} that the partitions have: "
                f"{(needed - int(problem.room.sum())) * problem.alignment} bytes are missing"
            )
        return
    if int(problem.bytes.max()) > int(problem.capacity.max()) or needed > problem.room.sum() + (problem.tail > 0).sum():
        raise InfeasibleError(_why_infeasible(problem))


def _is_feasible(problem: Problem) -> bool:
    try:
        return _pairwise(dataclasses.replace(problem, energy_weight=0.0, time_weight=0.0), 1.0, 10.0)[0] is not None
    except InfeasibleError:
        return False


def _why_infeasible(problem: Problem) -> str:
    largest, k = int(problem.capacity.max()), int(problem.bytes.argmax())
    needed, room = int(problem.units.sum()), int(problem.room.sum())
    parted = needed <= room
    way = (
        "split=True places them"
        if parted
        else f"splitting does not help either, {(needed - room) * problem.alignment} bytes are missing"
    )
    if problem.alignment > OPERAND_ALIGNMENT and _is_feasible(
        dataclasses.replace(problem, alignment=OPERAND_ALIGNMENT)
    ):
        way = f"an alignment of {OPERAND_ALIGNMENT} places them whole"
    if int(problem.bytes[k]) > largest:
        return (
            f"operand {problem.names[k]} ({int(problem.bytes[k])} bytes) is larger than every partition, of which the "
            f"largest has {largest} bytes: {way}"
        )
    if not parted and needed > room + int((problem.tail > 0).sum()):
        return (
            f"the operands need {needed * problem.alignment} bytes in units of {problem.alignment}, more than the "
            f"{int(problem.capacity.sum())} that the partitions have: {way}"
        )
    return (
        f"no partition of whole operands into the {len(problem.capacity)} partitions fits their capacities, though "
        f"{needed * problem.alignment} of {int(problem.capacity.sum())} bytes are needed: {way}"
    )


def undominated(costs: Floats, rates: Floats) -> list[int]:
    """The choice that is at least as good as each one, in costs and rates alike; itself where no other one is.

    Args:
        costs: [choices, costs].
        rates: [choices, rates].

    Of equal ones it is the first.

    """
    both = np.concatenate([costs, rates], axis=1)
    best = []
    for i in range(len(both)):
        at = i
        # Each step lowers a cost or a rate, or goes to an earlier one of equals.
        while True:
            as_good = np.flatnonzero((both <= both[at]).all(axis=1))
            better = [j for j in as_good if j != at and ((both[j] != both[at]).any() or j < at)]
            if not better:
                break
            at = int(better[0])
        best.append(at)
    return best


def idle_points(nominal: OperatingPoint, vdds: Sequence[float], intervals: Sequence[float]) -> list[OperatingPoint]:
    """What an idle partition may run at: nominal latencies at each voltage and interval that its groups may take."""
    return [
        nominal.model_copy(update={"vdd": vdd, "refresh_interval": interval})
        for vdd, interval in itertools.product(vdds, intervals)
    ]
