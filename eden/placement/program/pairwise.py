"""Every pair of an operand and a state of a partition as a variable of its own: exact, and large."""

from __future__ import annotations

import numpy as np

from eden.placement.program.milp import Program, add_states, chosen_states, time_saved
from eden.placement.program.problem import Assignment, Problem


def solve_pairwise(problem: Problem, gap: float, seconds: float) -> tuple[Assignment | None, float | None]:
    """Every pair of an operand and a state as a variable of its own: exact, and large."""
    program = Program()
    pairs = np.argwhere(problem.tolerated)
    costs = problem.pair_cost[pairs[:, 0], pairs[:, 1]]
    saved = problem.saved[pairs[:, 0], pairs[:, 1]]
    of_operand: list[list[int]] = [[] for _ in problem.bytes]
    of_state: list[list[int]] = [[] for _ in problem.used]
    for i, (k, s) in enumerate(pairs):
        of_operand[k].append(i)
        of_state[s].append(i)
    if problem.split:
        # An operand is at one operating point, and in units in its partitions.
        at: dict[tuple[int, int], list[int]] = {}
        for i, (k, s) in enumerate(pairs):
            at.setdefault((int(k), problem.level_of[int(s)]), []).append(i)
        firsts = [members[0] for members in at.values()]
        chosen = dict(zip(at, program.variables(costs[firsts]), strict=True))
        columns = program.variables(np.zeros(len(pairs)), high=float(problem.units.max()))
        save = time_saved(problem, list(chosen.values()), saved[firsts])
        choice = add_states(problem, program, save, exact_product=True)
        for k in range(len(problem.bytes)):
            program.equal(1.0, ([column for (operand, _), column in chosen.items() if operand == k], 1.0))
        for (k, _), members in at.items():
            program.equal(0.0, ([columns[i] for i in members], 1.0), (chosen[k, _], -float(problem.units[k])))
    else:
        columns = program.variables(costs)
        choice = add_states(problem, program, time_saved(problem, columns, saved), exact_product=True)
        for members in of_operand:
            program.equal(1.0, ([columns[i] for i in members], 1.0))
        for i, (_, s) in enumerate(pairs):
            program.at_most(0.0, (columns[i], 1.0), (choice.used[s], -1.0))
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
            program.at_most(0.0, (extra, 1.0), (ends, -1.0))
            program.at_most(0.0, (inside, held), (choice.used[s], -room), (extra, -1.0))
        else:
            program.at_most(0.0, (inside, held), (choice.used[s], -room))
        program.at_least(0.0, (inside, 1.0), (choice.used[s], -1.0))
    solution, bound = program.solve(gap, seconds)
    if bound is not None:
        bound += problem.offset
    if solution is None:
        return None, bound
    states = chosen_states(problem, choice, solution)
    pieces: list[list[tuple[int, int]]] = [[] for _ in problem.bytes]
    for i, (k, s) in enumerate(pairs):
        units = round(solution[columns[i]])
        if units:
            pieces[k].append((problem.used[s].partition, units if problem.split else int(problem.units[k])))
    return Assignment(states, tuple(tuple(piece) for piece in pieces)), bound
