"""A relaxation for large problems: operands choose operating points, and partitions at a point have room together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from eden.placement.program.milp import Program, add_states, chosen_states, time_saved
from eden.placement.program.problem import Problem, State

# More states than this, and the relaxation bounds the product of time and standby instead of following it.
EXACT_PRODUCT_STATES = 500


@dataclass(frozen=True)
class Pooled:
    """A solution that says at which operating point an operand lies, and not in which partition."""

    states: tuple[State, ...]
    level: list[int]
    """Of each operand, an index of ``levels_of``."""
    shares: tuple[float, ...]
    """Of each used and then each idle state; 0 or 1 but for the linear program."""


def solve_pooled(problem: Problem, gap: float, seconds: float, relaxed: bool) -> tuple[Pooled | None, float | None]:
    """A relaxation: operands choose operating points, and the partitions at a point have to have room together.

    Operands that tolerate only some of the partitions at a point have to find room in those (Hall's condition, on the
    sets of states that operands tolerate), and every partition in use has to have an operand that tolerates it. Where
    these sets are nested, as they are where the mean rates decide, an operand that may be split meets no other
    obstacle; whole operands meet that of their sizes. ``relaxed`` takes the linear program instead and the largest
    share of each choice: quicker, and its bound holds as well.
    """
    program = Program()
    levels = problem.levels
    pair_cost = problem.pair_cost
    rows: list[tuple[int, int, int]] = []  # level, operand, column
    save: dict[int, float] = {}
    for level, states in enumerate(levels):
        some = np.flatnonzero(problem.tolerated[:, states].any(axis=1))
        columns = program.variables(pair_cost[some, states[0]])
        save.update(time_saved(problem, columns, problem.saved[some, states[0]]))
        rows += [(level, int(k), column) for k, column in zip(some, columns, strict=True)]
    of_operand: list[list[int]] = [[] for _ in problem.bytes]
    of_level: list[list[tuple[int, int]]] = [[] for _ in levels]
    for level, k, column in rows:
        of_operand[k].append(column)
        of_level[level].append((k, column))
    for mine in of_operand:
        program.equal(1.0, (mine, 1.0))
    choice = add_states(problem, program, save, exact_product=len(problem.used) <= EXACT_PRODUCT_STATES)
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
            program.equal(0.0, (columns, [float(units[k]) for k, _ in inside]), (held[i], -1.0))
            program.equal(0.0, (columns, 1.0), (present[i], -1.0))
        # An operand that is split is in as many partitions as it has units, a whole one in one.
        covering = held if problem.split else present
        for position, s in enumerate(states if problem.split else ()):
            takers = [present[i] for i, within in enumerate(sets) if within[position]]
            program.at_most(0.0, (choice.used[s], 1.0), (takers, -1.0))
        for within in sets:
            inner = [i for i, other in enumerate(sets) if not (other & ~within).any()]
            allowed = [s for s, inside in zip(states, within, strict=True) if inside]
            rooms = [-float(room[problem.used[s].partition]) for s in allowed]
            program.at_most(0.0, ([held[i] for i in inner], 1.0), ([choice.used[s] for s in allowed], rooms))
            outer = [covering[i] for i in range(len(sets)) if i not in set(inner)]
            others = [choice.used[s] for s, inside in zip(states, within, strict=True) if not inside]
            if others:
                program.at_most(0.0, (others, 1.0), (outer, -1.0))
        program.at_most(0.0, ([choice.used[s] for s in states], 1.0), (covering, -1.0))
    solution, bound = program.solve(gap, seconds, relaxed)
    if bound is not None:
        bound += problem.offset
    if solution is None:
        return None, bound
    level_of = [0] * len(problem.bytes)
    most = [-1.0] * len(problem.bytes)
    for level, k, column in rows:
        if solution[column] > most[k]:
            level_of[k], most[k] = level, float(solution[column])
    shares = tuple(float(solution[column]) for column in (*choice.used, *choice.idle))
    return Pooled(chosen_states(problem, choice, solution), level_of, shares), bound


def narrowed(problem: Problem, pooled: Pooled) -> Problem:
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
    for name, groups in problem.shared.items():
        for group in groups:
            inside = [i for i, state in enumerate(states) if state.partition in group]
            shares: dict[float, float] = {}
            for i in inside:
                value = getattr(states[i].point, name)
                shares[value] = shares.get(value, 0.0) + pooled.shares[i]
            offered = {getattr(states[i].point, name) for i in inside if allowed[i] and i < len(problem.used)}
            taken = max(sorted(offered), key=lambda value: shares[value], default=getattr(nominal, name))
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
        shared={},
    )
